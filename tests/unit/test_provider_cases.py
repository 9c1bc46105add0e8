"""What real providers answer, case by case, and what becomes of it. A quirk is a file."""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
import pytest

from agent.errors import AgentError
from agent.provider import client as provider_module
from agent.provider.client import Provider
from agent.provider.decoder import Delta, Finish, Reasoning, Source, Usage
from agent.provider.request import ChatRequest
from tests.support.provider_case import DIRECTORY, CaseServer, case_server

CASES = {path.stem: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))}
KEY = "sk-canary-of-the-cases"
TLS = httpx.create_ssl_context()  # 50 ms, which every provider would take again


@pytest.mark.parametrize("name", CASES)
async def test_a_recorded_answer_becomes_what_it_means(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(provider_module, "GRACE_SECONDS", 0.2)  # a case waits 0.4 s for "longer"
    monkeypatch.setattr(httpx, "create_ssl_context", lambda **_: TLS)
    case = CASES[name]
    with caplog.at_level(logging.INFO, "agent"):
        async with case_server(case) as server:
            became = await _ask(server, case)
    expected = dict(case["becomes"])
    log = caplog.text
    assert expected.pop("logged", "") in log
    assert KEY not in log
    if unlogged := expected.pop("not_logged", ""):
        assert unlogged not in log
    sent = expected.pop("sent", {})
    assert {key: server.requests[-1].get(key) for key in sent} == sent
    says = expected.pop("says", "")
    assert says in became.pop("words", "")
    assert {key: became.get(key) for key in expected} == expected


async def _ask(server: CaseServer, case: dict[str, Any]) -> dict[str, Any]:
    provider = Provider(
        api_key=KEY,
        base_url=server.base_url,
        backoff_seconds=0.01,
        first_token_timeout=10,
        token_timeout=10,
    )
    messages = [{"role": "user", "content": "A question"}]
    if case.get("system"):
        messages.insert(0, {"role": "system", "content": "Be brief."})
    settings = {"temperature": 0.7, "max_tokens": 1500, **case.get("settings", {})}
    request = ChatRequest(messages=messages, models=("maker/model",), **settings)
    became: dict[str, Any] = {"text": "", "reasoning": "", "sources": [], "usage": {}}
    try:
        async for chunk in provider.stream(request):
            _add(became, chunk)
    except AgentError as error:
        became |= {
            "error": error.code,
            "retryable": error.retryable,
            "retry_after": error.retry_after,
            "status": error.status,
            "words": error.message,
        }
    finally:
        await provider.aclose()
    became |= {"requests": len(server.requests), "path": server.paths[-1]}
    became["authorization"] = server.headers[-1].get("authorization")
    return became


def _add(became: dict[str, Any], chunk: object) -> None:
    match chunk:
        case Delta(text):
            became["text"] += text
        case Reasoning(text):
            became["reasoning"] += text
        case Source(url, title):
            became["sources"].append({"url": url, "title": title})
        case Usage():
            became["usage"] = {
                "prompt_tokens": chunk.prompt_tokens,
                "completion_tokens": chunk.completion_tokens,
                "cost": None if chunk.cost is None else float(chunk.cost),
                "model": chunk.model,
                "reasoning_tokens": chunk.reasoning_tokens,
                "cached_tokens": chunk.cached_tokens,
            }
        case Finish(reason):
            became["finish_reason"] = reason
