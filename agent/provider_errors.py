"""Which of our errors a provider's error is, and how long it asks to wait. No I/O.

Sources: https://openrouter.ai/docs/api/reference/errors-and-debugging, OpenAI, RFC 9110.
A provider's words are looked at, and never repeated: they may hold the prompt or the key.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from .errors import (
    AgentError,
    ContextTooLong,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)

#: What is told to a client at most, in seconds.
MAX_RETRY_AFTER = 86_400.0

#: Codes and types by which servers name an error, in place of an HTTP status.
_STATUSES = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "timeout": 408,
    "insufficient_quota": 402,
    "billing_error": 402,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "content_filter": 403,
    "content_policy_violation": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "invalid_request": 400,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
}
_TOO_LONG_CODES = {"context_length_exceeded", "request_too_large"}
_TOO_LONG_PHRASES = (
    "maximum context length",
    "context length exceeded",
    "context window",
    "context size",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "reduce the length",
    "maximum number of tokens",
)
#: Answers that may be another one a little later.
_UNAVAILABLE, _TIMED_OUT, _LIMITED = 502, {408, 504, 522, 524}, 429


def error_of(
    error: object, status: int | None = None, headers: Mapping[str, str] | None = None
) -> AgentError:
    """The error that a provider's error document means.

    Args:
        error: the document's `error`: an object, a text, or nothing.
        status: the HTTP status; absent: the one that the document names.
        headers: of the response, for `Retry-After`.
    """
    details = error if isinstance(error, dict) else {"message": error}
    metadata = details.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    names = {
        str(name).lower()
        for name in (details.get("code"), details.get("type"), metadata.get("error_type"))
    }
    named = next((_STATUSES[name] for name in sorted(names) if name in _STATUSES), None)
    status = status or _status(details.get("code")) or named or _UNAVAILABLE
    wait = retry_after(headers or {}, details, metadata)
    if _is_too_long(status, names, details, metadata):
        return ContextTooLong()
    if status == _LIMITED and "insufficient_quota" in names:
        return ProviderRejected()  # no credit: waiting does not help
    if status == 402 and metadata.get("limit_source") == "openrouter_in_flight_budget":
        status = _LIMITED  # OpenRouter: too many requests at once for the credit
    if status == _LIMITED:
        return ProviderRateLimited(retry_after=wait)
    if status in _TIMED_OUT:
        return ProviderTimeout(retry_after=wait)
    if 300 <= status < 500:  # a redirect is not followed: it would take the key elsewhere
        return ProviderRejected()
    return ProviderUnavailable(retry_after=wait)


def _status(code: object) -> int | None:
    try:
        status = int(str(code)[:8])
    except ValueError:
        return None
    return status if 400 <= status < 600 else None


def _is_too_long(
    status: int, names: set[str], details: Mapping[str, Any], metadata: Mapping[str, Any]
) -> bool:
    if status == 413 or names & _TOO_LONG_CODES:
        return True
    if status in (401, 402, 403, 404, _LIMITED):
        return False  # moderation errors repeat the prompt: its words decide nothing
    words = f"{details.get('message')} {metadata.get('raw')}".lower()
    return any(phrase in words for phrase in _TOO_LONG_PHRASES)


def retry_after(
    headers: Mapping[str, str], details: Mapping[str, Any], metadata: Mapping[str, Any]
) -> float | None:
    """How long the provider asks to wait, in seconds, or None.

    In this order: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), `retry-after-ms`, the
    same in the error's metadata, and the end of the rate limit's window. What cannot be read, or
    is negative, counts as absent.
    """
    nested = metadata.get("headers")
    nested = nested if isinstance(nested, dict) else {}
    nested = {str(name).lower(): value for name, value in nested.items()}
    for source in (headers, nested):
        wait = _seconds(source.get("retry-after"))
        if wait is None:
            wait = _until_date(source.get("retry-after"))
        if wait is None:
            wait = _seconds(source.get("retry-after-ms"), unit=1000)
        if wait is not None:
            return wait
    for source in (metadata, details):
        for name, unit in (
            ("retry_after", 1),
            ("retry_after_seconds", 1),
            ("retry_after_ms", 1000),
        ):
            if (wait := _seconds(source.get(name), unit)) is not None:
                return wait
    return _until_reset(nested.get("x-ratelimit-reset") or headers.get("x-ratelimit-reset"))


def _seconds(value: object, unit: int = 1) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value) / unit
    except (ValueError, OverflowError):
        return None
    # not "nan"; "inf" and 400 digits are no number of seconds either
    return min(seconds, MAX_RETRY_AFTER) if seconds >= 0 and math.isfinite(seconds) else None


def _until_date(value: object) -> float | None:
    try:
        moment = parsedate_to_datetime(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
    return _until(moment)


def _until_reset(value: object) -> float | None:
    """X-RateLimit-Reset is milliseconds (OpenRouter) or seconds since 1970, or seconds from now."""
    try:
        moment = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    if not moment >= 1e9:
        return _seconds(moment)
    return _until(moment / 1000 if moment > 1e11 else moment)


def _until(moment: float | None) -> float | None:
    if moment is None or not math.isfinite(moment):
        return None
    return min(max(moment - time.time(), 0.0), MAX_RETRY_AFTER)
