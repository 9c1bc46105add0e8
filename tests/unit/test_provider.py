"""The provider's client against a real little server over HTTP."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import pytest

from agent.errors import (
    AgentError,
    AnswerUnreadable,
    ContextTooLong,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from agent.provider import client as provider_module
from agent.provider.client import Chunk, Delta, Finish, Provider, Usage
from agent.provider.decoder import MAX_ANSWER_CHARS
from agent.provider.event_stream import MAX_DOCUMENT_BYTES
from agent.provider.request import ChatRequest
from tests.support.clock import Clock
from tests.support.scripted_provider import ScriptedProvider, expected_text

KEY = "sk-canary-4711"  # "canary" must not be told


@pytest.fixture
async def server() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as server:
        yield server


@pytest.fixture
async def provider(server: ScriptedProvider) -> AsyncIterator[Provider]:
    provider = _provider(server)
    yield provider
    await provider.aclose()


def _provider(server: ScriptedProvider, **changed: Any) -> Provider:
    options: dict[str, Any] = {
        "api_key": KEY,
        "base_url": server.base_url,
        "backoff_seconds": 0.01,
        "first_token_timeout": 45.0,
        "token_timeout": 45.0,
    }
    return Provider(**{**options, **changed})


@dataclass
class Heard:
    """What came of one answer."""

    chunks: list[Chunk] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks if isinstance(chunk, Delta))

    @property
    def deltas(self) -> list[str]:
        return [chunk.text for chunk in self.chunks if isinstance(chunk, Delta)]

    @property
    def usages(self) -> list[Usage]:
        return [chunk for chunk in self.chunks if isinstance(chunk, Usage)]

    @property
    def finishes(self) -> list[Finish]:
        return [chunk for chunk in self.chunks if isinstance(chunk, Finish)]


def asked(*messages: dict[str, str], **parameters: Any) -> ChatRequest:
    return ChatRequest(**{"messages": messages, "models": ("maker/model",), **parameters})


def user_says(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


async def hear(
    provider: Provider, prompt: str, heard: Heard | None = None, **parameters: Any
) -> Heard:
    heard = heard or Heard()
    try:
        async for chunk in provider.stream(asked(user_says(prompt), **parameters)):
            heard.chunks.append(chunk)
    except AgentError as error:
        heard.error = error
    return heard


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(45):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


# Answers


@pytest.mark.parametrize(
    "prompt",
    [
        "say: hello world",
        "What is a WebSocket?",
        "mode=slow tokens=20 delay=0.001",
        "mode=plain say: no stream at all",
        "mode=reasoning tokens=5",
        "mode=comments tokens=5",
        "mode=ok done=0 tokens=3",
        "mode=ok bytes=1 say: h\u00e9llo \U0001f600 \u65e5\u672c\u8a9e",
        "mode=ok bytes=7 say: h\u00e9llo \U0001f600 \u65e5\u672c\u8a9e",
        "mode=u2028",
        "mode=nul",
        "mode=surrogate",
        "mode=pair",
        "mode=ok tokens=3000",
    ],
)
async def test_an_answer_arrives_whole_and_ends_once(provider: Provider, prompt: str) -> None:
    heard = await hear(provider, prompt)
    assert heard.error is None
    assert heard.text == expected_text(prompt)
    assert heard.finishes == [Finish("stop")]
    assert heard.chunks[-1] == Finish("stop")
    assert "" not in heard.deltas


@pytest.mark.parametrize("usage", ["empty", "choice", "start"])
async def test_usage_is_found_in_a_chunk_with_one_choice_or_none(
    provider: Provider, usage: str
) -> None:
    heard = await hear(provider, f"mode=ok usage={usage} cost=0.00125 say: one two three")
    assert heard.usages[-1] == Usage(7, 3, Decimal("0.00125"), "maker/model")


async def test_a_plain_completion_has_its_usage_too(provider: Provider) -> None:
    heard = await hear(provider, "mode=plain cost=0.5 say: one two")
    assert heard.usages == [Usage(5, 2, Decimal("0.5"), "maker/model")]


async def test_the_model_that_answers_is_known_before_its_first_token(provider: Provider) -> None:
    heard = await hear(provider, "mode=cut after=1 model=other/model say: one two")
    assert heard.chunks == [Usage(None, None, None, "other/model"), Delta("one ")]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_the_reason_for_the_end_is_told(provider: Provider, reason: str) -> None:
    heard = await hear(provider, f"mode=ok tokens=2 finish={reason}")
    assert heard.chunks[-1] == Finish(reason)  # type: ignore[arg-type]
    assert heard.error is None


async def test_other_reasons_for_the_end_are_a_stop(provider: Provider) -> None:
    assert (await hear(provider, "mode=ok finish=tool_calls")).finishes == [Finish("stop")]


async def test_a_complete_answer_does_not_wait_forever_for_its_usage(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "GRACE_SECONDS", 0.05)
    heard = await hear(provider, "mode=linger tokens=3")
    assert heard.error is None
    assert heard.chunks[-1] == Finish("stop")


# Requests


async def test_the_request_is_what_openrouter_expects(server: ScriptedProvider) -> None:
    provider = _provider(server, title="\u00c4gent\r\nX-Evil: 1", referer="https://example.org/")
    models = ("maker/model", "b", "c", "d", "e")
    await hear(provider, "say: hi", models=models, temperature=0.2, max_tokens=77)
    await provider.aclose()
    [request] = server.requests
    assert request.path == "/api/v1/chat/completions"
    assert request.body == {
        "model": "maker/model",
        "models": ["b", "c", "d"],
        "messages": [{"role": "user", "content": "say: hi"}],
        "temperature": 0.2,
        "max_tokens": 77,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["http-referer"] == "https://example.org/"
    assert request.headers["x-title"] == "gentX-Evil: 1"
    assert request.headers["accept-encoding"] == "identity"
    assert "x-evil" not in request.headers


async def test_without_fallbacks_and_key_neither_is_sent(server: ScriptedProvider) -> None:
    provider = _provider(server, api_key="  ")
    await hear(provider, "say: hi")
    await provider.aclose()
    assert "models" not in server.requests[0].body
    assert "authorization" not in server.requests[0].headers


async def test_the_operator_s_proxy_is_used_but_not_for_this_machine(
    server: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    elsewhere = _provider(server, base_url="http://model.example/v1")
    assert (await hear(elsewhere, "say: by proxy")).text == "by proxy"
    assert server.requests[0].path == "http://model.example/v1/chat/completions"
    await elsewhere.aclose()
    here = _provider(server)
    await hear(here, "say: directly")
    assert server.requests[1].path == "/api/v1/chat/completions"
    await here.aclose()


@pytest.mark.parametrize("key", ["sk-\nX", "sk-\u00e9"])
def test_an_impossible_key_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ValueError, match="characters") as caught:
        Provider(api_key=key, base_url="http://127.0.0.1/")
    assert key not in str(caught.value)


def test_an_impossible_address_is_refused_without_repeating_it() -> None:
    address = "http://canary:port/"
    with pytest.raises(ValueError, match="address") as caught:
        Provider(api_key="", base_url=address)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_the_key_is_not_in_the_representation() -> None:
    assert KEY not in repr(Provider(api_key=KEY, base_url="http://127.0.0.1/"))


async def test_answers_that_end_well_share_a_connection(
    server: ScriptedProvider, provider: Provider
) -> None:
    for prompt in ("say: a", "mode=status status=400", "mode=plain say: b", "say: c"):
        await hear(provider, prompt)
    assert {request.connection for request in server.requests} == {1}


async def test_many_answers_run_at_the_same_time(server: ScriptedProvider) -> None:
    provider = _provider(server, max_connections=150)
    prompts = [f"mode=slow delay=0.05 say: answer number {n}" for n in range(150)]
    heards = await asyncio.gather(*(hear(provider, prompt) for prompt in prompts))
    assert [heard.text for heard in heards] == [expected_text(prompt) for prompt in prompts]
    assert server.connections == 150
    await provider.aclose()


async def test_further_requests_than_connections_wait(server: ScriptedProvider) -> None:
    provider = _provider(server, max_connections=2)
    heards = await asyncio.gather(*(hear(provider, "say: hello") for _ in range(10)))
    assert [heard.text for heard in heards] == ["hello"] * 10
    assert server.connections == 2
    await provider.aclose()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # aiohttp advises against large bodies
async def test_a_conversation_of_megabytes_arrives(
    server: ScriptedProvider, provider: Provider
) -> None:
    long = {"role": "system", "content": "x" * 2**21}
    question = {"role": "user", "content": "say: read"}
    chunks = [chunk async for chunk in provider.stream(asked(long, question))]
    assert Delta("read") in chunks
    assert server.requests[0].body["messages"][0] == long


def test_one_provider_works_in_one_loop_after_another() -> None:
    async def ask(provider: Provider | None) -> tuple[Provider, str]:
        async with ScriptedProvider() as server:
            provider = provider or _provider(server)
            provider._url = httpx.URL(f"{server.base_url}/chat/completions")
            text = (await hear(provider, "say: hello")).text
            await provider.aclose()
            return provider, text

    provider, first = asyncio.run(ask(None))
    assert (first, asyncio.run(ask(provider))[1]) == ("hello", "hello")


# Errors


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        *((f"mode=status status={status}", ProviderRejected) for status in (400, 401, 402, 403)),
        *((f"mode=status status={status}", ProviderRejected) for status in (404, 409, 418, 422)),
        ("mode=status status=403 body=echo", ProviderRejected),
        ("mode=status status=429 body=quota", ProviderRejected),
        ("mode=status status=413", ContextTooLong),
        ("mode=status status=400 body=context", ContextTooLong),
        ("mode=status status=400 body=phrase", ContextTooLong),
        ("mode=error_json code=400", ProviderRejected),
        ("mode=error_event code=403", ProviderRejected),
        ("mode=error_event code=context_length_exceeded", ContextTooLong),
        ("mode=redirect", ProviderRejected),
        ("mode=endless", AnswerUnreadable),
        ("mode=endless_event", AnswerUnreadable),
        ("mode=gzip", AnswerUnreadable),
    ],
)
async def test_what_cannot_get_better_is_not_asked_again(
    server: ScriptedProvider, provider: Provider, prompt: str, error: type[AgentError]
) -> None:
    heard = await hear(provider, prompt)
    assert type(heard.error) is error
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        *((f"mode=status status={status}", ProviderUnavailable) for status in (500, 502, 503)),
        ("mode=status status=529", ProviderUnavailable),
        ("mode=status status=408", ProviderTimeout),
        ("mode=status status=504", ProviderTimeout),
        ("mode=status status=429", ProviderRateLimited),
        ("mode=status status=502 body=text", ProviderUnavailable),
        ("mode=status status=502 body=html", ProviderUnavailable),
        ("mode=status status=500 body=huge size=1000000", ProviderUnavailable),
        ("mode=status status=204", ProviderUnavailable),
        ("mode=error_json", ProviderUnavailable),
        ("mode=error_json code=429", ProviderRateLimited),
        ("mode=error_json code=server_error", ProviderUnavailable),
        ("mode=error_event", ProviderUnavailable),
        ("mode=error_event code=rate_limit_exceeded", ProviderRateLimited),
        ("mode=error_finish", ProviderUnavailable),
        ("mode=cut", ProviderUnavailable),
        ("mode=truncated", ProviderUnavailable),
        ("mode=rst", ProviderUnavailable),
        ("mode=empty", ProviderUnavailable),
        ("mode=junk", ProviderUnavailable),
        ("mode=array", ProviderUnavailable),
        ("mode=nested", ProviderUnavailable),
        ("mode=no_http", ProviderUnavailable),
        ("mode=close", ProviderUnavailable),
    ],
)
async def test_what_may_get_better_is_asked_again_before_the_first_token(
    server: ScriptedProvider, provider: Provider, prompt: str, error: type[AgentError]
) -> None:
    heard = await hear(provider, prompt)
    assert type(heard.error) is error
    assert heard.chunks == []
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "mode",
    [
        "error_event",
        "error_finish",
        "cut",
        "truncated",
        "rst",
        "junk",
        "array",
        "nested",
        "endless",
    ],
)
async def test_after_the_first_token_nothing_is_asked_again_and_the_text_is_kept(
    server: ScriptedProvider, provider: Provider, mode: str
) -> None:
    prompt = f"mode={mode} after=2 say: one two three"
    heard = await hear(provider, prompt)
    assert isinstance(heard.error, ProviderUnavailable)
    assert heard.text == expected_text(prompt) == "one two "
    assert heard.finishes == []
    assert len(server.requests) == 1


async def test_an_answer_without_a_reason_for_its_end_was_cut(provider: Provider) -> None:
    heard = await hear(provider, "mode=ok finish=none done=0 cost=0.25 say: one two")
    assert type(heard.error) is ProviderUnavailable
    assert heard.text == "one two"
    assert heard.usages[-1].cost == Decimal("0.25")


async def test_reasoning_is_a_token_after_which_nothing_is_asked_again(
    server: ScriptedProvider, provider: Provider
) -> None:
    heard = await hear(provider, "mode=reasoning finish=error say: hm")
    assert type(heard.error) is ProviderUnavailable
    assert len(server.requests) == 1


async def test_nobody_listening_is_unavailable(server: ScriptedProvider) -> None:
    async with ScriptedProvider() as gone:
        pass
    provider = _provider(gone)
    assert type((await hear(provider, "say: hello")).error) is ProviderUnavailable
    await provider.aclose()


@pytest.mark.parametrize("how", ["http", "sse"])
async def test_a_provider_that_recovers_is_answered_by(
    server: ScriptedProvider, provider: Provider, how: str
) -> None:
    prompt = f"mode=flaky times=2 how={how} say: here I am"
    heard = await hear(provider, prompt)
    assert (heard.error, heard.text) == (None, "here I am")
    assert len(server.requests) == 3


async def test_a_connection_that_is_reset_before_the_answer_is_tried_again(
    server: ScriptedProvider, provider: Provider
) -> None:
    await hear(provider, "say: hello")
    await server.__aexit__()
    async with ScriptedProvider(port=server.port) as again:  # the pooled connection is dead
        assert (await hear(provider, "say: still there")).text == "still there"
        assert len(again.requests) == 1


# Retry-After


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("where", ["header", "body", "nested", "reset", "ms"])
async def test_the_wait_that_the_provider_asks_for_is_honoured(
    server: ScriptedProvider, provider: Provider, status: int, where: str
) -> None:
    wait = 200 if where == "ms" else 0.2
    prompt = f"mode=flaky status={status} retry_after={wait} where={where} say: thanks"
    assert (await hear(provider, prompt)).text == "thanks"
    first, second = server.requests
    assert second.at - first.at >= 0.19


@pytest.mark.parametrize("where", ["header", "date", "body", "nested", "reset"])
async def test_a_wait_that_is_too_long_is_told_at_once(
    server: ScriptedProvider, provider: Provider, where: str
) -> None:
    heard = await hear(provider, f"mode=status status=429 retry_after=3600 where={where}")
    assert isinstance(heard.error, ProviderRateLimited)
    assert heard.error.retry_after == pytest.approx(3600, abs=5)
    assert len(server.requests) == 1


async def test_a_wait_beyond_the_first_token_deadline_is_told_at_once(
    server: ScriptedProvider,
) -> None:
    provider = _provider(server, first_token_timeout=15)
    heard = await hear(provider, "mode=status status=503 retry_after=18")
    assert isinstance(heard.error, ProviderUnavailable)
    assert heard.error.retry_after == 18
    assert len(server.requests) == 1
    await provider.aclose()


async def test_a_wait_above_the_cap_is_told_at_once(server: ScriptedProvider) -> None:
    provider = _provider(server, first_token_timeout=60, max_retry_after=0.5)
    heard = await hear(provider, "mode=status status=429 retry_after=1")
    assert isinstance(heard.error, ProviderRateLimited)
    assert heard.error.retry_after == 1
    assert len(server.requests) == 1
    await provider.aclose()


@pytest.mark.parametrize("wait", ["-5", "soon", "nan", "inf", "9" * 400, "0x10", "1e400"])
async def test_a_wait_that_cannot_be_read_is_an_ordinary_retry(
    server: ScriptedProvider, provider: Provider, wait: str
) -> None:
    heard = await hear(provider, f"mode=flaky status=429 retry_after={wait} say: fine")
    assert (heard.error, heard.text) == (None, "fine")
    assert len(server.requests) == 2


async def test_a_date_that_has_passed_is_no_wait(
    server: ScriptedProvider, provider: Provider
) -> None:
    heard = await hear(provider, "mode=flaky status=503 retry_after=-900 where=date say: fine")
    assert (heard.error, heard.text) == (None, "fine")


async def test_too_many_requests_for_the_credit_are_waited_for(
    server: ScriptedProvider, provider: Provider
) -> None:
    heard = await hear(provider, "mode=flaky status=402 body=budget retry_after=0.1 say: fine")
    assert (heard.error, heard.text) == (None, "fine")


# Deadlines


#: Of the clock that tests put forward: no machine is so slow that it passes by itself.
LONG = 1000.0


def _patient(server: ScriptedProvider, **changed: Any) -> Provider:
    """A provider whose deadlines pass when the test says so."""
    deadlines = {"first_token_timeout": LONG, "token_timeout": LONG, "total_timeout": 100 * LONG}
    return _provider(server, **{**deadlines, **changed})


async def outlast(clock: Clock, hearing: asyncio.Task[Heard]) -> Heard:
    """Let a deadline pass in two steps, between which an answer that comes could prolong it."""
    clock.put_forward(0.6 * LONG)
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not hearing.done()
    clock.put_forward(0.6 * LONG)
    return await hearing


@pytest.mark.parametrize(
    "prompt",
    ["mode=hang", "mode=stall", "mode=keepalives", "mode=roles", "mode=ok first=3000"],
)
async def test_without_a_first_token_it_is_a_timeout_whatever_else_comes(
    server: ScriptedProvider, prompt: str
) -> None:
    provider, clock = _patient(server, token_timeout=100 * LONG), Clock()
    hearing = asyncio.create_task(hear(provider, prompt))
    await until(lambda: len(server.requests) == 1)
    heard = await outlast(clock, hearing)
    assert type(heard.error) is ProviderTimeout
    assert heard.chunks == []
    assert len(server.requests) == 1
    await until(lambda: server.requests[0].disconnected)
    await provider.aclose()


async def test_usage_is_no_token(server: ScriptedProvider) -> None:
    provider, clock, heard = _patient(server, token_timeout=100 * LONG), Clock(), Heard()
    hearing = asyncio.create_task(hear(provider, "mode=stall usage=start say: one", heard))
    await until(lambda: bool(server.requests and server.requests[0].sent > 200))
    await outlast(clock, hearing)
    assert type(heard.error) is ProviderTimeout
    assert heard.usages[-1].completion_tokens == 1
    await provider.aclose()


@pytest.mark.parametrize("mode", ["stall", "keepalives", "roles"])
async def test_between_tokens_only_tokens_count(server: ScriptedProvider, mode: str) -> None:
    provider, clock, heard = _patient(server), Clock(), Heard()
    prompt = f"mode={mode} after=2 say: one two three"
    hearing = asyncio.create_task(hear(provider, prompt, heard))
    await until(lambda: heard.text == "one two ")
    await outlast(clock, hearing)
    assert type(heard.error) is ProviderTimeout
    assert heard.text == "one two "
    await until(lambda: server.requests[0].disconnected)
    await provider.aclose()


async def step_by_step(clock: Clock, hearing: asyncio.Task[Heard], heard: Heard) -> None:
    """Hear an answer whose tokens are 0.4 of a deadline apart."""
    while not hearing.done():
        known = len(heard.chunks)
        clock.put_forward(0.4 * LONG)
        await until(lambda known=known: hearing.done() or len(heard.chunks) > known)  # type: ignore[misc]


async def test_reasoning_counts_as_tokens(server: ScriptedProvider) -> None:
    provider, clock, heard = _patient(server), Clock(), Heard()
    prompt = f"mode=reasoning delay={0.4 * LONG} say: a b c d e f"
    hearing = asyncio.create_task(hear(provider, prompt, heard))
    await until(lambda: bool(server.requests and server.requests[0].sent > 200))
    await step_by_step(clock, hearing, heard)
    assert (heard.error, heard.text) == (None, "a b c d e f")
    await provider.aclose()


async def test_the_total_deadline_ends_a_steady_answer(server: ScriptedProvider) -> None:
    provider, clock, heard = _patient(server, total_timeout=5 * LONG), Clock(), Heard()
    prompt = f"mode=slow tokens=1000 delay={0.4 * LONG}"
    hearing = asyncio.create_task(hear(provider, prompt, heard))
    await until(lambda: heard.text == "w0 ")
    await step_by_step(clock, hearing, heard)
    assert type(heard.error) is ProviderTimeout
    assert heard.text.startswith("w0 w1 ")
    await provider.aclose()


async def test_repetitions_do_not_prolong_the_first_token_deadline(
    server: ScriptedProvider,
) -> None:
    provider, clock = _patient(server, attempts=1000, backoff_seconds=0.05), Clock()
    hearing = asyncio.create_task(hear(provider, "mode=status status=503"))
    while not hearing.done():
        clock.put_forward(LONG / 200)
        await asyncio.sleep(0.005)
    heard = await hearing
    assert isinstance(heard.error, ProviderUnavailable | ProviderTimeout)
    assert 1 < len(server.requests) < 100
    await provider.aclose()


async def test_time_that_the_reader_takes_is_not_the_provider_s(server: ScriptedProvider) -> None:
    provider, clock = _patient(server), Clock()
    text = ""
    async for chunk in provider.stream(asked(user_says("say: one two three"))):
        if isinstance(chunk, Delta):
            text += chunk.text
            clock.put_forward(1.5 * LONG)
            await asyncio.sleep(0)
    assert text == "one two three"
    await provider.aclose()


@asynccontextmanager
async def serving(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A TCP server; its address. At the end all its connections are closed."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with suppress(ConnectionError):
            await handle(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    listening = await asyncio.start_server(accept, "127.0.0.1")
    yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    listening.close()
    if tasks:
        await asyncio.wait(tasks)


async def test_a_handshake_that_hangs_is_a_timeout_and_tried_again() -> None:
    tries = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        await reader.read()

    async with serving(say_nothing) as address:
        provider = Provider(
            api_key=KEY,
            base_url=f"https://{address}",
            connect_timeout=LONG,
            first_token_timeout=100 * LONG,
            total_timeout=100 * LONG,
            backoff_seconds=0.01,
        )
        clock = Clock()
        hearing = asyncio.create_task(hear(provider, "hello"))
        for number in (1, 2, 3):
            await until(lambda number=number: tries == number)  # type: ignore[misc]
            clock.put_forward(LONG + 1)
        assert type((await hearing).error) is ProviderTimeout
        assert tries == 3
        await provider.aclose()


async def test_an_error_whose_body_never_ends_is_told_by_its_status(
    server: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "GRACE_SECONDS", 0.1)

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\n{")
        await reader.read()

    async with serving(stall) as address:
        provider = _provider(server, base_url=f"http://{address}")
        assert type((await hear(provider, "hello")).error) is ProviderRejected
        await provider.aclose()


# Stopping


async def test_closing_the_generator_closes_the_connection(
    server: ScriptedProvider, provider: Provider
) -> None:
    question = user_says("mode=slow tokens=100000 delay=0.01")
    async with aclosing(provider.stream(asked(question))) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Delta):
                break
    await until(lambda: server.requests[0].disconnected)
    assert (await hear(provider, "say: next")).text == "next"


@pytest.mark.parametrize(
    "prompt",
    [
        "mode=hang",
        "mode=stall",
        "mode=stall after=2",
        "mode=slow tokens=100000 delay=0.01",
        "mode=status status=503 retry_after=19",
    ],
)
async def test_cancelling_the_reader_stops_at_once_at_any_point(
    server: ScriptedProvider, prompt: str
) -> None:
    provider = _provider(server, first_token_timeout=60)
    reading = asyncio.create_task(hear(provider, prompt))
    await until(lambda: len(server.requests) == 1)
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    request = server.requests[0]
    await until(lambda: request.disconnected or request.ended)
    assert len(server.requests) == 1
    await provider.aclose()


async def test_stopped_answers_leave_room_for_others(server: ScriptedProvider) -> None:
    provider = _provider(server, max_connections=2)
    for _ in range(10):
        reading = asyncio.create_task(hear(provider, "mode=stall after=1"))
        await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.wait({reading})
    assert (await hear(provider, "say: room")).text == "room"
    await provider.aclose()


# Bounds


class Counting(httpx.AsyncByteStream):
    """A body that repeats a piece without end, and knows how often it was read."""

    def __init__(self, piece: bytes) -> None:
        self.piece, self.bytes_read = piece, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.bytes_read += len(self.piece)
            yield self.piece


@pytest.mark.parametrize("piece", [b"x", b"data: x\n", b": comment\n\n", b"\n", b"\r"])
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_what_has_no_end_is_read_up_to_the_bound(piece: bytes, kind: str) -> None:
    body = Counting(piece * (4096 // len(piece)))
    response = httpx.Response(200, headers={"Content-Type": kind}, stream=body)
    with pytest.raises(ProviderUnavailable):
        async for documents in provider_module._documents(response):
            assert not documents
    assert body.bytes_read <= MAX_DOCUMENT_BYTES + 4096


async def test_an_error_s_body_is_read_up_to_the_bound() -> None:
    body = Counting(b"x" * 4096)
    deadline = asyncio.get_running_loop().time() + 5
    error = await provider_module._refusal(httpx.Response(500, stream=body), deadline)
    assert type(error.as_error()) is ProviderUnavailable
    assert body.bytes_read <= provider_module.MAX_ERROR_BYTES


@pytest.mark.parametrize("mode", ["endless", "endless_event"])
async def test_a_line_or_event_without_end_is_left(
    server: ScriptedProvider, provider: Provider, mode: str
) -> None:
    await hear(provider, f"mode={mode} after=1 size={2**27}")
    await until(lambda: server.requests[0].disconnected)
    assert server.requests[0].sent < 2**25  # what buffers of the system hold


async def test_many_small_events_are_not_bounded_as_one(provider: Provider) -> None:
    prompt = "mode=ok tokens=20000"  # 2.5 MB of events
    assert (await hear(provider, prompt)).text == expected_text(prompt)


async def test_an_answer_without_end_is_cut_and_says_so(
    server: ScriptedProvider, provider: Provider
) -> None:
    heard = await hear(provider, "mode=flood")
    assert len(heard.text) == MAX_ANSWER_CHARS
    assert heard.chunks[-1] == Finish("length")
    await until(lambda: server.requests[0].disconnected)


# What must not be told


@pytest.mark.parametrize(
    "prompt",
    [
        "mode=status status=403 body=echo canary-prompt",
        "mode=status status=500 body=echo canary-prompt",
        "mode=error_event canary-prompt",
        "mode=error_event after=1 canary-prompt",
        "mode=close canary-prompt",
        "mode=rst after=1 canary-prompt",
        "mode=no_http canary-prompt",
        "mode=junk canary-prompt",
        "mode=hang canary-prompt",
    ],
)
async def test_neither_errors_nor_logs_hold_prompt_key_or_address(
    server: ScriptedProvider, prompt: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # as the settings do
    provider = _provider(server, first_token_timeout=0.5)
    heard = await hear(provider, prompt)
    await provider.aclose()
    assert isinstance(heard.error, AgentError)
    told = "".join(traceback.format_exception(heard.error)) + caplog.text + repr(heard.error)
    contexts = []
    context = heard.error.__cause__ or heard.error.__context__
    while context and context not in contexts:
        contexts.append(context)
        context = context.__cause__ or context.__context__
    told += "".join(map(repr, contexts))
    for secret in ("canary", str(server.port), "Upstream said", "Flagged"):
        assert secret not in told


async def test_a_text_that_the_key_is_part_of_is_the_model_s_own_answer(provider: Provider) -> None:
    heard = await hear(provider, "mode=echo_key")
    assert heard.text == f"Bearer {KEY}"
