"""Reads how long a provider asks its clients to wait. Pure, no I/O.

Sources: RFC 9110, 10.2.3; https://openrouter.ai/docs/api/reference/limits; google.rpc.RetryInfo.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

#: The longest wait that our clients are sent, in seconds.
MAX_RETRY_AFTER = 86_400.0

_FIELDS = (("retry_after", 1), ("retry_after_seconds", 1), ("retry_after_ms", 1000))
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)s\Z")


def retry_after(headers: Mapping[str, str], details: Sequence[Mapping[str, Any]]) -> float | None:
    """Return how long to wait, in seconds, or None.

    Sources, in this order: `Retry-After` in seconds or as a date, `retry-after-ms`, the same
    headers in the error's metadata, fields of the error, and the end of the rate limit's window. A
    value that cannot be read, or is negative, counts as absent.

    Args:
        headers: the response's, with names in lower case.
        details: the error and the errors nested in it, outermost first.
    """
    nested: dict[str, Any] = {}
    for detail in details:
        if isinstance(metadata := detail.get("headers"), dict):
            nested |= {str(name).lower(): value for name, value in metadata.items()}
    for source in (headers, nested):
        wait = _seconds(source.get("retry-after"))
        if wait is None:
            wait = _until_date(source.get("retry-after"))
        if wait is None:
            wait = _seconds(source.get("retry-after-ms"), unit=1000)
        if wait is not None:
            return wait
    for detail in reversed(details):
        for name, unit in _FIELDS:
            if (wait := _seconds(detail.get(name), unit)) is not None:
                return wait
        if (wait := _duration(detail.get("retryDelay"))) is not None:
            return wait
    return _until_reset(nested.get("x-ratelimit-reset") or headers.get("x-ratelimit-reset"))


def _seconds(value: object, unit: int = 1) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value) / unit
    except (ValueError, OverflowError):
        return None
    # "nan", "inf" and 400 digits are no number of seconds
    return min(seconds, MAX_RETRY_AFTER) if seconds >= 0 and math.isfinite(seconds) else None


def _duration(value: object) -> float | None:
    """Read a google.protobuf.Duration in JSON: "34s", "0.5s"."""
    match = _DURATION.match(value) if isinstance(value, str) else None
    return _seconds(match[1]) if match else None


def _until_date(value: object) -> float | None:
    try:
        moment = parsedate_to_datetime(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
    return _until(moment)


def _until_reset(value: object) -> float | None:
    """Read X-RateLimit-Reset: milliseconds (OpenRouter) or seconds since 1970, or from now."""
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
