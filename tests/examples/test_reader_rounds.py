"""A person in the loop: remarks as signals, a text that shrinks, a signature."""

import pytest

from examples.reader_rounds.functions import shorten
from runtime.engine.events import Kind

PATH = "reader_rounds/workflow.yaml"
SUBJECT = (
    "The water will be off in Mill Lane on Thursday from 8 to 11. A joint from 1911 is replaced. Fill a bucket before. "
    "The car wash is open as usual. Afterwards let the tap run for a minute until the water is clear. Questions are answered at the works."
)


async def remark(desk, run, **payload):
    await desk.gateway.signal("default", run.run_id, "remark", payload)


async def test_until_everybody_is_content(desk):
    run = await desk.start(PATH, subject=SUBJECT, rest="10ms", max_words=40)
    await desk.until(run, lambda event: event.kind is Kind.STEP_WAITING and (event.body or {}).get("for") == "signal")
    await remark(desk, run, text="Too long.")
    await remark(desk, run, text="Keep the bucket, and that it runs until it is clear afterwards!", last=True)
    approval = await desk.approval(run)
    text = approval.show["text"]
    assert len(text.split()) <= 40
    assert text.startswith("[simulated] The water will be off")
    assert "car wash" not in text
    await desk.gateway.decide("default", approval.approval_id, approved=True, form={"channel": "letter"}, by="ida")
    assert await desk.outputs(run) == {"notice": text, "channel": "letter"}


async def test_a_rejected_notice_fails_the_run(desk):
    run = await desk.start(PATH, rest="10ms")
    await desk.until(run, lambda event: event.kind is Kind.STEP_WAITING and (event.body or {}).get("for") == "signal")
    await remark(desk, run, text="Fine.", last=True)
    approval = await desk.approval(run)
    await desk.gateway.decide("default", approval.approval_id, approved=False)
    row = await desk.end(run)
    assert (row.status, row.error["code"], row.error["step"]) == ("failed", "rejected", "sign_off")


@pytest.mark.parametrize(("words", "left"), [(100, 3), (8, 2), (1, 2)])
def test_shorten_takes_the_sentence_the_remark_cares_least_about(words, left):
    result = shorten("This is the notice. The bucket is red. The weather is fine.", "the bucket matters", words)
    assert result["text"].count(".") == left
    assert "bucket" in result["text"]
    assert result["fits"] == (result["words"] <= words)
