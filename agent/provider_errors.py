"""Which of our errors a provider's error is. Pure, no I/O.

Sources: https://openrouter.ai/docs/api/reference/errors-and-debugging, OpenAI, google.rpc, and the
recorded errors in tests/provider_cases. A provider's words are looked at, and never repeated: they
may hold the prompt or the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import (
    AgentError,
    ContextTooLong,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from .retry_after import retry_after

#: Codes, types and statuses by which servers name an error, in place of an HTTP status.
_STATUSES = {
    408: ("timeout", "request_timeout"),
    504: ("deadline_exceeded", "gateway_timeout"),
    429: (
        *("rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests"),
        *("resource_exhausted", "ratelimiterror", "throttling", "throttlingexception"),
        *("1302", "1303", "1304", "1305"),  # Zhipu
    ),
    402: (
        *("insufficient_quota", "billing_error", "insufficient_balance", "insufficient_credits"),
        *("billing_hard_limit_reached", "billing_not_active", "credit_limit", "payment_required"),
        *("quota_exceeded", "1113"),
    ),
    401: (
        *("invalid_api_key", "authentication_error", "unauthenticated", "unauthorized"),
        *("api_key_invalid", "invalid_authentication", "1000", "1001", "1002", "1003", "1004"),
    ),
    403: (
        *("permission_error", "permission_denied", "forbidden", "access_denied"),
        *("content_filter", "content_policy_violation", "moderation", "data_inspection_failed"),
        *("responsibleaipolicyviolation", "content_moderation", "moderation_blocked"),
        *("content_filter_error", "1301"),
    ),
    404: (
        *("model_not_found", "not_found_error", "not_found", "notfounderror", "1211"),
        *("deploymentnotfound", "unknown_model", "invalid_model", "model_not_available"),
    ),
    503: ("unavailable", "overloaded_error", "service_unavailable", "model_overloaded"),
    500: ("internal", "server_error", "internal_error", "internal_server_error", "api_error"),
    400: (
        *("invalid_request", "invalid_request_error", "invalid_prompt", "invalid_argument"),
        *("badrequesterror", "bad_request", "invalid_parameter", "validation", "1210", "1261"),
    ),
}
_STATUS_OF = {name: status for status, names in _STATUSES.items() for name in names}
_TOO_LONG_CODES = {
    *("context_length_exceeded", "request_too_large", "exceed_context_size_error", "1261"),
    *("string_above_max_length", "context_window_exceeded", "context_too_long", "input_too_long"),
    *("contextwindowexceedederror", "prompt_too_long", "max_context_length_exceeded"),
}
#: Codes after which words say nothing of the conversation's length.
_NOT_TOO_LONG_CODES = {"invalid_prompt"} | {
    name for name, status in _STATUS_OF.items() if status != 400
}
_TOO_LONG_WORDS = re.compile(
    r"(maximum|max|model'?s?|available|allowed) (context|model|prompt|input) (length|size|window)"
    r"|context (length|window|size|limit)\b.*(exceed|overflow|too (long|large|small))"
    r"|(exceed\w*|longer than|greater than|larger than|more than|beyond|over)\b[^.]{0,60}"
    r"\bcontext (length|window|size|limit)"
    r"|(prompt|input|conversation|request|message\w*) (is|are) too (long|large)"
    r"|too many (input |prompt )?tokens|reduce the length"
    r"|exceed\w*( the)? (maximum|max)( allowed)?( number of)?( input)? (input )?tokens"
    r"|maximum number of( input)? tokens|input token count"
    r"|inputs?`? (must have less than|tokens \+ `?max_new_tokens)"
    r"|longer than the maximum (model|context|input) length",
    re.DOTALL,
)
#: What is told of a length that the operator chose, and not of the conversation's.
_OUTPUT_TOO_LONG = re.compile(
    r"max(_completion|_output|_new)?_tokens['`\"]?( or ['`\"]?max\w*['`\"]?)? "
    r"(is|are|was) (too (large|high|big)|greater|above|more)"
)
_MODERATION = {
    *("content_filter", "content_policy_violation", "moderation", "data_inspection_failed", "1301"),
    *("responsibleaipolicyviolation", "content_moderation", "moderation_blocked", "safety"),
    *("content_filter_error", "flagged_input"),
}
_CREDIT_WORDS = re.compile(r"\b(credits?|balance|billing|payment|quota|spending|funds)\b")
_OPERATOR = "Only the operator of this site can mend that."
_REJECTIONS = {
    "key": f"The model's provider did not accept the API key of this site. {_OPERATOR}",
    "credit": f"The credit of this site at the model's provider is used up. {_OPERATOR}",
    "model": f"The model of this site is not known to its provider. {_OPERATOR}",
    "moderation": "The model's provider refused this message for its content. Ask in another way.",
    "": "",
}
_TIMED_OUT, _LIMITED, _BAD_REQUEST = {408, 504, 522, 524}, 429, (400, 413, 422)
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,64}\Z")
_DEEPEST = 6


@dataclass(slots=True)
class ProviderError:
    """What a provider said of an error, whatever its envelope.

    `words` may hold prompts and keys: they are for looking at alone.
    """

    status: int | None = None  # of HTTP, else the one that the document gives
    named_status: int | None = None  # by a code, where there is no number
    names: set[str] = field(default_factory=set)  # codes and types, in lower case
    parameters: set[str] = field(default_factory=set)  # of the request, that it names
    words: str = ""  # in lower case
    wait: float | None = None  # seconds
    is_moderation: bool = False

    @property
    def identifiers(self) -> str:
        """Its codes, types and parameters that are plain names: they hold no text of a user."""
        names = sorted(self.names | self.parameters)
        return " ".join(found for name in names[:8] if (found := identifier(name)))

    def is_too_long(self) -> bool:
        """Whether the conversation does not fit the model: codes count before words."""
        if self.names & _TOO_LONG_CODES or self.status == 413:
            return True
        if self.names & _NOT_TOO_LONG_CODES or self.status not in (None, *_BAD_REQUEST):
            return False  # moderation errors repeat the prompt: its words decide nothing
        if _OUTPUT_TOO_LONG.search(self.words):
            return False
        return bool(_TOO_LONG_WORDS.search(self.words))

    def as_error(self) -> AgentError:
        """The error of ours that this is."""
        error = self._classified()
        error.status = self.status or self.named_status
        return error

    def _classified(self) -> AgentError:
        status = self.status or self.named_status or 502
        if self.is_too_long():
            return ContextTooLong()
        if status == _LIMITED and _credit(self.names):
            return ProviderRejected(_REJECTIONS["credit"])  # waiting does not help
        if status == 402 and "openrouter_in_flight_budget" in self.names:
            status = _LIMITED  # OpenRouter: too many requests at once for the credit
        if status == _LIMITED:
            return ProviderRateLimited(retry_after=self.wait)
        if status in _TIMED_OUT:
            return ProviderTimeout(retry_after=self.wait)
        if 300 <= status < 500:  # a redirect is not followed: it would take the key elsewhere
            return ProviderRejected(_REJECTIONS[self._cause(status)])
        return ProviderUnavailable(retry_after=self.wait)

    def _cause(self, status: int) -> str:
        """Why a request was refused, for words that tell who can mend it."""
        statuses = {status} | {_STATUS_OF[name] for name in self.names if name in _STATUS_OF}
        if self.is_moderation or self.names & _MODERATION:
            return "moderation"
        if 402 in statuses or (status == 403 and _CREDIT_WORDS.search(self.words)):
            return "credit"
        if statuses & {401, 403}:
            return "key"
        return "model" if 404 in statuses else ""


def provider_error(
    error: object, status: int | None = None, headers: Mapping[str, str] | None = None
) -> ProviderError:
    """What a provider's error says.

    Args:
        error: of the document: an object, a list, a text, a number, or nothing.
        status: the HTTP status; absent: the one that the document gives.
        headers: of the response, with names in lower case, for `Retry-After`.
    """
    found = ProviderError(status=status)
    details = list(_details(error))
    for detail in details:
        _note(found, detail)
    found.words = found.words.lower()
    named = sorted(_STATUS_OF[name] for name in found.names if name in _STATUS_OF)
    found.named_status = named[-1] if named else None
    found.wait = retry_after(headers or {}, [d for d in details if isinstance(d, dict)])
    return found


def error_of(
    error: object, status: int | None = None, headers: Mapping[str, str] | None = None
) -> AgentError:
    """The error of ours that a provider's error means; see `provider_error`."""
    return provider_error(error, status, headers).as_error()


def error_in(fields: dict[str, Any] | list[Any], *, is_marked: bool = False) -> object:
    """The error that a JSON document of a provider reports, or None.

    Args:
        fields: the document.
        is_marked: the server said that this is an error, so it is one whatever its shape.
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
    words = fields.get("message") or fields.get("msg")
    return bool(
        fields.get("errors")
        or fields.get("detail")
        or "error" in (fields.get("object"), fields.get("type"))
        or fields.get("success") is False
        or (words and (fields.get("code") or fields.get("status") or fields.get("statusCode")))
    )


def parsed(data: str | bytes) -> Any:
    """A JSON document of a provider; None when it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested without end
        return None


def identifier(name: object) -> str:
    """A provider's name of something, if it is a plain one that may stand in a log line."""
    plain = isinstance(name, str) and _IDENTIFIER.match(name) and not name.startswith("sk-")
    return str(name) if plain else ""


def _credit(names: set[str]) -> bool:
    return any(_STATUS_OF.get(name) == 402 for name in names)


_NESTED = ("error", "errors", "metadata", "raw", "innererror", "details", "detail", "body", "cause")
_WORDS = ("message", "msg", "detail", "error_message", "error_description", "raw", "title", "error")
_NAMES = ("code", "type", "status", "error_type", "error_code", "reason", "limit_source")
_NUMBERS = ("status", "status_code", "statusCode", "http_status", "code", "error_code")


def _details(error: object, depth: int = 0) -> Iterator[object]:
    """The error and what is nested in it, outermost first; JSON within texts too."""
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
        found.words += f" {detail}"
    if not isinstance(detail, dict):
        found.status = found.status or _status(detail)
        return
    for name in _NUMBERS:
        found.status = found.status or _status(detail.get(name))
    for name in _NAMES:
        value = detail.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            found.names.add(str(value)[:200].lower())
    for name in _WORDS:
        if isinstance(value := detail.get(name), str):
            found.words += f" {value}"
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
