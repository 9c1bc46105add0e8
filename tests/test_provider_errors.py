"""Which of our errors a provider's error is."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest

from agent.errors import (
    AgentError,
    ContextTooLong,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from agent.provider.errors import error_of
from agent.provider.retry_after import MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, ProviderUnavailable),
        ("it fell over", ProviderUnavailable),
        ([], ProviderUnavailable),
        ({}, ProviderUnavailable),
        ({"code": None, "metadata": "x"}, ProviderUnavailable),
        ({"code": 10**40}, ProviderUnavailable),
        ({"code": "502"}, ProviderUnavailable),
        ({"code": "server_error"}, ProviderUnavailable),
        ({"type": "overloaded_error"}, ProviderUnavailable),
        ({"code": 408}, ProviderTimeout),
        ({"code": 524}, ProviderTimeout),
        ({"code": 429}, ProviderRateLimited),
        ({"code": "rate_limit_exceeded"}, ProviderRateLimited),
        ({"code": 502, "type": "rate_limit_error"}, ProviderUnavailable),
        ({"code": "insufficient_quota"}, ProviderRejected),
        ({"code": 429, "type": "insufficient_quota"}, ProviderRejected),
        ({"code": 401}, ProviderRejected),
        ({"type": "authentication_error"}, ProviderRejected),
        ({"metadata": {"error_type": "invalid_prompt"}}, ProviderRejected),
        ({"metadata": {"error_type": "context_length_exceeded"}}, ContextTooLong),
        ({"code": "context_length_exceeded"}, ContextTooLong),
        ({"code": 413}, ContextTooLong),
        ({"code": 400, "message": "Prompt is too long: 1 > 0"}, ContextTooLong),
        ({"code": 400, "metadata": {"raw": "exceeds the context window"}}, ContextTooLong),
        ({"code": 502, "metadata": {"raw": "exceeds the context window"}}, ProviderUnavailable),
        ({"code": 500, "message": "out of memory in the context window"}, ProviderUnavailable),
        ({"code": "invalid_prompt", "message": "maximum context length"}, ProviderRejected),
    ],
)
def test_an_error_in_a_document_is_told_by_its_codes(
    error: object, expected: type[AgentError]
) -> None:
    assert type(error_of(error)) is expected


@pytest.mark.parametrize("status", [401, 402, 403, 404, 429])
def test_words_that_may_be_the_prompt_s_decide_nothing(status: int) -> None:
    error = error_of({"code": status, "message": "flagged: maximum context length"}, status)
    assert not isinstance(error, ContextTooLong)


def test_the_http_status_counts_more_than_the_document_s_code() -> None:
    assert type(error_of({"code": 400}, 503)) is ProviderUnavailable


@pytest.mark.parametrize(
    ("status", "expected"),
    [(204, ProviderUnavailable), (307, ProviderRejected), (599, ProviderUnavailable)],
)
def test_any_status_will_do(status: int, expected: type[AgentError]) -> None:
    assert type(error_of(None, status)) is expected


def wait_of(headers: dict[str, str] | None = None, **error: Any) -> float | None:
    return error_of({"code": 429, **error}, 429, headers or {}).retry_after


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "junk", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "99999999999999"}, MAX_RETRY_AFTER),
        ({"x-ratelimit-reset": "12"}, 12),
        *(({"retry-after": value}, None) for value in ("", "-1", "nan", "inf", "1e400", "soon")),
        *(({"x-ratelimit-reset": value}, None) for value in ("", "-1", "nan", "inf", "soon")),
        ({"retry-after": "Mon, 99 Foo 2099 99:99:99 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_waits_in_headers(headers: dict[str, str], expected: float | None) -> None:
    assert wait_of(headers) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"metadata": {"headers": {"Retry-After": "3"}}}, 3),
        ({"metadata": {"headers": {"Retry-After": 3}}}, 3),
        ({"metadata": {"retry_after": 4}}, 4),
        ({"metadata": {"retry_after_seconds": 4.5}}, 4.5),
        ({"metadata": {"retry_after_ms": 500}}, 0.5),
        ({"retry_after": "6"}, 6),
        ({"metadata": {"headers": []}}, None),
        ({"metadata": {"retry_after": True}}, None),
        ({"metadata": {"retry_after": 10**400}}, None),
        ({"metadata": {"headers": {"X-RateLimit-Reset": 10**400}}}, None),
        ({"metadata": {"headers": {"X-RateLimit-Reset": [1]}}}, None),
    ],
)
def test_waits_in_documents(error: dict[str, Any], expected: float | None) -> None:
    assert wait_of(None, **error) == expected


def test_the_header_counts_more_than_the_document() -> None:
    assert wait_of({"retry-after": "7"}, metadata={"retry_after": 99}) == 7


def test_dates_and_ends_of_windows_are_moments() -> None:
    later = time.time() + 60
    assert wait_of({"retry-after": formatdate(later, usegmt=True)}) == pytest.approx(60, abs=2)
    for reset in (str(int(later * 1000)), str(int(later))):
        nested = {"headers": {"X-RateLimit-Reset": reset}}
        assert wait_of(None, metadata=nested) == pytest.approx(60, abs=2)
