"""A little OpenRouter-like HTTP server whose behaviour is written in the prompt.

It answers `POST .../chat/completions` with server-sent events, at any path prefix, and does what
the last user message says. A script is `mode=NAME`, more words `key=value`, then, optionally,
`say:` and the text to answer:

    say: hello world                       answers "hello world"
    mode=slow tokens=200 delay=0.02        200 words, 20 ms apart
    mode=flaky times=2 status=429 retry_after=1 say: here you are
    anything else                          an echo: see `expected_text`

Keys for every answer:

    mode=NAME           see below; absent, with `say:` alone: `ok`
    tokens=N            answer "w0 w1 ... " with N words (default: one token per word of the text)
    delay=SECONDS       before each token after the first
    first=SECONDS       before the first token
    finish=REASON       `stop`, `length`, `content_filter`, ... ; `none` sends no finish_reason
    usage=KIND          `empty` (a chunk with no choice; the default), `choice` (with one choice),
                        `none`, `start` (in the first chunk)
    cost=NUMBER         in the usage; absent: none
    model=NAME          the model named in each chunk; absent: the one asked for
    bytes=N             write N bytes at a time
    done=0              no `[DONE]`
    type=TEXT           the content type

Modes that answer (`say:`, `tokens` and the keys above work with all of them):

    ok slow             the answer; `slow` only says that a delay is meant
    plain               one JSON document, as from a server that ignores `stream`
    reasoning           as many reasoning deltas as tokens, then the answer
    comments            a keepalive comment before each token
    nul surrogate pair  tokens with a NUL, a lone surrogate, a pair cut in two by the token's end
    u2028               the line and paragraph separators, and NEL, within tokens
    echo_key            answers with the Authorization header that it got
    flaky               the first `times` requests with this prompt (1) get `status` (503), with
                        `retry_after` as below, then the answer; `how=sse`: as an event of a 200

Modes that do not end well (after `after` tokens, default 0, where that makes sense):

    hang                no response at all
    stall               headers and `after` tokens, then silence
    keepalives          headers and `after` tokens, then only comments, every `delay` s (0.02)
    roles               the same with empty deltas
    status              HTTP `status` (500); body by `body`: `error` (default), `echo` (a moderation
                        error that repeats the prompt and the key), `context` (too long, by code),
                        `phrase` (too long, by its words), `quota`, `text`, `html`, `huge`, `budget`
    retry_after=V       with `status` and `flaky`: `V` in the header Retry-After; by `where`:
                        `header`, `date` (V seconds from now, as a date), `ms`, `body` (metadata),
                        `nested` (metadata.headers), `reset` (epoch ms, metadata.headers)
    error_json          200, application/json, `{"error": ...}` with `code` (502)
    error_event         an error event with `code` (502) after `after` tokens, then [DONE]
    error_finish        finish_reason "error" after `after` tokens
    cut                 the response ends after `after` tokens, without finish_reason
    truncated           the connection closes in the middle of the chunked body
    rst                 the connection is reset after `after` tokens
    empty               only chunks with no choices, then [DONE]
    junk                an event that is not JSON after `after` tokens
    array               an event that is JSON, but no object
    nested              an event of 100,000 opening brackets
    endless             a line without an end, up to `size` bytes (64 MiB)
    endless_event       data lines without the empty line, up to `size` bytes
    flood               tokens without pause and without end, up to `size` bytes
    linger              the whole answer, but neither usage nor [DONE], and the connection stays
    gzip                the answer, said to be packed
    redirect            307 to `/elsewhere/chat/completions`
    no_http             bytes that are no HTTP
    close               closes without a word

`GET /requests` lists what was asked, `POST /reset` forgets it. Each request has `number`, `prompt`,
`path`, `headers`, `body`, `at` (monotonic seconds), `sent` (bytes of response),
`ended` (the response was written to its end) and `disconnected` (the client left before that),
`connection` (its number: the same when it was kept alive).

In a test, on the test's own loop:

    async with ScriptedProvider() as server:
        server.base_url, server.requests

for several processes, `with scripted_process() as server`, or by hand (one JSON line is printed):

    python -m tests.support.scripted_provider --port 0 --default "mode=slow tokens=200 delay=0.02"
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import email.utils
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.support import ROOT

_WORD = re.compile(r"(\w+)=(\S+)\s*")
_TOKENS = re.compile(r"\s*\S+\s*|\s+")
_FOREVER = 3600.0


class Script:
    """What a prompt asks for."""

    def __init__(self, prompt: str) -> None:
        self.prompt = prompt
        self.keys: dict[str, str] = {}
        rest = prompt
        while (match := _WORD.match(rest)) and prompt.startswith("mode="):
            self.keys[match[1]] = match[2]
            rest = rest[match.end() :]
        self.mode = self.keys.get("mode", "ok")
        self.scripted = prompt.startswith(("mode=", "say:"))
        if self.scripted and rest.startswith("say:"):
            self.text = rest[4:].removeprefix(" ")
        elif self.scripted:
            self.text = "".join(f"w{n} " for n in range(self.whole("tokens", 3)))
        else:
            self.text = f"You asked ({len(prompt)} characters): {prompt}"

    def get(self, key: str, default: str = "") -> str:
        return self.keys.get(key, default)

    def whole(self, key: str, default: int) -> int:
        return int(self.keys.get(key, default))

    def seconds(self, key: str, default: float = 0.0) -> float:
        return float(self.keys.get(key, default))

    def tokens(self) -> list[str]:
        """The answer in the pieces that are sent, each a JSON string's worth of text."""
        match self.mode:
            case "nul":
                return ["a\0", "b"]
            case "surrogate":
                return ["a\ud800", "b\udc00c"]
            case "pair":
                return ["a\ud83d", "\ude00b"]
            case "u2028":
                return ["a\u2028b", "c\u2029d", "e\x85f"]
            case _:
                return _TOKENS.findall(self.text)


def newest_question(content: str) -> str:
    """The question of a message that may begin with earlier ones, which got no answer.

    They are joined by blank lines, and a script of a test is the beginning of a paragraph.
    """
    return re.split(r"\n\n(?=mode=|say:)", content)[-1]


def expected_text(prompt: str) -> str:
    """The whole text that a client should have received for a prompt, also when it ends badly."""
    script = Script(prompt)
    match script.mode:
        case "nul":
            return "a\ufffdb"
        case "surrogate":
            return "a\ufffdb\ufffdc"
        case "pair":
            return "a\U0001f600b"
        case "hang" | "status" | "error_json" | "redirect" | "no_http" | "close" | "gzip":
            return ""
        case _ if "type" in script.keys and "event-stream" not in script.get("type"):
            return ""
        case _ if script.mode in _PARTIAL:
            return "".join(script.tokens()[: script.whole("after", 0)])
        case _:
            return "".join(script.tokens())


_PARTIAL = {
    "stall",
    "keepalives",
    "roles",
    "error_event",
    "error_finish",
    "cut",
    "truncated",
    "rst",
    "empty",
    "junk",
    "array",
    "nested",
    "endless",
    "endless_event",
}


@dataclass
class Request:
    """A request that the server got, and how its response went."""

    number: int
    connection: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    prompt: str
    at: float = field(default_factory=time.monotonic)
    sent: int = 0
    ended: bool = False
    disconnected: bool = False


class ScriptedProvider:
    """The server.

    Args:
        host, port: where it listens; port 0 takes a free one.
        default: the script for prompts that hold none; absent: an echo.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, default: str = "") -> None:
        self.host, self.port, self.default = host, port, default
        self.requests: list[Request] = []
        self.connections = 0
        self._seen: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/api/v1"

    async def __aenter__(self) -> ScriptedProvider:
        self._server = await asyncio.start_server(
            self._connected, self.host, self.port, backlog=4096, limit=2**24
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def reset(self) -> None:
        """Forget the requests so far."""
        self.requests.clear()
        self._seen.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._serve(reader, writer, self.connections)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client, or the test, has gone
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        early = b""
        while not writer.is_closing():
            data = early + await reader.readuntil(b"\r\n\r\n")
            head = data.decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            if path.endswith("/chat/completions"):
                request = self._record(connection, path, headers, json.loads(body))
                early = await self._respond(request, reader, writer)
            else:
                writer.write(self._about(method, path))

    def _record(
        self, connection: int, path: str, headers: dict[str, str], body: dict[str, Any]
    ) -> Request:
        asked = [m["content"] for m in body["messages"] if m["role"] == "user"]
        prompt = newest_question(asked[-1]) if asked else ""
        request = Request(len(self.requests) + 1, connection, path, headers, body, prompt)
        self.requests.append(request)
        return request

    def _about(self, method: str, path: str) -> bytes:
        if method == "POST" and path == "/reset":
            self.reset()
        body: Any = [asdict(request) for request in self.requests]
        return _document(200 if path in ("/requests", "/reset") else 404, body)

    async def _respond(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        """Answer, and notice a client that leaves before the end.

        Returns:
            the first byte of the next request, if it came while this one was being answered.
        """
        script = Script(request.prompt)
        if self.default and not script.scripted:
            script = Script(self.default)
        self._seen[request.prompt] += 1
        answer = Answer(script, request, writer, self._seen[request.prompt])
        answering = asyncio.create_task(answer.send())
        watching = asyncio.create_task(_next_byte(reader))
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done() and watching.result():
                await asyncio.wait({answering})
            request.ended = answering.done() and not answering.exception()
            request.disconnected = not request.ended
        finally:
            answering.cancel()
            watching.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)
        if not request.ended:
            writer.transport.abort()
        return b"" if watching.cancelled() else watching.result()


async def _next_byte(reader: asyncio.StreamReader) -> bytes:
    """Wait for the client: its next request, or nothing when it has gone."""
    try:
        return await reader.read(1)
    except OSError:
        return b""


class Answer:
    """One response, written as its script says."""

    def __init__(
        self, script: Script, request: Request, writer: asyncio.StreamWriter, nth: int
    ) -> None:
        self.script, self.request, self.writer, self.nth = script, request, writer, nth
        self.model = script.get("model") or request.body.get("model")

    async def send(self) -> None:
        if self.script.mode == "flaky" and self.nth <= self.script.whole("times", 1):
            if self.script.get("how") == "sse":
                await self._events(self._error_event(self.script.whole("status", 503)))
            else:
                await self._status(503)
            return
        special: dict[str, Callable[[], Awaitable[None]]] = {
            "hang": self._hang,
            "status": lambda: self._status(500),
            "error_json": self._error_json,
            "plain": self._plain,
            "redirect": self._redirect,
            "no_http": lambda: self._write(b"\x16\x03\x01 what?\r\n\r\n"),
            "close": self._close,
        }
        await special.get(self.script.mode, lambda: self._events(self._answer()))()

    # what is not an event stream

    async def _hang(self) -> None:
        await asyncio.sleep(_FOREVER)

    async def _close(self) -> None:
        self.writer.close()

    async def _redirect(self) -> None:
        await self._write(_document(307, {}, Location="/elsewhere/chat/completions"))

    async def _error_json(self) -> None:
        code = _code(self.script.get("code", "502"))
        await self._write(_document(200, {"error": {"code": code, "message": "upstream"}}))

    async def _plain(self) -> None:
        message = {"role": "assistant", "content": self.script.text}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": self.script.get("finish", "stop"),
        }
        await self._write(
            _document(200, {"model": self.model, "choices": [choice], "usage": self._usage()})
        )

    async def _status(self, default: int) -> None:
        status = self.script.whole("status", default)
        headers: dict[str, str] = {}
        error = self._error(status)
        if wait := self.script.get("retry_after"):
            metadata = error.setdefault("metadata", {})
            match self.script.get("where", "header"):
                case "date":
                    date = email.utils.formatdate(time.time() + float(wait), usegmt=True)
                    headers["Retry-After"] = date
                case "ms":
                    headers["retry-after-ms"] = wait
                case "body":
                    metadata["retry_after_seconds"] = float(wait)
                case "nested":
                    metadata["headers"] = {"Retry-After": wait}
                case "reset":
                    reset = str(int((time.time() + float(wait)) * 1000))
                    metadata["headers"] = {"X-RateLimit-Reset": reset}
                case _:
                    headers["Retry-After"] = wait
        match self.script.get("body", "error"):
            case "text":
                await self._write(_document(status, "upstream fell over", **headers))
            case "html":
                page = "<html><h1>Bad gateway</h1></html>"
                await self._write(_document(status, page, content_type="text/html", **headers))
            case "huge":
                error["message"] = "x" * self.script.whole("size", 2**26)
                await self._write(_document(status, {"error": error}, **headers))
            case _:
                await self._write(_document(status, {"error": error}, **headers))

    def _error(self, status: int) -> dict[str, Any]:
        match self.script.get("body", "error"):
            case "echo":
                key = self.request.headers.get("authorization", "")
                return {
                    "code": status,
                    "message": f"Flagged: {self.request.prompt}",
                    "metadata": {
                        "reasons": ["violence"],
                        "flagged_input": f"{key} maximum context",
                    },
                }
            case "context":
                return {"code": "context_length_exceeded", "message": "No.", "type": "invalid"}
            case "phrase":
                words = "This endpoint's maximum context length is 8192 tokens. However, ..."
                return {"code": status, "message": words}
            case "quota":
                return {"code": "insufficient_quota", "message": "You exceeded your quota."}
            case "budget":
                return {
                    "code": status,
                    "message": "In flight",
                    "metadata": {"limit_source": "openrouter_in_flight_budget"},
                }
            case _:
                return {"code": status, "message": "Provider returned error"}

    # event streams

    async def _events(self, parts: AsyncIterator[bytes]) -> None:
        content_type = self.script.get("type", "text/event-stream")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n"
        if self.script.mode == "gzip":
            head += "Content-Encoding: gzip\r\n"
        await self._write(f"{head}\r\n".encode())
        size = self.script.whole("bytes", 0)
        async for part in parts:
            for start in range(0, len(part), size or len(part)):
                piece = part[start : start + (size or len(part))]
                await self._write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if size:
                    await asyncio.sleep(0)
        if self.script.mode == "truncated":
            self.writer.write(b"ff\r\ndata: ")
            self.writer.close()
        elif self.script.mode == "rst":
            self._reset()
        else:
            await self._write(b"0\r\n\r\n")

    async def _write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        self.request.sent += len(data)

    def _reset(self) -> None:
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    async def _answer(self) -> AsyncIterator[bytes]:
        script = self.script
        usage = script.get("usage", "empty")
        first: dict[str, Any] = {"usage": self._usage()} if usage == "start" else {}
        yield self._chunk({"role": "assistant", "content": ""}, **first)
        tokens = script.tokens()
        if script.mode == "echo_key":
            tokens = [self.request.headers.get("authorization", "")]
        if script.mode in _PARTIAL:
            tokens = tokens[: script.whole("after", 0)]
        if script.mode == "reasoning":
            for token in tokens:
                await asyncio.sleep(script.seconds("delay"))
                yield self._chunk({"reasoning": token, "content": ""})
        delay = script.seconds("delay")
        for number, token in enumerate(tokens):
            if pause := delay if number else script.seconds("first"):
                await asyncio.sleep(pause)
            if script.mode == "comments":
                yield b": OPENROUTER PROCESSING\n\n"
            yield self._chunk({"content": token})
        async for part in self._ending():
            yield part

    async def _ending(self) -> AsyncIterator[bytes]:
        script = self.script
        size = script.whole("size", 2**26)
        match script.mode:
            case "stall":
                await asyncio.sleep(_FOREVER)
            case "keepalives" | "roles":
                empty = self._chunk({"role": "assistant", "content": ""})
                while True:
                    yield b": OPENROUTER PROCESSING\n\n" if script.mode == "keepalives" else empty
                    await asyncio.sleep(script.seconds("delay", 0.02))
            case "error_event":
                async for part in self._error_event(_code(script.get("code", "502"))):
                    yield part
            case "error_finish":
                yield self._chunk({"content": ""}, finish="error")
                yield b"data: [DONE]\n\n"
            case "cut" | "truncated" | "rst":
                pass
            case "empty":
                yield _event({"model": self.model, "choices": []})
                yield b"data: [DONE]\n\n"
            case "junk":
                yield b"data: {not json\n\n"
            case "array":
                yield b"data: [1, 2]\n\n"
            case "nested":
                yield b"data: " + b"[" * 100_000 + b"\n\n"
            case "endless":
                yield b"data: "
                for _ in range(size // 65536):
                    yield b"x" * 65536
            case "endless_event":
                for _ in range(size // 65536):
                    yield b"data: x\n" * 8192
            case "flood":
                many = self._chunk({"content": "flood " * 100}) * 100
                for _ in range(size // len(many)):
                    yield many
            case "linger":
                yield self._chunk({"content": ""}, finish="stop")
                await asyncio.sleep(_FOREVER)
            case _:
                async for part in self._good_end():
                    yield part

    async def _good_end(self) -> AsyncIterator[bytes]:
        finish = self.script.get("finish", "stop")
        if finish != "none":
            yield self._chunk({"content": ""}, finish=finish)
        usage = self.script.get("usage", "empty")
        if usage == "choice":
            yield self._chunk({"content": ""}, usage=self._usage())
        elif usage == "empty":
            yield _event({"model": self.model, "choices": [], "usage": self._usage()})
        if self.script.get("done") != "0":
            yield b"data: [DONE]\n\n"

    async def _error_event(self, code: int | str) -> AsyncIterator[bytes]:
        error = {"code": code, "message": f"Upstream said {self.request.prompt}"}
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        yield _event({"model": self.model, "error": error, "choices": [choice]})
        yield b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _event({"id": "gen-1", "model": self.model, "choices": [choice], **more})

    def _usage(self) -> dict[str, Any]:
        words = sum(len(m["content"].split()) for m in self.request.body["messages"])
        usage: dict[str, Any] = {
            "prompt_tokens": words,
            "completion_tokens": len(self.script.tokens()),
        }
        if cost := self.script.get("cost"):
            usage["cost"] = float(cost)
        return usage


def _event(data: dict[str, Any]) -> bytes:
    # Not ASCII only, so that a byte-wise answer splits characters; surrogates need their escapes.
    try:
        return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
    except UnicodeEncodeError:
        return f"data: {json.dumps(data)}\n\n".encode()


def _code(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _document(
    status: int, body: Any, content_type: str = "application/json", **headers: str
) -> bytes:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} Scripted",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(content)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


class ScriptedProcess:
    """A server in another process, as seen from here."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.base_url = f"{url}/api/v1"

    def requests(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/requests", timeout=10) as response:
            answer: list[dict[str, Any]] = json.load(response)
            return answer

    def reset(self) -> None:
        request = urllib.request.Request(f"{self.url}/reset", method="POST")
        urllib.request.urlopen(request, timeout=10).close()


@contextlib.contextmanager
def scripted_process(default: str = "") -> Iterator[ScriptedProcess]:
    """Run the server in a process of its own.

    Args:
        default: the script for prompts that hold none.
    """
    command = [sys.executable, "-m", "tests.support.scripted_provider", "--default", default]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout
    try:
        yield ScriptedProcess(json.loads(process.stdout.readline())["url"])
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


async def _main(arguments: argparse.Namespace) -> None:
    server = ScriptedProvider(arguments.host, arguments.port, arguments.default)
    async with server:
        url = f"http://{server.host}:{server.port}"
        print(json.dumps({"port": server.port, "url": url, "base_url": server.base_url}))
        sys.stdout.flush()
        await asyncio.sleep(_FOREVER * 24 * 365)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A scripted OpenRouter-like server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--default", default="", help="script for prompts that hold none")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args()))
