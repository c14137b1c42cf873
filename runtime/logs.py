"""Structured lines on standard error: who they are about is added by itself, what is secret is taken out, and one that cannot be written is lost.

Lines of libraries (Ray, Serve, uvicorn, boto) pass the same redaction, wherever their handlers write.
"""

import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TextIO, cast

import structlog

from runtime.redaction import redact, secrets_in
from runtime.settings import Settings

SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RAY_AUTH_TOKEN")
"""Of the environment: secrets that are no settings of ours. Libraries read them by themselves."""

Line = MutableMapping[str, Any]
Make = Callable[..., logging.LogRecord]


class About(Protocol):
    """What is being worked on: a run, an attempt, a request."""

    def facts(self) -> dict[str, Any]:
        """What every line about it says: `run_id`, `step`, `attempt`, `index`, `tenant`, `trace_id`, as far as there are such."""
        ...


about: ContextVar[About | None] = ContextVar("about", default=None)
"""What this task works on. One variable, so that a step that logs nothing pays for nothing; the facts are asked for when a line is written."""


@contextmanager
def working_on(what: About) -> Iterator[None]:
    """Lines written inside are about this."""
    token = about.set(what)
    try:
        yield
    finally:
        about.reset(token)


class LossySink(io.TextIOBase):
    """Where log lines go. One that cannot be written (full disk, closed pipe) is lost: no run may end because of a line about it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.lost = 0

    def write(self, text: str) -> int:
        """Pass the text on if that is possible."""
        try:
            return self._file.write(text)
        except OSError:
            self.lost += 1
            return len(text)

    def flush(self) -> None:
        """Likewise."""
        try:
            self._file.flush()
        except OSError:
            self.lost += 1


def set_up_logs(wanted: Settings, stream: TextIO | None = None) -> None:
    """What a process does before anything else: lines go to `stream`, standard error when absent, which Ray keeps per process."""
    know_secrets(wanted)
    sink = cast("TextIO", LossySink(sys.stderr if stream is None else stream))
    renderer = structlog.processors.JSONRenderer() if wanted.log_format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_facts,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*before, renderer, _redacted],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, wanted.log_level)),
        logger_factory=structlog.PrintLoggerFactory(sink),
        cache_logger_on_first_use=stream is None,
    )
    _set_up_libraries(sink, [*before, structlog.stdlib.add_logger_name], renderer)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def know_secrets(wanted: Settings) -> None:
    """Tell the redaction of all secrets this process has been given: settings, passwords inside URLs, and what libraries find by themselves."""
    for name in Settings.model_fields:
        value = getattr(wanted, name)
        if name in Settings.secrets():
            redact.know(*([] if value is None else _each(value.get_secret_value())))
        elif isinstance(value, str):
            redact.know(*secrets_in(value))
    if wanted.database_password_file is not None:
        redact.know(_read(wanted.database_password_file))
    redact.know(*(os.environ.get(name) for name in SECRET_VARIABLES))
    if token := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        redact.know(_read(Path(token)))


def _each(secret: str) -> list[str]:
    """A list in one text (several SECRET_KEYs, several `name=value` headers), and its parts."""
    parts = [part.strip() for part in secret.split(",")]
    return [secret, *parts, *(part.partition("=")[2].strip() for part in parts)]


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None  # whoever needs it says so


def _add_facts(_logger: Any, _method: str, line: Line) -> Line:
    what = about.get()
    return line if what is None else {**what.facts(), **line}


def _redacted(_logger: Any, _method: str, text: Any) -> str:
    return redact(text)


def _set_up_libraries(sink: TextIO, before: list[Any], renderer: Any) -> None:
    """Lines of the standard library's loggers: redacted whoever writes them; in our form where nobody else does."""
    if not isinstance(logging.getLogRecordFactory(), _Redacting):
        logging.setLogRecordFactory(_Redacting(logging.getLogRecordFactory()))
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _OurHandler)]:
        root.removeHandler(handler)
    handler = _OurHandler(sink)
    final = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer, _redacted]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=final))
    root.addHandler(handler)


class _OurHandler(logging.StreamHandler[TextIO]):
    """The one that `set_up_logs` adds."""


class _Redacting:
    """Makes records whose text, and whose stack, hold no secret, for all handlers there are and will be."""

    def __init__(self, make: Make) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        try:
            said = record.getMessage()
        except (TypeError, ValueError, KeyError):  # a line whose values do not fit: its handler says so, without the values
            said, record.args = str(record.msg), None
        clean = redact(said)
        if clean != said:
            record.msg, record.args = clean, None
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters take this text where there is one, and do not write the exception themselves.
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return record


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ended the process, without its secrets: the interpreter would print the exception as it is."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger("runtime").error("uncaught", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
