"""What a provider's gateway sets in cookies does not travel with the next caller's question."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from agent.errors import AgentError
from agent.provider.client import Provider
from agent.provider.request import ChatRequest
from tests.support.provider_case import CaseServer, case_server

COOKIES = "sticky=abc123; Path=/\r\nSet-Cookie: user=one; Domain=localhost; Path=/"
ANSWER = {"body": {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}}


async def ask_twice(server: CaseServer, host: str) -> None:
    base_url = server.base_url.replace("127.0.0.1", host)
    provider = Provider(api_key="key", base_url=base_url, backoff_seconds=0.01)
    question = {"role": "user", "content": "Hi"}
    request = ChatRequest(messages=[question], models=("m",))
    try:
        for _ in range(2):
            with suppress(AgentError):
                _ = [chunk async for chunk in provider.stream(request)]
    finally:
        await provider.aclose()


# aiohttp's jar keeps none of a bare IP address, so that a name is needed to see it.
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("status", [200, 400, 503])
async def test_a_provider_s_cookies_are_not_sent_back(host: str, status: int) -> None:
    response: dict[str, Any] = {**ANSWER, "status": status, "headers": {"Set-Cookie": COOKIES}}
    async with case_server({"responses": [response]}) as server:
        await ask_twice(server, host)
    assert len(server.headers) >= 2
    assert [headers.get("cookie") for headers in server.headers] == [None] * len(server.headers)
