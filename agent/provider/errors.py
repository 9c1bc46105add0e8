"""Maps a provider's error to one of ours. Pure, no I/O.

Sources: https://openrouter.ai/docs/api/reference/errors-and-debugging, OpenAI, google.rpc, and the
recorded errors in tests/unit/provider_cases. A provider's message is searched, and never repeated:
it may contain the prompt or the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.errors import (
    AgentError,
    ContextTooLong,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)

from .error_phrases import (
    NOT_TOO_LONG_CODES,
    STATUS_OF,
    TOO_LONG_CODES,
    Cause,
    cause_of,
    says_no_credit,
    says_too_long,
)
from .retry_after import retry_after

_OPERATOR = "Only the operator of this site can fix that."
_REJECTIONS: Mapping[Cause, str] = {
    "key": f"The model's provider refused the API key of this site. {_OPERATOR}",
    "credit": f"The model's provider refused: the credit of this site is used up. {_OPERATOR}",
    "model": f"The model's provider refused: it does not know the model of this site. {_OPERATOR}",
    "address": f"The model's provider refused: this site has a wrong address for it. {_OPERATOR}",
    "moderation": "The model's provider refused this message for its content. Rephrase it.",
    "": "",
}
_TIMED_OUT, _LIMITED, _BAD_REQUEST = {408, 504, 522, 524}, 429, (400, 413, 422)
#: A failed dependency (TGI: the model's process crashed), and a request that is too early: the same
#: request may succeed a little later.
_PASSING = {424, 425}
#: The most characters that are searched, of all messages and of one: moderation errors repeat the
#: prompt, and patterns take time.
_MAX_CHARS, _MAX_MESSAGE = 8000, 4000
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,64}\Z")
_DEEPEST = 6


@dataclass(slots=True)
class ProviderError:
    """The facts of a provider's error, whatever its envelope.

    `message` may contain prompts and keys: it is only searched, never shown.
    """

    status: int | None = None  # the HTTP status, else the one that the document gives
    named_status: int | None = None  # the status that a code stands for
    names: set[str] = field(default_factory=set)  # codes and types, in lower case
    parameters: set[str] = field(default_factory=set)  # of the request, as the error names them
    message: str = ""  # all messages, in lower case
    wait: float | None = None  # seconds
    is_moderation: bool = False

    @property
    def identifiers(self) -> str:
        """The codes, types and parameters that are plain names, so no text of a user."""
        names = sorted((self.names | self.parameters) - {str(self.status)})
        return " ".join(found for name in names[:8] if (found := identifier(name)))

    def is_too_long(self) -> bool:
        """Whether the conversation does not fit the model; codes decide before messages."""
        if self.names & TOO_LONG_CODES or self.status == 413:
            return True
        if self.names & NOT_TOO_LONG_CODES or self.status not in (None, *_BAD_REQUEST):
            return False  # moderation errors repeat the prompt: its text must not decide
        return says_too_long(self.message)

    def as_error(self) -> AgentError:
        """Return the error of ours that this one means."""
        error = self._classified()
        error.status = self.status or self.named_status
        return error

    def _classified(self) -> AgentError:
        status = self.status or self.named_status or 502
        if self.is_too_long():
            return ContextTooLong()
        if status == _LIMITED and (_credit(self.names) or says_no_credit(self.message)):
            return ProviderRejected(_REJECTIONS["credit"])  # waiting does not help
        if status == 402 and "openrouter_in_flight_budget" in self.names:
            status = _LIMITED  # OpenRouter: too many requests at once for the credit
        if status == _LIMITED:
            return ProviderRateLimited(retry_after=self.wait)
        if status in _TIMED_OUT:
            return ProviderTimeout(retry_after=self.wait)
        # a redirect is not followed: it would send the key to another host
        if 300 <= status < 500 and status not in _PASSING:
            return ProviderRejected(_REJECTIONS[self._cause(status)])
        return ProviderUnavailable(retry_after=self.wait)

    def _cause(self, status: int) -> Cause:
        """Return why a request was refused, for a message that says who can fix it."""
        if self.is_moderation:
            return "moderation"
        return cause_of(status, self.names, self.message)


def provider_error(
    error: object, status: int | None = None, headers: Mapping[str, str] | None = None
) -> ProviderError:
    """Collect the facts of a provider's error.

    Args:
        error: the document's error: an object, a list, a text, a number, or nothing.
        status: the HTTP status; absent: the one that the document gives.
        headers: the response's, with names in lower case, for `Retry-After`.
    """
    found = ProviderError(status=status)
    details = list(_details(error))
    for detail in details:
        _note(found, detail)
    found.message = found.message[:_MAX_CHARS].lower()
    named = sorted(STATUS_OF[name] for name in found.names if name in STATUS_OF)
    found.named_status = named[-1] if named else None
    found.wait = retry_after(headers or {}, [d for d in details if isinstance(d, dict)])
    return found


def error_of(
    error: object, status: int | None = None, headers: Mapping[str, str] | None = None
) -> AgentError:
    """Return the error of ours that a provider's error means; see `provider_error`."""
    return provider_error(error, status, headers).as_error()


def error_in(fields: dict[str, Any] | list[Any], *, is_marked: bool = False) -> object:
    """Return the error that a provider's JSON document reports, or None.

    Args:
        fields: the document.
        is_marked: the server marked the document as an error, so it is one whatever its shape.
    """
    if isinstance(fields, list):
        first = fields[0] if fields else None
        return error_in(first, is_marked=is_marked) if isinstance(first, dict) else None
    choices = fields.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict) and choice.get("error"):
        return choice["error"]
    if fields.get("error") or is_marked:
        return fields
    return fields if choice is None and _reports_error(fields) else None


def _reports_error(fields: Mapping[str, Any]) -> bool:
    """Whether a document without a choice is an error in one of its other envelopes."""
    if fields.get("errors") or fields.get("detail") or fields.get("success") is False:
        return True
    if "error" in (fields.get("object"), fields.get("type")):
        return True
    if not (fields.get("message") or fields.get("msg")):
        return False
    codes = (_word(fields.get(name)) for name in ("code", "error_code"))
    statuses = (_word(fields.get(name)) for name in _STATUS_FIELDS)
    return any(word not in _GOOD and not _is_success(word) for word in codes) or any(
        _status(word) or word in _FAILED for word in statuses
    )


def _word(code: object) -> str:
    return str(code or "").strip().lower()


def _is_success(word: str) -> bool:
    return len(word) == 3 and word.isdecimal() and word < "400"


class _Decimal(float):
    """A number that keeps its server's spelling, because it may be text of an answer."""

    def __new__(cls, literal: str) -> _Decimal:
        number = super().__new__(cls, literal)
        number.literal = literal
        return number

    literal: str

    def __repr__(self) -> str:
        return self.literal


def parsed(data: str | bytes) -> Any:
    """Parse a provider's JSON document; None when it is not JSON."""
    try:
        return json.loads(data, parse_float=_Decimal)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested without end
        return None


def identifier(name: object) -> str:
    """Return a provider's name if it is plain enough for a log line, else an empty text."""
    plain = isinstance(name, str) and _IDENTIFIER.match(name) and not name.startswith("sk-")
    return str(name) if plain else ""


def _credit(names: set[str]) -> bool:
    return any(STATUS_OF.get(name) == 402 for name in names)


_NESTED = ("error", "errors", "metadata", "raw", "innererror", "details", "detail", "body", "cause")
_TEXTS = ("message", "msg", "detail", "error_message", "error_description", "raw", "title", "error")
_NAMES = ("code", "type", "status", "error_type", "error_code", "reason", "limit_source")
_STATUS_FIELDS = ("status", "status_code", "statusCode", "http_status")
_NUMBERS = (*_STATUS_FIELDS, "code", "error_code")
#: Codes that mean success, and statuses that mean an error: other statuses report progress.
_GOOD, _FAILED = {"", "0", "ok", "success"}, {"error", "fail", "failed", "failure"}


def _details(error: object, depth: int = 0) -> Iterator[object]:
    """Yield the error and the errors nested in it, outermost first, even JSON within texts."""
    if depth > _DEEPEST:
        return
    if isinstance(error, str) and error.lstrip()[:1] in ("{", "["):
        error = inner if (inner := parsed(error)) is not None else error
    if isinstance(error, list):
        for part in error[:8]:
            yield from _details(part, depth + 1)
        return
    yield error
    if isinstance(error, dict):
        for name in (*_NESTED, "message"):
            if _is_nested(value := error.get(name)) or (name == "error" and _status(value)):
                yield from _details(value, depth + 1)


def _is_nested(value: object) -> bool:
    if isinstance(value, str):
        return value.lstrip()[:1] in ("{", "[")
    return isinstance(value, dict | list)


def _note(found: ProviderError, detail: object) -> None:
    if isinstance(detail, str):
        found.message += f" {detail[:_MAX_MESSAGE]}"
    if not isinstance(detail, dict):
        found.status = found.status or _status(detail)
        return
    for name in _NUMBERS:
        found.status = found.status or _status(detail.get(name))
    for name in _NAMES:
        value = detail.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            found.names.add(str(value)[:200].lower())
    for name in _TEXTS:
        if isinstance(value := detail.get(name), str):
            found.message += f" {value[:_MAX_MESSAGE]}"
    location = detail.get("loc")  # FastAPI and pydantic: ["body", "temperature"]
    last = location[-1] if isinstance(location, list) and location else None
    for parameter in (detail.get("param"), last):
        if isinstance(parameter, str):
            found.parameters.add(parameter)
    found.is_moderation = found.is_moderation or bool(
        detail.get("flagged_input") or detail.get("content_filter_result")
    )


def _status(code: object) -> int | None:
    if isinstance(code, bool) or not isinstance(code, int | str):
        return None
    try:
        status = int(str(code)[:8])
    except ValueError:
        return None
    return status if 400 <= status < 600 else None
