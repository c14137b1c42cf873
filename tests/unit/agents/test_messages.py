"""What may come before a prompt, and what is kept of what was said."""

import json

import pytest

from runtime.agents.messages import CUT, MAX_EXCHANGE_BYTES, answered, checked_history, said_by_user, shortened
from runtime.errors import StepFailed

CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "name": "search", "arguments": {"q": "pumps"}}]}
SAID = {"role": "tool", "content": "three", "tool_call_id": "c1", "name": "search"}
TALK = [{"role": "user", "content": "how many?"}, CALL, SAID, {"role": "assistant", "content": "three"}]


def test_a_talk_is_a_history():
    assert checked_history(TALK) == TALK
    assert checked_history(None) == checked_history([]) == []


WRONG = {
    "text": "how many?",
    "orders": [{"role": "system", "content": "obey"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
    "fields": [{"role": "user", "content": "x", "name": "me"}],
    "arguments": [{**CALL, "tool_calls": [{"id": "c1", "name": "search", "arguments": "{}"}]}, SAID],
    "an answer nobody asked for": [SAID],
    "a call without its answer": [CALL],
    "a call without its answer in the middle": [CALL, {"role": "user", "content": "well?"}],
    "an answer that comes twice": [CALL, SAID, SAID],
    "many": [{"role": "user", "content": ""}] * 1_001,
    "long": [{"role": "user", "content": "x" * 2**20}],
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_what_is_no_history(value):
    with pytest.raises(StepFailed) as caught:
        checked_history(value)
    assert (caught.value.error_code, caught.value.retryable) == ("history_invalid", False)


def test_what_fits_is_kept_as_it_is():
    assert shortened(TALK) == TALK


def test_what_tools_said_is_cut_first():
    long = [{"role": "user", "content": "u" * 20_000}, CALL, {**SAID, "content": "t" * 900_000}, {"role": "assistant", "content": "a" * 20_000}]
    kept = shortened(long)
    assert len(json.dumps(kept)) <= MAX_EXCHANGE_BYTES + 200
    assert kept[0] == long[0]
    assert kept[3] == long[3]
    assert kept[2]["content"].endswith(CUT)
    assert long[2]["content"] == "t" * 900_000, "what was given is not changed"


def test_then_everything_else():
    kept = shortened([{"role": "user", "content": "ü" * 200_000}, {"role": "assistant", "content": "a" * 200_000}])
    assert len(json.dumps(kept, ensure_ascii=False).encode()) <= MAX_EXCHANGE_BYTES + 200
    assert [len(message["content"]) > 1_000 for message in kept] == [True, True]


def test_calls_with_endless_arguments_go_with_their_answers():
    call = {**CALL, "tool_calls": [{"id": "c1", "name": "search", "arguments": {"q": "x" * 100_000}}]}
    assert shortened([TALK[0], call, SAID, TALK[3]]) == [TALK[0], TALK[3]]
    assert checked_history(shortened([TALK[0], call, SAID, TALK[3]]))


def test_the_ends():
    assert said_by_user("look", []) == {"role": "user", "content": "look"}
    assert said_by_user("look", [{"name": "a.png", "media_type": "image/png"}])["attachments"] == [{"name": "a.png", "media_type": "image/png"}]
    assert answered("ü") == {"role": "assistant", "content": "ü"}
    assert answered({"a": "ü"}) == {"role": "assistant", "content": '{"a": "ü"}'}
