"""A client of the wire protocol for tests, and the judge of what servers send.

`Transcript` is pure: it is fed with frames, holds what a client would hold, and raises `Violation`
at the first frame that breaks a rule of the protocol. `Client` is the socket around one; each frame
that it receives goes through its transcript. A transcript may outlive its connection and be given
to the next one, as a client that reconnects would do.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

Frame = dict[str, Any]

#: How long a frame may take on a machine that is busy with other things.
DEADLINE_SECONDS = 45.0

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_WITH_TEXT = {"notification", "query", "status", "delta", "reasoning", "response", "error"}
_OTHERS = {"feedback", "history", "ping", "pong"}
_STATUSES = {"received", "queued", "thinking", "restarted", "ready", "done"}
_EPHEMERAL_EVENTS = {"connected", "draining", "degraded"}
_FINISH_REASONS = {"stop", "length", "content_filter", "cancelled", "interrupted"}
_USAGE = {"prompt_tokens", "completion_tokens", "cost", "reasoning_tokens", "cached_tokens"}


class Violation(AssertionError):
    """The server broke a rule of the protocol."""


def is_durable(frame: Frame) -> bool:
    """Whether a frame is one of those that the session numbers."""
    return "seq" in frame and frame["type"] != "status"


def is_terminal(frame: Frame) -> bool:
    """Whether a frame ends a turn."""
    return is_durable(frame) and frame["type"] in ("response", "error")


def final_text(terminal: Frame) -> str:
    """The text of the answer that a turn ended with."""
    text: str = terminal["content" if terminal["type"] == "response" else "partial"]
    return text


@dataclass(slots=True)
class Text:
    """A running answer, or the reasoning before it, as a client assembles it from its pieces."""

    attempt: int = 0
    index: int = -1
    content: str = ""

    def take(self, delta: Frame) -> bool:
        """Take a piece in; returns False at a hole, after which a client sends `resume`."""
        attempt, index = delta["attempt"], delta["index"]
        if attempt < self.attempt:
            return True
        if attempt > self.attempt:
            self.attempt, self.index, self.content = attempt, -1, ""
        if delta.get("snapshot"):
            self.index, self.content = index, delta["content"]
            return True
        if index <= self.index:
            return True
        if delta.get("first", index) != self.index + 1:
            return False
        self.index, self.content = index, self.content + delta["content"]
        return True


@dataclass(slots=True)
class _Turn:
    """What one connection was told of a turn."""

    attempt: int = 0  # of the newest `thinking`
    restarted: int = 0  # attempt of the newest `restarted`
    text: Text = field(default_factory=Text)
    reasoning: Text = field(default_factory=Text)
    asked_here: bool = False  # the connection saw its query live
    ended: bool = False


class Transcript:
    """What a client holds of a session; call `connected`, then `feed` with each frame.

    Args:
        holes: whether deltas may be lost on the way (between processes with a bad channel layer).
            The client then asks for a `resume`; `holes_seen` counts.
        crashes: whether processes may die, so that the text of an attempt is lost with it and the
            end of its turn need not go on from there.

    Attributes:
        session: its id, from the welcome.
        resume_token: from the welcome, of nobody.
        welcome: of the newest connection.
        frames: durable frames by seq, without their `replay`.
        last_seq: the newest of them.
        ends: terminal frames by turn.
    """

    def __init__(self, *, holes: bool = False, crashes: bool = False) -> None:
        self._may_have_holes, self._may_crash = holes, crashes
        self.session = self.resume_token = ""
        self.frames: dict[int, Frame] = {}
        self.ends: dict[str, Frame] = {}
        self.last_seq = 0
        self.holes_seen = 0
        self.welcome: Frame = {}
        self._queries: dict[str, Frame] = {}  # by turn
        self._retries: dict[str, str] = {}  # id of the command to the turn that it names
        self._retried_turns: set[str] = set()
        self._ids: set[str] = set()
        self._repeated_ids: set[str] = set()
        self._resumes: dict[str | None, int] = {}
        self._phase = "closed"
        self._knows_all = True

    # what the client does

    def connected(self, *, stream: bool = True) -> None:
        """A connection begins."""
        self._phase, self._stream, self._closing = "welcome", stream, False
        self._after_closed: Frame | None = None
        self._turns: dict[str, _Turn] = {}
        self._cursor = self._newest = 0
        self._went_back_at: int | None = None  # what a replay follows that has not begun
        self._resumes = {}

    def sent(self, frame: Frame) -> None:
        """The client sent a frame; some of what the server may do depends on it."""
        name = frame.get("id")
        if frame.get("type", "query") in (None, "query") and isinstance(name, str):
            (self._repeated_ids if name in self._ids else self._ids).add(name)
        if frame.get("type") == "command" and isinstance(frame.get("args"), dict | None):
            args = frame.get("args") or {}
            if frame.get("content") == "resume":
                self._resumes[name] = args.get("last_seq") or 0
            elif frame.get("content") == "retry":
                self._retries[name or ""] = args.get("turn", "")

    # what the server does

    def feed(self, frame: Frame) -> bool:
        """Take the next frame of the connection in.

        Returns:
            whether a client would send `resume` now.

        Raises:
            Violation: the frame must not come, or not now, or not like this.
        """
        self._check_shape(frame)
        if self._phase == "welcome":
            self._begin(frame)
            return False
        _require(self._phase != "closed", "a frame after the end", frame)
        if self._closing:
            self._after_closed = frame
        if is_durable(frame):
            self._take_durable(frame)
        match frame["type"]:
            case "delta" | "reasoning":
                return self._take_piece(frame)
            case "status":
                self._take_status(frame)
            case "notification" if frame["event"] == "connected":
                _require(False, "a second welcome", frame)
            case "notification" if frame["event"] == "closed" and not frame.get("replay"):
                self._closing = True
            case "error" if not is_terminal(frame):
                _require("turn" not in frame, "an error of a turn without a seq", frame)
        return False

    def ended(self, reason: str | None) -> None:
        """The connection was closed, by the server if there is a reason.

        `closed` is the last frame, unless the session was opened again at once; then something
        durable follows it, and the connection stays.

        Raises:
            Violation: frames followed a `closed` after which the server did close.
        """
        if reason in ("Session closed", "Session timeout") and self._after_closed:
            _require(False, "a frame after `closed`", self._after_closed)

    def _check_shape(self, frame: Frame) -> None:
        kind = frame.get("type")
        _require(kind in _WITH_TEXT | _OTHERS, "an unknown type", frame)
        if kind in _WITH_TEXT:
            _require(isinstance(frame.get("content"), str), "no content", frame)
            _require(_is_timestamp(frame.get("timestamp")), "no timestamp", frame)
        match kind:
            case "notification":
                ephemeral = frame["event"] in _EPHEMERAL_EVENTS
                rowless = frame["event"] == "closed" and self.last_seq == 0
                _require(("seq" in frame) is not ephemeral or rowless, "durable?", frame)
                _require(frame["level"] in ("info", "success", "warning", "error"), "level", frame)
            case "query":
                _require({"seq", "id", "turn"} <= set(frame), "fields are missing", frame)
            case "status":
                _require(frame["status"] in _STATUSES, "an unknown status", frame)
            case "response":
                _require({"seq", "id", "turn", "model"} - set(frame) <= {"model"}, "fields", frame)
                _require(frame["finish_reason"] in _FINISH_REASONS, "finish_reason", frame)
                _require(set(frame["usage"]) == _USAGE, "usage", frame)
                _require(_is_reasoning(frame.get("reasoning")), "reasoning", frame)
                _require(frame["author"] in ("agent", "staff"), "author", frame)
            case "error":
                _require({"code", "retryable"} <= set(frame), "fields are missing", frame)
                if "seq" in frame:
                    _require({"turn", "partial", "usage"} <= set(frame), "fields", frame)
                    _require(set(frame["usage"]) == _USAGE, "usage", frame)
            case "feedback":
                # without a seq it answers feedback that changed nothing, to its sender alone
                _require({"target", "rating"} <= set(frame), "fields are missing", frame)

    def _begin(self, frame: Frame) -> None:
        if frame["type"] == "error":  # refused: nothing follows
            self._phase = "closed"
            return
        _require(frame.get("event") == "connected", "the first frame is no welcome", frame)
        _require(frame["protocol"] == 1, "protocol", frame)
        same = not self.session or self.session == frame["session"]
        if self.last_seq > frame["last_seq"] or not same:
            self._forget()
        _require(0 <= frame["replay_from"] <= frame["last_seq"], "replay_from", frame)
        self.welcome, self.session = frame, frame["session"]
        self.resume_token = frame.get("resume_token", self.resume_token)
        self._cursor = frame["replay_from"]
        if self._cursor > self.last_seq:
            self._knows_all = False
        self._phase = "replay"

    def _forget(self) -> None:
        self.frames, self.ends, self._queries, self.last_seq = {}, {}, {}, 0

    def _take_durable(self, frame: Frame) -> None:
        seq = frame["seq"]
        _require(seq == self._cursor + 1, f"seq {seq} after {self._cursor}", frame)
        replayed = frame.get("replay", False)
        _require(replayed is (self._phase == "replay"), f"replay: {replayed}", frame)
        self._cursor, self._closing, self._after_closed = seq, False, None
        kept = {name: value for name, value in frame.items() if name != "replay"}
        held = self.frames.setdefault(seq, kept)
        _require(held == kept or frame.get("event") == "expired", f"not as before: {held}", frame)
        self.last_seq = max(self.last_seq, seq)
        if frame["type"] == "query":
            _require(frame["turn"] not in self._turns, "query after its statuses", frame)
            self._queries[frame["turn"]] = frame
            self._turns[frame["turn"]] = _Turn(asked_here=not replayed)
        elif is_terminal(frame):
            self._end(frame, kept)

    def _end(self, frame: Frame, kept: Frame) -> None:
        turn = self._turn(frame)
        _require(not turn.ended, "a second end", frame)
        held = self.ends.setdefault(frame["turn"], kept)
        _require(held == kept, f"another end than {held}", frame)
        turn.ended = True
        if self._may_crash:
            return
        goes_on = final_text(frame).startswith(turn.text.content)
        _require(goes_on, f"the text does not go on from {turn.text.content!r}", frame)
        never_ran = turn.asked_here and not turn.attempt
        stopped = frame.get("finish_reason") in ("cancelled", "interrupted")
        _require(not never_ran or (stopped and not frame["content"]), "ended unseen", frame)

    def _take_status(self, frame: Frame) -> None:
        match frame["status"]:
            case "ready":
                newest = self._cursor >= self.welcome["last_seq"]
                _require(self._phase == "replay", "ready twice", frame)
                _require(newest, f"ready after {self._cursor}", frame)
                self._phase = "live"
            case "done":
                self._take_done(frame)
            case "received":
                self._take_received(frame)
            case _:
                self._take_step(frame)

    def _take_done(self, frame: Frame) -> None:
        ref = frame.get("ref")
        if ref in self._resumes:
            last_seq = self._resumes.pop(ref)
            together = self._phase == "replay" and self._went_back_at == self._cursor
            _require(self._phase == "live" or together, "resume before ready", frame)
            newest = self._cursor if self._phase == "live" else self._newest
            self._newest, start = newest, last_seq if 0 <= last_seq <= newest else 0
            self._cursor = min(start, self._cursor)
            self._phase, self._went_back_at = "replay", self._cursor
            self._turns = {}
        if "turn" in frame:
            self._retried_turns.add(frame["turn"])

    def _take_received(self, frame: Frame) -> None:
        _require({"turn", "seq", "state"} <= set(frame), "fields are missing", frame)
        _require(frame["state"] in ("queued", "running", "ended"), "state", frame)
        _require(frame["seq"] <= self._cursor, "received before its query frame", frame)
        query = self.frames.get(frame["seq"])
        if query is not None:
            _require(query["turn"] == frame["turn"], "the turn of another query", frame)
            _require(query.get("ref") == frame.get("ref"), "another ref", frame)
        if frame.get("ref") in self._repeated_ids or frame["state"] == "ended":
            return  # sent again, here or by another tab
        _require(not self._turn(frame).ended, "received after the end", frame)

    def _take_step(self, frame: Frame) -> None:
        """`queued`, `thinking` or `restarted`."""
        turn = self._turn(frame)
        _require(not turn.ended, "a status after the end", frame)
        if frame["status"] == "queued":
            _require(frame["position"] >= 1, "position", frame)
            _require(not turn.attempt, "queued after thinking", frame)
            return
        attempt = frame["attempt"]
        _require(attempt >= 1, "attempt", frame)
        running = [t for t in self._turns.values() if t.attempt and not t.ended and t is not turn]
        _require(not running, "two turns run at once", frame)
        _require(attempt > turn.attempt, f"attempt after {turn.attempt}", frame)
        if frame["status"] == "restarted":
            _require(attempt > turn.restarted, "restarted twice", frame)
            _require(attempt > 1, "restarted before it started", frame)
            turn.restarted = attempt
        else:
            _require(attempt >= turn.restarted, "an older attempt", frame)
            _require(frame["content"] == "Thinking...", "content", frame)
            turn.attempt = attempt

    def _take_piece(self, frame: Frame) -> bool:
        _require(self._stream, "a piece with stream=0", frame)
        turn = self._turn(frame)
        _require(not turn.ended, "a piece after the end", frame)
        _require(frame["attempt"] == turn.attempt, "a piece of another attempt", frame)
        _require(frame.get("first", frame["index"]) <= frame["index"], "first > index", frame)
        _require(frame.get("first", 0) >= 0 and frame["index"] >= 0, "index", frame)
        _require(bool(frame["content"]), "nothing in a piece", frame)
        text = turn.text if frame["type"] == "delta" else turn.reasoning
        if text.take(frame):
            return False
        self.holes_seen += 1
        _require(self._may_have_holes, f"a hole after {text.index}", frame)
        return True

    def _turn(self, frame: Frame) -> _Turn:
        """What this connection knows of the frame's turn, which must be known to the client."""
        turn_id = frame["turn"]
        if turn_id not in self._turns:
            _require(self._may_know(frame), "a turn without its query", frame)
            self._turns[turn_id] = _Turn()
        return self._turns[turn_id]

    def _may_know(self, frame: Frame) -> bool:
        held = self._queries.values()
        return (
            not self._knows_all
            or frame["turn"] in self._queries
            or frame["turn"] in self._retried_turns
            or any(turn["turn"] == frame["turn"] for turn in self.welcome["turns"])
            or ("ref" in frame and any(query.get("ref") == frame["ref"] for query in held))
        )

    # what it holds

    @property
    def queries(self) -> list[Frame]:
        """The query frames, in their order."""
        return [frame for _, frame in sorted(self.frames.items()) if frame["type"] == "query"]

    @property
    def unfinished(self) -> list[str]:
        """The turns of queries that have no end yet."""
        return [query["turn"] for query in self.queries if query["turn"] not in self.ends]

    def text(self, turn: str) -> str:
        """What this connection's deltas of a turn add up to."""
        return self.assembled(turn).content

    def assembled(self, turn: str) -> Text:
        """The same, with the attempt that it is of."""
        return self._turns[turn].text if turn in self._turns else Text()

    def reasoning(self, turn: str) -> str:
        """What this connection's pieces of the reasoning of a turn add up to."""
        return self._turns[turn].reasoning.content if turn in self._turns else ""

    def end_of(self, ref: str) -> Frame | None:
        """The first end of the query with this id."""
        ends = (frame for _, frame in sorted(self.frames.items()) if is_terminal(frame))
        return next((frame for frame in ends if frame.get("ref") == ref), None)

    def assert_complete(self) -> None:
        """Every query has its end, and nothing is missing in between."""
        if self.unfinished:
            raise Violation(f"turns without an end: {self.unfinished}")
        if self._knows_all and sorted(self.frames) != list(range(1, self.last_seq + 1)):
            raise Violation(f"numbers are missing: {sorted(self.frames)}")


def assert_same(*transcripts: Transcript) -> None:
    """Clients of one session hold the same durable frames, as far as each of them got."""
    first, *others = transcripts
    for other in others:
        for seq in set(first.frames) & set(other.frames):
            one, two = first.frames[seq], other.frames[seq]
            if one != two and "expired" not in (one.get("event"), two.get("event")):
                raise Violation(f"seq {seq} is not the same for two clients\n{one}\n{two}")


def _is_reasoning(value: object) -> bool:
    """Whether this is what a response says of reasoning: nothing, or its time and tokens."""
    if value is None:
        return True
    return isinstance(value, dict) and {"ms", "tokens"} <= set(value) <= {"ms", "tokens", "content"}


def _is_timestamp(value: object) -> bool:
    return isinstance(value, str) and _TIMESTAMP.fullmatch(value) is not None


def _require(condition: bool, problem: str, frame: Frame) -> None:
    if not condition:
        raise Violation(f"{problem}\n{json.dumps(frame)[:2000]}")


# the socket


class Client:
    """One connection. `frames` are all that came on it, pings too.

    `expect` and `next` read on from where the one before stopped; `command` and `end` look
    everywhere and leave that place alone. All of them fail with what came instead and with the
    server's log.
    """

    _numbers = count(1)

    def __init__(
        self, connection: ClientConnection, transcript: Transcript, log: Callable[[], str]
    ) -> None:
        self.socket, self.transcript, self._log = connection, transcript, log
        self.frames: list[Frame] = []
        self.failure: BaseException | None = None
        self._position = 0
        self._news = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                if not isinstance(text, str):
                    raise Violation("a binary frame")
                await self._take(json.loads(text))
                self._news.set()
            self.transcript.ended(self.socket.close_reason)
        except ConnectionClosed:
            pass
        except Exception as error:
            self.failure = error
        finally:
            self._news.set()

    async def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        if self.transcript.feed(frame):
            await self.command_frame("resume", last_seq=self.transcript.last_seq)

    # sending

    async def send(self, frame: Frame) -> None:
        self.transcript.sent(frame)
        await self.socket.send(json.dumps(frame, ensure_ascii=False))

    async def send_raw(self, data: str | bytes) -> None:
        """Send what need not be a frame: one text message, or a binary one."""
        await self.socket.send(data)

    async def ask(self, content: str, **fields: Any) -> str:
        """Send a query, with an id unless one is given; returns the id."""
        ref = fields.pop("id", None) or f"q{next(self._numbers)}"
        await self.send({"type": "query", "content": content, "id": ref, **fields})
        return str(ref)

    async def command_frame(self, name: str, **args: Any) -> str:
        """Send a command and do not wait; returns its id."""
        ref = f"c{next(self._numbers)}"
        await self.send({"type": "command", "content": name, "args": args, "id": ref})
        return ref

    # reading

    async def command(self, name: str, **args: Any) -> Frame:
        """Send a command; returns its reply."""
        ref = await self.command_frame(name, **args)
        return await self.reply(ref)

    async def reply(self, ref: str) -> Frame:
        """The frame that answers the one with this id, not being a step of a turn."""

        def matches(frame: Frame) -> bool:
            if frame.get("ref") != ref or is_durable(frame):
                return False
            return frame["type"] != "status" or frame["status"] in ("done", "received")

        return (await self._find(matches, 0, f"the reply to {ref}"))[1]

    async def end(self, ref: str, nth: int = 1) -> Frame:
        """The terminal frame of the query with this id; of its retries with a higher `nth`."""
        found: list[Frame] = []

        def matches(frame: Frame) -> bool:
            mine = is_terminal(frame) and frame.get("ref") == ref
            if mine and all(frame["seq"] != other["seq"] for other in found):
                found.append(frame)
            return len(found) == nth

        return (await self._find(matches, 0, f"end {nth} of {ref}"))[1]

    async def expect(self, kind: str, **fields: Any) -> Frame:
        """The next frame of this type with these fields (`...`: any value); skips others."""

        def matches(frame: Frame) -> bool:
            return frame["type"] == kind and all(
                name in frame and (value is ... or frame[name] == value)
                for name, value in fields.items()
            )

        return await self.until(matches, f"{kind} {fields}")

    async def until(self, matches: Callable[[Frame], bool], what: str = "a frame") -> Frame:
        """The next frame that matches; skips others."""
        place, frame = await self._find(matches, self._position, what)
        self._position = place + 1
        return frame

    async def next(self) -> Frame:
        """The next frame that is no `ping`."""
        return await self.until(lambda frame: frame["type"] != "ping")

    async def ready(self) -> Frame:
        """Wait until the replay is over; returns the welcome."""
        await self.expect("status", status="ready")
        return self.transcript.welcome

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait until the server closes the connection; returns code and reason."""
        await self._within(self.reading, "the end of the connection")
        if self.failure:
            raise self.failure
        return self.socket.close_code, self.socket.close_reason

    async def quiet(self) -> None:
        """Wait until all that was sent before has been handled, in order."""
        ref = f"p{next(self._numbers)}"
        await self.send({"type": "ping", "id": ref})
        await self._find(lambda frame: frame.get("ref") == ref, 0, "pong")

    async def _find(
        self, matches: Callable[[Frame], bool], start: int, what: str
    ) -> tuple[int, Frame]:
        deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        while True:
            self._news.clear()
            for place in range(start, len(self.frames)):
                if matches(self.frames[place]):
                    return place, self.frames[place]
            start = len(self.frames)
            if self.failure:
                raise self.failure
            if self.reading.done():
                self._fail(f"closed with {self.socket.close_code} before {what}")
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                self._fail(f"{what} did not come")

    async def _within(self, task: asyncio.Task[None], what: str) -> None:
        done, _ = await asyncio.wait({task}, timeout=DEADLINE_SECONDS)
        if not done:
            self._fail(f"{what} did not come")

    def _fail(self, problem: str) -> None:
        shown = "\n".join(json.dumps(frame)[:300] for frame in self.frames[-12:])
        raise AssertionError(f"{problem}; the last frames were\n{shown}\nlog:\n{self._log()}")

    # leaving

    @property
    def credentials(self) -> dict[str, str]:
        """Headers with which nobody reaches the session again, from another tab for example."""
        return {"Authorization": f"Bearer {self.transcript.resume_token}"}

    def back(self) -> dict[str, Any]:
        """The options for `connect` with which this client comes back."""
        held = self.transcript
        return {"headers": self.credentials, "transcript": held, "last_seq": held.last_seq}

    async def close(self) -> None:
        """Leave in order."""
        await self.socket.close()
        await self._within(self.reading, "the answer to close")
        if self.failure:
            raise self.failure

    async def abort(self) -> None:
        """Leave with a TCP reset, as a crashed client does."""
        connection = self.socket.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.transport.abort()
        await self._within(self.reading, "the end of an aborted connection")


@asynccontextmanager
async def connect(
    url: str,
    *,
    session: str = "",
    last_seq: int | None = None,
    tail: int | None = None,
    stream: bool = True,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    origin: str | None = None,
    subprotocols: Sequence[str] = (),
    transcript: Transcript | None = None,
    log: Callable[[], str] = lambda: "",
    through: Mapping[str, Any] | None = None,
) -> AsyncIterator[Client]:
    """Connect, and leave at the end of the block; a violation fails it.

    Args:
        url: of the socket's path.
        session, last_seq, tail, stream: parameters of the address.
        query: others.
        headers, origin, subprotocols: of the handshake.
        transcript: of the client that comes back; absent: a new one.
        log: what a failure shows of the server.
        through: another `host` and `port` than that of the address, and an `ssl` context.

    Raises:
        websockets.InvalidStatus: the handshake was refused.
    """
    parameters: dict[str, Any] = {"session": session or None, "last_seq": last_seq, "tail": tail}
    parameters |= {"stream": None if stream else "0", **(query or {})}
    asked = urlencode({name: value for name, value in parameters.items() if value is not None})
    held = Transcript() if transcript is None else transcript
    held.connected(stream=stream)
    connection = await open_socket(
        f"{url}?{asked}" if asked else url,
        additional_headers=headers,
        origin=None if origin is None else Origin(origin),
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        compression=None,
        max_size=None,
        proxy=None,
        open_timeout=DEADLINE_SECONDS,
        ping_interval=None,
        **(through or {}),
    )
    client = Client(connection, held, log)
    try:
        yield client
        await client.close()
    finally:
        client.reading.cancel()
        connection.transport.abort()
        await asyncio.gather(client.reading, return_exceptions=True)
