"""Requests chat completions over HTTP, and yields each answer as a stream of chunks.

The only user of httpx. `request` builds the requests; `event_stream` and `decoder` decode the
responses. It knows neither Django nor sessions. No error and no log line contains the provider's
messages, its address or the key.

Deadlines count tokens, not bytes: reasoning extends them; keepalives, empty deltas and usage do
not. A request is repeated until the first token, never after it, and never after an answer that
cannot be read, because that answer is paid for.

httpx uses aiohttp's transport: 36 µs of CPU per token, 83 with httpx's own (50 streams, one token
in 20 ms); sleeping between reads, to decode several tokens at once, saves nothing more. The errors
of this transport say little: a reset is a `ConnectTimeout`, a broken header is aiohttp's own error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import aiohttp
import httpx
import stamina
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

from agent import metrics
from agent.errors import AgentError, AnswerUnreadable, ProviderTimeout, ProviderUnavailable

from .decoder import Chunk, Decoder, Delta, Finish, Reasoning, Source, Usage
from .errors import ProviderError, parsed, provider_error
from .event_stream import Document, EventStream
from .request import Adaptation, ChatRequest, body_of, endpoint, headers_of, refused_parameter

__all__ = ["Chunk", "Delta", "Finish", "Provider", "Reasoning", "Source", "Usage"]

log = logging.getLogger(__name__)

MAX_ERROR_BYTES = 2**16
MAX_HEADER_BYTES = 2**16  # of one header of a response; aiohttp's own bound is 8190
GRACE_SECONDS = 5.0  # for the usage of a complete answer, and for the body of an error
END_SECONDS = 0.1  # for the end of a response after [DONE]
IDLE_SECONDS = 60.0  # of a connection

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(kw_only=True, eq=False, repr=False)
class Provider:
    """A provider of chat completions, one per event loop. It keeps connections open.

    Raises:
        ValueError: the key or the base URL is invalid.
    """

    api_key: str  # sent as a bearer token; empty: none is sent
    base_url: str  # with or without /chat/completions; its query is kept
    connect_timeout: float = 10.0  # seconds for a connection, with name lookup and handshake
    first_token_timeout: float = 60.0  # seconds from the first request on, with all retries
    token_timeout: float = 30.0  # seconds between two tokens
    total_timeout: float = 600.0  # seconds for the whole answer
    max_connections: int = 200  # further requests wait for one
    title: str = ""  # the name of this site, shown by OpenRouter
    referer: str = ""  # the address of this site
    attempts: int = 3  # requests for one answer at most
    backoff_seconds: float = 0.5  # before the second request, then doubled each time; with jitter
    max_retry_after: float = 20.0  # seconds; after a longer Retry-After there is no retry

    def __post_init__(self) -> None:
        self._endpoint = endpoint(self.base_url)
        try:
            self._url = httpx.URL(self._endpoint.url)
        except httpx.InvalidURL:
            raise ValueError("The provider's base URL is not an http(s) address.") from None
        credentials = self._endpoint.credentials
        self._headers = headers_of(self.api_key, credentials, self.title, self.referer)
        # The operator's proxy (HTTPS_PROXY) is used, except for a model on this machine.
        self._trust_env = self._endpoint.host not in _LOOPBACK
        # Loading the certificates (of SSL_CERT_FILE) takes 20 ms: here, not in the event loop.
        self._tls = httpx.create_ssl_context()
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refused_parameters: dict[str, tuple[Adaptation, ...]] = {}  # by model

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Request an answer from a model, and stream it.

        Closing the generator, or cancelling its reader, closes the HTTP stream at once.

        Args:
            request: the messages, the model and its parameters.

        Yields:
            `Delta`s; `Reasoning`s, some of them empty; `Source`s; `Usage`s, each of which replaces
                the one before: the first has the model's name and comes before the first delta,
                later ones have the counts; at last one `Finish`.

        Raises:
            ProviderTimeout: a deadline passed.
            ProviderRateLimited, ProviderUnavailable: after all retries, or in mid-answer, which
                includes an answer that ends without a reason. `retry_after` is the provider's.
            ProviderRejected: the provider refuses the request.
            ContextTooLong: the messages do not fit the model.
        """
        now = asyncio.get_running_loop().time()
        total = now + self.total_timeout
        first = min(now + self.first_token_timeout, total)
        chunk, answer = await self._first_chunk(request, first, total)
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

    async def _first_chunk(
        self, request: ChatRequest, first: float, total: float
    ) -> tuple[Chunk | None, AsyncGenerator[Chunk, None]]:
        """Return an answer's first chunk and the rest of it; retries before the first token."""
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
                answer = self._answer(request, first, total)
                return await anext(answer), answer
        raise AssertionError("the last attempt returns or raises")

    def _wait_before_retry(self, error: Exception, first: float) -> bool | float:
        """Whether to retry, or after how many seconds; the wait counts towards the deadline."""
        if not isinstance(error, AgentError) or not error.retryable:
            return False
        if isinstance(error, AnswerUnreadable):
            return False
        left = first - asyncio.get_running_loop().time()
        if error.retry_after is None:
            return left > 0
        wait = error.retry_after + random.uniform(0, self.backoff_seconds)  # noqa: S311
        return wait if error.retry_after <= self.max_retry_after and wait < left else False

    async def _answer(
        self, request: ChatRequest, first: float, total: float
    ) -> AsyncGenerator[Chunk, None]:
        """Make one request, and yield its chunks; the first one comes with the first token."""
        loop = asyncio.get_running_loop()
        decoder = Decoder()
        deadline = first
        response = await self._accepted(request, deadline)
        async with aclosing(response), aclosing(_documents(response)) as reads:
            while (documents := await _read(reads, deadline, decoder)) is not None:
                tokens = decoder.tokens
                for document in documents:
                    for chunk in decoder.feed(document):
                        yield chunk
                    if decoder.is_done or decoder.is_full:
                        break
                if decoder.is_full:
                    break
                if decoder.is_done:
                    await _finish_reading(reads)
                    break
                if decoder.is_settled:
                    deadline = min(deadline, loop.time() + GRACE_SECONDS)
                elif decoder.tokens > tokens:  # from now on: the time of our reader does not count
                    deadline = min(loop.time() + self.token_timeout, total)
            for chunk in decoder.end():
                yield chunk

    async def _accepted(self, request: ChatRequest, deadline: float) -> httpx.Response:
        """Send a request without the parameters that its server refuses; returns a 2xx response."""
        model = request.models[0]
        adaptations = self._refused_parameters.get(model, ())
        while True:
            body = body_of(request, self._endpoint.host, adaptations)
            response = await self._sent(json.dumps(body).encode(), deadline)
            if 200 <= response.status_code < 300:
                self._learn(model, adaptations)
                return response
            refusal = await _refusal(response, deadline)
            log.log(
                logging.WARNING if 400 <= response.status_code < 500 else logging.INFO,
                "provider answered with status %d %s",
                response.status_code,
                refusal.identifiers,
            )
            adaptation = refused_parameter(refusal, body, adaptations)
            if adaptation is None:
                raise refusal.as_error()
            adaptations = (*adaptations, adaptation)

    def _learn(self, model: str, adaptations: Sequence[Adaptation]) -> None:
        """Remember the parameters that a model's server refused, and log each of them once."""
        known = self._refused_parameters.get(model, ())
        new = [adaptation for adaptation in adaptations if adaptation not in known]
        lasting = [adaptation for adaptation in new if adaptation.lasts]
        self._refused_parameters[model] = (*known, *lasting)
        for adaptation in lasting:
            log.warning("the provider refuses a parameter: %s", adaptation.parameter)

    async def _sent(self, content: bytes, deadline: float) -> httpx.Response:
        client = self._client_of_this_loop()
        request = client.build_request("POST", self._url, content=content, headers=self._headers)
        try:
            async with asyncio.timeout_at(deadline):
                return await client.send(request, stream=True)
        except _FOREIGN as foreign:
            log.info("provider not reached: %s", _reason(foreign))
            error = _translated(foreign)
        raise error  # outside of the handler: with a context, a traceback would show the address

    def _client_of_this_loop(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop = loop
            connect = self.connect_timeout
            limits = httpx.Limits(
                max_connections=self.max_connections, keepalive_expiry=IDLE_SECONDS
            )
            self._client = _Client(
                verify=self._tls,
                trust_env=self._trust_env,
                follow_redirects=False,  # a redirect would send the key to another host
                timeout=httpx.Timeout(None, connect=connect, pool=connect),
                limits=limits,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            )
        return self._client


class _Transport(AiohttpTransport):
    """aiohttp's transport for long headers, without a cookie jar: callers share connections."""

    def get_client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self.limits.max_connections or 0,
            keepalive_timeout=self.limits.keepalive_expiry,
            ssl=self.ssl_context,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )


class _Client(HttpxAiohttpClient):
    def _init_transport(self, **options: Any) -> _Transport:  # type: ignore[override]
        return _Transport(**options)

    def _init_proxy_transport(  # type: ignore[override]
        self, proxy: httpx.Proxy, **options: Any
    ) -> _Transport:
        return _Transport(proxy=proxy, **options)


#: The errors that httpx, its transport and the sockets raise.
_FOREIGN = (httpx.HTTPError, aiohttp.ClientError, OSError, ValueError)


def _translated(error: Exception) -> AgentError:
    if isinstance(error, AgentError):
        return error
    timed_out = isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError)
    return ProviderTimeout() if timed_out else ProviderUnavailable()


def _reason(error: Exception) -> str:
    """Return why a provider was not reached, without any part of its address or its answer."""
    if isinstance(error, aiohttp.ClientResponseError) and "Got more than" in error.message:
        return f"a header is longer than {MAX_HEADER_BYTES} bytes"
    return type(error).__name__


async def _refusal(response: httpx.Response, deadline: float) -> ProviderError:
    """Read the error of a response whose status is not 2xx."""
    deadline = min(deadline, asyncio.get_running_loop().time() + GRACE_SECONDS)
    body = bytearray()
    with suppress(*_FOREIGN):  # the status says enough
        async with aclosing(response), asyncio.timeout_at(deadline):
            async for data in response.aiter_raw():
                body += data[:MAX_ERROR_BYTES]
                if len(body) >= MAX_ERROR_BYTES:
                    break
    error = parsed(bytes(body))
    if error is None:  # plain text, or JSON in an event
        error = next(iter(_events_of(bytes(body))), body.decode(errors="replace"))
    return provider_error(error, response.status_code, response.headers)


def _events_of(body: bytes) -> list[Any]:
    """Return the JSON documents of a body that is an event stream."""
    stream = EventStream()
    try:
        documents = [*stream.feed(body), *stream.end()]
    except AnswerUnreadable:
        return []
    return [found for each in documents if (found := parsed(each.data)) is not None]


async def _read(
    reads: AsyncGenerator[list[Document], None], deadline: float, decoder: Decoder
) -> list[Document] | None:
    """Read the next documents; None at the end, and on an error after a complete answer."""
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(reads, None)
    except (*_FOREIGN, AgentError) as broken:
        log.info("provider's answer broke off: %s", type(broken).__name__)
        error = _translated(broken)
    if decoder.is_complete:
        return None
    raise error


async def _documents(response: httpx.Response) -> AsyncGenerator[list[Document], None]:
    """Yield the documents of a response, in one list for each read."""
    if response.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise AnswerUnreadable
    stream = EventStream()
    async for data in response.aiter_raw():
        yield stream.feed(data)
    yield stream.end()


async def _finish_reading(reads: AsyncGenerator[list[Document], None]) -> None:
    """Read a response to its end, so that its connection can be used again."""
    with suppress(*_FOREIGN, AgentError):
        async with asyncio.timeout(END_SECONDS):
            async for _ in reads:
                pass
