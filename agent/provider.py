"""The model's provider: chat completions over HTTP, as a stream of chunks.

The only user of httpx; what a server says is decoded in `completions`. It knows neither Django nor
sessions, and nothing of the provider's words, of its address or of the key reaches an error or a
log line.

Deadlines count tokens, not bytes: keepalive comments, empty deltas and usage do not prolong them,
reasoning does. Requests are repeated until there is a token, never after it.

httpx sits on aiohttp's transport: 36 µs of CPU per token, 83 with its own (50 streams, one token in
20 ms); sleeping between reads, to decode several tokens at once, saves nothing more. Errors of that
transport say little (a reset comes as `ConnectTimeout`, a broken header as aiohttp's own).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

import aiohttp
import httpx
import stamina
from httpx_aiohttp import HttpxAiohttpClient
from httpx_sse import EventSource

from . import metrics
from .completions import (
    Chunk,
    Decoder,
    Delta,
    Finish,
    Reasoning,
    Source,
    Usage,
    error_of_response,
    request_body,
    request_headers,
)
from .errors import AgentError, ProviderTimeout, ProviderUnavailable

__all__ = ["Chunk", "Delta", "Finish", "Provider", "Reasoning", "Source", "Usage"]

log = logging.getLogger(__name__)

MAX_EVENT_BYTES = 2**20  # also of a whole answer that is no stream
MAX_ERROR_BYTES = 2**16
GRACE_SECONDS = 5.0  # for the usage of a complete answer, and for the body of an error
END_SECONDS = 0.1  # for the end of a response after [DONE]
IDLE_SECONDS = 60.0  # of a connection

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_EVENTS = "text/event-stream; charset=utf-8"  # whatever the server says: the standard has no other


@dataclass(kw_only=True, eq=False, repr=False)
class Provider:
    """A provider of chat completions. One per event loop; it keeps connections open.

    Raises:
        ValueError: the key or the address is none.
    """

    api_key: str  # sent as a bearer token; empty: none is sent
    base_url: str  # what comes before /chat/completions
    model: str
    fallback_models: Sequence[str] = ()  # tried by OpenRouter in this order; three at most
    temperature: float = 0.7
    max_tokens: int = 1500
    connect_timeout: float = 10.0  # seconds for a connection, with name lookup and handshake
    first_token_timeout: float = 60.0  # seconds from the question on, with all repetitions
    token_timeout: float = 30.0  # seconds between two tokens
    total_timeout: float = 600.0  # seconds for everything
    max_connections: int = 200  # further requests wait for one
    title: str = ""  # who asks, shown by OpenRouter
    referer: str = ""  # its address
    attempts: int = 3  # requests for one answer at most
    backoff_seconds: float = 0.5  # before the second one, doubled for each further one; with jitter
    max_retry_after: float = 20.0  # seconds; who asks for a longer wait is not waited for

    def __post_init__(self) -> None:
        try:
            self._url = httpx.URL(f"{self.base_url.rstrip('/')}/chat/completions")
        except httpx.InvalidURL:
            raise ValueError("The provider's address is none.") from None
        self._headers = request_headers(self.api_key, self.title, self.referer)
        # The operator's proxy (HTTPS_PROXY) counts, but a model on this machine is not behind it.
        self._trust_env = self._url.host not in _LOOPBACK
        # Reading the certificates (SSL_CERT_FILE counts) takes 20 ms: here, not in the event loop.
        self._tls = httpx.create_ssl_context()
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def stream(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[Chunk, None]:
        """Ask the model.

        Closing the generator, or cancelling who reads it, closes the HTTP stream at once.

        Args:
            messages: `role` and `content` of each, oldest first.

        Yields:
            `Delta`s, and `Reasoning`s, some of them empty; `Source`s; `Usage`s, each replacing the
                one before: with the model's name before the first delta, with numbers when they
                come; at last one `Finish`.

        Raises:
            ProviderTimeout: a deadline passed.
            ProviderRateLimited, ProviderUnavailable: after the repetitions, or in mid-answer; an
                answer that ends without a reason is cut. `retry_after` is the provider's.
            ProviderRejected: it will not answer this.
            ContextTooLong: the messages do not fit the model.
        """
        now = asyncio.get_running_loop().time()
        total = now + self.total_timeout
        first = min(now + self.first_token_timeout, total)
        names = (self.model, *self.fallback_models)
        content = request_body(messages, names, self.temperature, self.max_tokens)
        chunk, answer = await self._begun(content, first, total)
        async with aclosing(answer):
            while chunk is not None:
                yield chunk
                chunk = await anext(answer, None)

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client and self._loop is asyncio.get_running_loop():
            await client.aclose()

    # requests

    async def _begun(
        self, content: bytes, first: float, total: float
    ) -> tuple[Chunk | None, AsyncGenerator[Chunk, None]]:
        """The first chunk of an answer, and the rest; asks again as long as that makes sense."""
        async for attempt in stamina.retry_context(
            on=lambda error: self._wait_before_retry(error, first),
            attempts=self.attempts,
            timeout=None,
            wait_initial=self.backoff_seconds,
            wait_max=self.max_retry_after,
            wait_jitter=self.backoff_seconds,
        ):
            with attempt:
                if attempt.num > 1:
                    metrics.provider_retries.inc()
                answer = self._answer(content, first, total)
                return await anext(answer), answer
        raise AssertionError("the last attempt returns or raises")

    def _wait_before_retry(self, error: Exception, first: float) -> bool | float:
        """Whether to ask again, or after how many seconds. The wait counts for the deadline."""
        if not isinstance(error, AgentError) or not error.retryable:
            return False
        left = first - asyncio.get_running_loop().time()
        if error.retry_after is None:
            return left > 0
        wait = error.retry_after + random.uniform(0, self.backoff_seconds)  # noqa: S311
        return wait if error.retry_after <= self.max_retry_after and wait < left else False

    async def _answer(
        self, content: bytes, first: float, total: float
    ) -> AsyncGenerator[Chunk, None]:
        """One request. Its first chunk comes with, or is, its first token."""
        loop = asyncio.get_running_loop()
        decoder = Decoder()
        deadline = first
        response = await self._respond(content, deadline)
        async with aclosing(response), aclosing(_documents(response)) as documents:
            while (document := await _read(documents, deadline, decoder)) is not None:
                alive = False
                for chunk in decoder.feed(document):
                    alive = alive or isinstance(chunk, Delta | Reasoning)
                    yield chunk
                if decoder.full:
                    break
                if decoder.finish_reason:
                    deadline = min(deadline, loop.time() + GRACE_SECONDS)
                elif alive:  # from here on: what the reader did with it does not count
                    deadline = min(loop.time() + self.token_timeout, total)
            for chunk in decoder.end():
                yield chunk

    async def _respond(self, content: bytes, deadline: float) -> httpx.Response:
        """Send a request; the response's headers say that it succeeded."""
        client = self._client_of_this_loop()
        request = client.build_request("POST", self._url, content=content, headers=self._headers)
        try:
            async with asyncio.timeout_at(deadline):
                response = await client.send(request, stream=True)
        except _FOREIGN as foreign:
            log.info("provider not reached: %s", type(foreign).__name__)
            error = _translated(foreign)
        else:
            if response.status_code == 200:
                return response
            log.info("provider answered with status %d", response.status_code)
            error = await _refusal(response, deadline)
        raise error  # out here, so that it carries no context: a traceback would show the address

    def _client_of_this_loop(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop = loop
            connect = self.connect_timeout
            limits = httpx.Limits(
                max_connections=self.max_connections, keepalive_expiry=IDLE_SECONDS
            )
            self._client = HttpxAiohttpClient(
                verify=self._tls,
                trust_env=self._trust_env,
                follow_redirects=False,  # they would take the key elsewhere
                timeout=httpx.Timeout(None, connect=connect, pool=connect),
                limits=limits,
            )
        return self._client


#: What httpx, its transport and the sockets raise.
_FOREIGN = (httpx.HTTPError, aiohttp.ClientError, OSError, ValueError)


def _translated(error: Exception) -> AgentError:
    if isinstance(error, AgentError):
        return error
    timed_out = isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError)
    return ProviderTimeout() if timed_out else ProviderUnavailable()


async def _refusal(response: httpx.Response, deadline: float) -> AgentError:
    """The error that a response with another status than 200 means."""
    deadline = min(deadline, asyncio.get_running_loop().time() + GRACE_SECONDS)
    body = bytearray()
    with suppress(*_FOREIGN):  # the status says enough
        async with aclosing(response), asyncio.timeout_at(deadline):
            async for data in response.aiter_raw():
                body += data[:MAX_ERROR_BYTES]
                if len(body) >= MAX_ERROR_BYTES:
                    break
    return error_of_response(response.status_code, response.headers, bytes(body))


async def _read(
    documents: AsyncGenerator[str | bytes, None], deadline: float, decoder: Decoder
) -> str | bytes | None:
    """The next document, or None at the end. A complete answer is not spoilt by what follows."""
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(documents, None)
    except (*_FOREIGN, AgentError) as broken:
        log.info("provider's answer broke off: %s", type(broken).__name__)
        error = _translated(broken)
    if decoder.finish_reason:
        return None
    raise error


async def _documents(response: httpx.Response) -> AsyncGenerator[str | bytes, None]:
    """The JSON documents of a response: its events, or one of a server that cannot stream."""
    kind = response.headers.get("content-type", "")
    packed = response.headers.get("content-encoding", "identity") != "identity"
    if "text/event-stream" in kind and not packed:
        bounded = _Bounded(response)
        source = EventSource(httpx.Response(200, headers={"Content-Type": _EVENTS}, stream=bounded))
        async with aclosing(source.aiter_sse()) as events:
            async for event in events:
                bounded.room = MAX_EVENT_BYTES
                if event.data == "[DONE]":
                    break
                if event.data:
                    yield event.data
            # The end of the response is read too, so that its connection can be used again.
            with suppress(*_FOREIGN, AgentError):
                async with asyncio.timeout(END_SECONDS):
                    await anext(events, None)
    elif "json" in kind and not packed:
        yield b"".join([data async for data in _Bounded(response)])
    else:
        raise ProviderUnavailable


class _Bounded(httpx.AsyncByteStream):
    """A response's bytes, as long as there is room: decoders keep what has no end in memory.

    Its reader sets `room` anew for each event. What one read has brought, some KiB, may go over.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.room = MAX_EVENT_BYTES

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._response.aiter_raw():
            self.room -= len(data)
            if self.room < 0:
                raise ProviderUnavailable
            yield data
