"""Configures logging: structlog renders every line to stderr, even those of libraries.

Log lines contain ids and sizes, never texts, keys or tokens; `redaction` masks those that are
logged by mistake. A value that a client chose (a path, a header, the message of an exception) can
have any length and content. So a line about a request has its route in place of its path, and every
value of every line is cut to a length and contains no control character.
"""

from __future__ import annotations

import logging.config
import re
import sys
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

import structlog
from django.http import HttpRequest

from .redaction import Redaction

Event = MutableMapping[str, Any]

#: The longest value, and the longest line of a traceback, in characters.
MOST_CHARS = 500
#: This much of a longer value is searched for secrets.
_SEARCHED_CHARS = 8 * MOST_CHARS
#: Lines of a traceback that are kept: from its beginning, and its end, which names the exception.
FIRST_LINES, LAST_LINES = 20, 80
#: The longest reason, which may repeat a client's header.
REASON_CHARS = 200

#: Control characters, line ends, changes of text direction, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ADDRESS_QUERY = re.compile(r"\?[^\s'\"]*")
_INDENT = "    "


def configure(options: dict[str, Any]) -> None:
    """Set up logging for the process.

    Args:
        options: `level`, a name of the logging module; `format`, "console" or "json"; `secrets`,
            texts to mask.
    """
    redaction = Redaction(options["secrets"])
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(allow={"status_code"}),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_json = options["format"] == "json"
    render = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structlog": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": [*shared, by_route],
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        redaction.fields,
                        structlog.processors.format_exc_info,
                        Bounds(redaction),
                        render,
                        redaction.line,
                    ],
                }
            },
            "handlers": {
                "stderr": {"()": Stderr, "formatter": "structlog"},
            },
            "root": {"handlers": ["stderr"], "level": options["level"]},
            "loggers": {
                # Django and a bare uvicorn set up handlers of their own first.
                "django": {"handlers": [], "level": "INFO"},
                "django.server": {"handlers": [], "level": "INFO", "propagate": True},
                "uvicorn": {"handlers": [], "propagate": True},
                # There is no access log: the proxy's is better.
                "uvicorn.access": {"handlers": [], "propagate": False},
                # These log addresses with their query strings, or provider URLs, at INFO.
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "uvicorn.error": {"level": "WARNING"},
                "daphne": {"level": "WARNING"},
                "asyncio": {"level": "WARNING"},
            },
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class Stderr(logging.StreamHandler[Any]):
    """Writes to stderr. For a line that fails to render, `logging` would print its values."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[0] or Exception
        source = f"{record.filename}:{record.lineno}"
        self.stream.write(f"a log line of {source} could not be written: {error.__name__}\n")


def by_route(_: Any, __: str, event: Event) -> Event:
    """Reduce Django's line about a request to method, route and status, without a client's text.

    `route` is the pattern that matches its path, or absent. A request that fails Django's security
    checks also has a `reason`, which may repeat the beginning of a header.
    """
    record, status = event["_record"], event.get("status_code")
    if not isinstance(status, int):
        return event
    request = getattr(record, "request", None)
    message, event["event"] = str(event["event"]), HTTPStatus(status).phrase
    if isinstance(request, HttpRequest):
        message = message.removesuffix(": " + _escaped(request.path))  # which Django appends
        event["method"] = request.method
        if request.resolver_match:
            event["route"] = request.resolver_match.route
    if record.name.startswith("django.security"):
        event["reason"] = _ADDRESS_QUERY.sub("?...", message)[:REASON_CHARS]
    if status < HTTPStatus.INTERNAL_SERVER_ERROR and (error := event.pop("exc_info", None)):
        event["error"] = error[0].__name__
    return event


class Bounds:
    """A structlog processor: bounds every value, so that none can look like another line."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction

    def __call__(self, _: Any, __: str, event: Event) -> Event:
        for name, value in event.items():
            if name in ("exception", "stack"):
                event[name] = self._traceback(str(value))
            elif not isinstance(value, bool | int | float | None):
                event[name] = self._bounded(value)
        return event

    def _bounded(self, value: Any) -> Any:
        """Return a harmless value itself, else its text, bounded."""
        text = value if isinstance(value, str) else repr(value)
        if len(text) > MOST_CHARS:
            # masked before it is cut: half a secret is not recognised
            masked = self._redaction.line(None, "", text[:_SEARCHED_CHARS])
            text = f"{masked[:MOST_CHARS]}... ({len(text)} characters)"
        elif not isinstance(value, str):
            return value
        return _visible(text)

    def _traceback(self, text: str) -> str:
        """Bound and indent the lines of a traceback: none looks like the start of a log line."""
        lines = text.split("\n")
        if (left_out := len(lines) - FIRST_LINES - LAST_LINES) > 0:
            lines[FIRST_LINES:-LAST_LINES] = [f"({left_out} lines)"]
        return "\n".join(_INDENT + self._bounded(line) for line in lines)


def _visible(text: str) -> str:
    return _UNSEEN.sub(lambda found: _escaped(found[0]), text)


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")
