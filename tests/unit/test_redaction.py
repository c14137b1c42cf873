"""Secrets of this process go out of every message, however they are written, whoever logs it."""

import base64
import io
import itertools
import json
import logging
import sys
import threading
from urllib.parse import quote

import pytest
import structlog

from runtime.logs import about, know_secrets, set_up_logs, working_on
from runtime.redaction import MOST, Redactor, redact, secrets_in
from runtime.settings import Settings

SECRET = 'sk-kn0wn"<&%\\/secret-of-this-process'


@pytest.fixture
def logs(tmp_path):
    """What a process logs, and the loggers put back as they were."""
    factory, handlers, hooks = logging.getLogRecordFactory(), logging.getLogger().handlers[:], (sys.excepthook, threading.excepthook)
    stream = io.StringIO()
    set_up_logs(Settings(home=tmp_path, log_format="json", openai_api_key=SECRET), stream)
    yield stream
    logging.setLogRecordFactory(factory)
    logging.getLogger().handlers[:] = handlers
    sys.excepthook, threading.excepthook = hooks
    structlog.reset_defaults()


def lines(stream) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(SECRET),
        repr(SECRET),
        quote(SECRET, safe=""),
        SECRET.encode().hex(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"x" + SECRET.encode() + b"!").decode(),
        base64.urlsafe_b64encode(b"xy" + SECRET.encode()).decode(),
    ],
)
def test_every_form_of_a_known_secret_goes(written):
    clean = Redactor()
    clean.know(SECRET)
    assert "***" in clean(f"before {written} after")
    assert "kn0wn" not in clean(f"before {written} after")
    assert written[4:-6] not in clean(f"before {written} after")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer ***"),
        ("postgresql://me:pass-word@host/db", "postgresql://me:***@host/db"),
        ("whsec_" + "A" * 44, "whsec_***"),
        ("key ak_0123456789abcdef_" + "0" * 72, "key ak_0123456789abcdef_***"),
        ("hook /hooks/hk_0123456789abcdef_" + "f" * 72, "hook /hooks/hk_0123456789abcdef_***"),
        ("https://example.com:8000/a@b", "https://example.com:8000/a@b"),
        ("an ordinary sentence", "an ordinary sentence"),
    ],
)
def test_what_has_the_form_of_a_secret_goes_from_messages(text, clean):
    assert Redactor()(text) == clean
    assert Redactor().known(text) == text


def test_short_words_are_no_secrets_and_memory_is_bounded():
    clean = Redactor()
    clean.know("pg", None, "")
    assert clean("pg is a database") == "pg is a database"
    for number in range(MOST + 1):
        clean.know(f"secret-number-{number:04}")
    assert clean("secret-number-0000!") == "secret-number-0000!"
    assert clean(f"secret-number-{MOST:04}!") == "***!"


def test_a_secret_within_another_leaves_nothing_of_it():
    clean = Redactor()
    clean.know("inner-secret", "outer-inner-secret-outer")
    assert clean("<outer-inner-secret-outer>") == "<***>"


def test_values_lose_secrets_and_keep_their_shape():
    clean = Redactor()
    clean.know(SECRET)
    value = {"a": [1, None, f"x{SECRET}"], SECRET: True}
    assert clean.value(value, json.dumps(value)) == {"a": [1, None, "x***"], "***": True}
    harmless = {"a": "b"}
    assert clean.value(harmless, json.dumps(harmless)) is harmless


def test_a_password_that_is_a_word_takes_no_word_out_of_answers():
    clean = Redactor()
    clean.know("workflows")
    assert clean("connection to workflows@host refused") == "connection to ***@host refused"
    assert clean.known("Our workflows are durable.") == "Our workflows are durable."


def test_a_text_that_was_cut_shows_no_half():
    clean = Redactor()
    clean.know(SECRET)
    assert "kn0wn" not in clean(f"input_value='{SECRET[:20]}...'")
    assert "process" not in clean(f"...{SECRET[17:]}")


def test_urls_may_hold_secrets():
    assert set(secrets_in("postgresql://me:a%2Fb@host/db")) == {"a%2Fb", "a/b"}
    assert set(secrets_in("https://key-as-user@host/v1")) == {"key-as-user"}
    assert secrets_in("postgresql://postgres@host/db") == ()
    assert secrets_in("sqlite:///a/b") == secrets_in("http://[broken") == ()


def test_lines_say_whom_they_are_about(logs):
    class Work:
        def facts(self):
            return {"run_id": "r1", "step": "a", "attempt": 2, "tenant": "acme", "trace_id": "t"}

    with working_on(Work()):
        structlog.get_logger("x").info("inside", attempt=3)
        logging.getLogger("a.library").warning("its words")
    structlog.get_logger("x").info("outside")
    inside, library, outside = lines(logs)
    assert {name: inside[name] for name in ("run_id", "step", "attempt", "tenant", "trace_id", "level")} == {
        "run_id": "r1",
        "step": "a",
        "attempt": 3,
        "tenant": "acme",
        "trace_id": "t",
        "level": "info",
    }
    assert (library["run_id"], library["event"], library["logger"]) == ("r1", "its words", "a.library")
    assert "run_id" not in outside
    assert about.get() is None


def test_no_line_has_a_secret_whoever_writes_it(logs):
    def fail():
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(f"it was {SECRET}") from error

    structlog.get_logger("x").info("a", key=SECRET, deep={"list": [SECRET.encode()]})
    try:
        fail()
    except ValueError:
        structlog.get_logger("x").exception("b")
        logging.getLogger("a.server").exception("c %s", SECRET)
        sys.excepthook(*sys.exc_info())
    logging.getLogger("a.library").error("%s and %d", SECRET, "no number")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert "kn0wn" not in logs.getvalue()
    assert [line["event"] for line in lines(logs)] == ["a", "b", "c ***", "uncaught", "%s and %d", "uncaught"]
    assert "ValueError: it was ***" in lines(logs)[1]["exception"]


def test_handlers_of_others_get_clean_records_too(logs):
    stream = io.StringIO()
    logger, handler = logging.getLogger("somebody.else"), logging.StreamHandler(stream)
    logger.addHandler(handler)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception("it was %s", SECRET)
    finally:
        logger.removeHandler(handler)
    assert "ValueError: ***" in stream.getvalue()
    assert "kn0wn" not in stream.getvalue()


def test_the_level_is_a_setting(tmp_path, logs):
    stream = io.StringIO()
    set_up_logs(Settings(home=tmp_path, log_level="WARNING"), stream)
    structlog.get_logger("x").info("no")
    structlog.get_logger("x").warning("yes")
    assert "yes" in stream.getvalue()
    assert "no" not in stream.getvalue().split()


def test_a_process_knows_what_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret-of-the-test")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("ray-token-of-the-test\n")
    (tmp_path / "password").write_text("file-password-of-the-test\n")
    know_secrets(
        Settings(
            home=tmp_path,
            secret_key="first-secret-key-of-the-test-0123456789,second-secret-key-of-the-test-012345678",
            database_url="postgresql+asyncpg://me:url-password-of-the-test@host/db",
            database_password_file=tmp_path / "password",
            openai_base_url="https://user:gateway-key-of-the-test@host/v1",
            otel_headers="x-key=collector-key-of-the-test,x-other=1",
        )
    )
    said = ["aws-secret", "ray-token", "file-password", "url-password", "gateway-key", "collector-key"]
    for name in said:
        assert redact(f"<{name}-of-the-test>") == "<***>", name
    assert redact("<second-secret-key-of-the-test-012345678>") == "<***>"


# --- values that come in pieces --------------------------------------------------------------------------------------


def piecewise(redactor: Redactor, text: str, *cuts: int) -> list[str]:
    passing, ends = redactor.passing(), [0, *cuts, len(text)]
    return [*(passing.take(text[begin:end]) for begin, end in itertools.pairwise(ends)), passing.end()]


@pytest.mark.parametrize(
    "text",
    [
        f"the key is {SECRET}, says the server",
        SECRET + SECRET,
        f"{SECRET[: len(SECRET) // 2]} and {SECRET[len(SECRET) // 2 :]}",
        json.dumps({"key": SECRET}),
        base64.b64encode(SECRET.encode()).decode(),
        "skates, skis and sk-kn0w nothing",
        SECRET[:-1] + "s",
        "sk-another-secret-that-ends-with-s and more",
        f"sk-another-secret-that-ends-with-{SECRET}",
        "",
    ],
)
def test_pieces_say_together_what_the_whole_says(text):
    redactor = Redactor()
    redactor.know(SECRET, "sk-another-secret-that-ends-with-s")
    whole = redactor.known(text)
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            assert "".join(piecewise(redactor, text, first, second)) == whole
    assert "".join(piecewise(redactor, text, *range(1, len(text)))) == whole


def test_no_piece_waits_that_is_no_beginning_of_a_secret():
    redactor = Redactor()
    assert piecewise(redactor, "as sk-kn", 2, 4) == ["as", " s", "k-kn", ""]
    redactor.know(SECRET)
    assert piecewise(redactor, "as sk-kn", 2, 4) == ["a", "s ", "", "sk-kn"]
    assert piecewise(redactor, f"{SECRET}.", 9) == ["", "***.", ""]


def test_a_secret_that_is_named_meanwhile_is_looked_for():
    redactor = Redactor()
    passing = redactor.passing()
    assert passing.take("sk-") == "sk-"
    redactor.know(SECRET)
    assert passing.take(f"{SECRET[:5]}") == ""
    assert passing.take(f"{SECRET[5:]} ") + passing.end() == "*** "
