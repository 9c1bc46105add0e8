"""The only sender of one WebSocket: it decides which frame is next.

A writer replays the frames that the client lacks, and then follows its session's topic. Durable
frames are sent in order, each once; missing ones are read from the database. A status, or a reply
to one of the client's frames, is not sent before the durable frame that it is about. The running
answer's reasoning and text are sent in pieces, which are merged while the client is slow or the
next delta is not due. No frame of a turn is sent after its end. `LogCursor` and `AnswerStream` know
what the client has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from agent import metrics
from agent.actions import sessions
from agent.actions.handles import SessionHandle
from agent.actor import Access, Actor
from agent.errors import NotFound
from agent.live.hub import Answer, Frame
from agent.protocol import server_frames
from agent.protocol.close_codes import CloseCode
from agent.store import db
from agent.store.replay import SessionSnapshot

from .answer_stream import AnswerStream
from .log_cursor import LogCursor, replay_start
from .send_queue import Overflow, SendQueue

#: A client counts as not reading when sending one frame takes longer than this.
SEND_SECONDS = 30.0
#: How many `resume` commands may wait for their replay.
MAX_REWINDS = 100
#: How long `ready` waits for the text of a turn that runs in another process.
SNAPSHOT_SECONDS = 1.0
#: The approximate size of a frame without its text, in bytes.
_FRAME_BYTES = 200


class Closed(Exception):
    """Ends the writer: its connection is to be closed with this code and reason."""

    def __init__(self, code: CloseCode, reason: str = "") -> None:
        self.code, self.reason = code, reason


class Writer:
    """The frames of one connection; a `Subscriber` of its session's topic.

    Args:
        handle: the session.
        access: the caller and its credential.
        send: sends one text frame over the socket.
        stream: whether the client asked for deltas.
        heartbeat: seconds of silence after which a `ping` is sent.
    """

    def __init__(
        self,
        handle: SessionHandle,
        access: Access,
        send: Callable[[str], Awaitable[None]],
        *,
        stream: bool,
        heartbeat: float,
    ) -> None:
        self.handle, self.access = handle, access
        self._live, self._topic = handle.live, handle.topic
        self._send_text = send
        self._stream = stream
        self._heartbeat = heartbeat
        self._topic.mark_active()
        self._queue = SendQueue()
        self._cursor = LogCursor()
        self._answers = AnswerStream(self._topic)
        self._rewinds: list[tuple[int, Frame]] = []
        self._wake = asyncio.Event()
        self._ending: Closed | None = None
        self._cut_off: Closed | None = None
        self._deadline: asyncio.Timeout | None = None  # of the frame that is being sent
        self._timer: asyncio.TimerHandle | None = None  # of the next delta
        self._last_sent_at = time.monotonic()

    # called by the topic and the consumer

    def wake(self) -> None:
        self._wake.set()

    def text_appended(self) -> None:
        if self._stream and self._may_send_delta():
            self._wake.set()

    def send_later(self, frame: Frame, after_seq: int = 0, size: int | None = None) -> None:
        """Queue an ephemeral frame.

        Args:
            frame: the frame.
            after_seq: the durable frame that has to be sent before it.
            size: the characters of its text; by default those of its `content`.
        """
        size = len(frame.get("content", "")) if size is None else size
        try:
            self._queue.put(after_seq, frame, _FRAME_BYTES + size)
        except Overflow:
            self.end(CloseCode.TOO_SLOW)
        self._wake.set()

    def session_deleted(self) -> None:
        self.end(CloseCode.NOT_FOUND)

    def owner_without_row(self) -> Actor | None:
        return None if self.handle.stored else self.handle.actor

    def signed_out(self) -> None:
        self._cut_off = Closed(CloseCode.UNAUTHENTICATED, "Access ended")
        # a client that does not read must not delay this
        if self._deadline and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())
        self._wake.set()

    def send_away(self, retry_after: float) -> None:
        self.send_later(server_frames.Draining(retry_after=retry_after).frame())
        self.end(CloseCode.RESTARTING, "Server restarting")

    def end(self, code: CloseCode, reason: str = "") -> None:
        """Close the connection, after the frames that wait now."""
        self._ending = self._ending or Closed(code, reason)
        self._wake.set()

    @property
    def ending(self) -> bool:
        """Whether the connection is about to be closed."""
        return self._ending is not None

    def rewind(self, last_seq: int, reply: Frame) -> None:
        """Send `reply`, then replay the frames after `last_seq` and the running answer.

        One replay serves all `resume` commands that wait at the same time.
        """
        self._rewinds.append((last_seq, reply))
        if len(self._rewinds) > MAX_REWINDS:
            self.end(CloseCode.TOO_SLOW)
        self._wake.set()

    # the loop

    async def run(self, last_seq: int, tail: int | None, welcome: Callable[..., Frame]) -> Closed:
        """Send frames until the connection is to be closed.

        Args:
            last_seq: the newest durable frame that the client has.
            tail: instead of `last_seq`, how many of the newest frames the client asks for.
            welcome: builds the first frame from a `SessionSnapshot` and the seq after which the
                replay starts.

        Returns:
            the code and the reason of the close.
        """
        self._topic.subscribers.add(self)
        for notification in self._live.degradations():
            self.send_later(notification)
        try:
            await self._live.broker.join(self.handle.id)
            await self._begin(last_seq, tail, welcome)
            while True:
                await self._flush()
                await self._wait()
        except Closed as closed:
            return closed
        except NotFound:
            return Closed(CloseCode.NOT_FOUND)
        finally:
            self._topic.subscribers.discard(self)
            if self._timer:
                self._timer.cancel()

    async def _begin(self, last_seq: int, tail: int | None, welcome: Callable[..., Frame]) -> None:
        snapshot = await self._snapshot()
        start = replay_start(snapshot.last_seq, last_seq, tail)
        self._cursor.connect(snapshot.last_seq)
        await self._send(welcome(snapshot, start))
        await self._replay(snapshot, start)

    async def _snapshot(self) -> SessionSnapshot:
        snapshot = await db.repeated(lambda: sessions.snapshot(self.handle))
        self._topic.compare(snapshot.last_seq, [turn["turn"] for turn in snapshot.turns])
        return snapshot

    async def _replay(self, snapshot: SessionSnapshot, start: int) -> None:
        self._cursor.replay(start, snapshot.last_seq)
        while self._cursor.seq < snapshot.last_seq:
            await self._send_durable(await self._next_durable())
        if snapshot.running:
            await self._send_running(snapshot.running, snapshot.last_seq)
        ready = server_frames.Status(status="ready", content="Ready")
        await self._send(ready.frame())

    async def _send_running(self, turn: Any, seq: int) -> None:
        """Send `thinking` and the text so far of the turn that ran at the message `seq`."""
        missing = self._stream and not self._has_text(turn.id)
        if missing and self._live.broker.ask_for_text(self.handle.id, turn.worker):
            await self._wait_for_text(turn.id)
        answer = self._topic.answer
        attempt = turn.attempt
        if answer and answer.turn_id == turn.id:
            attempt = max(attempt, answer.attempt)
        if self._answers.has_ended(turn.id, seq, self._cursor.seq):
            return
        self._answers.begin_replay(turn.id, attempt)
        await self._send(server_frames.thinking(turn.id, attempt, turn.ref))
        answer = self._topic.answer
        if answer and self._stream and self._answers.is_answering(answer):
            await self._send_pieces(answer)

    async def _wait_for_text(self, turn_id: UUID) -> None:
        until = time.monotonic() + SNAPSHOT_SECONDS
        while not self._has_text(turn_id) and (left := until - time.monotonic()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                break
        self._wake.set()

    def _has_text(self, turn_id: UUID) -> bool:
        answer = self._topic.answer
        return answer is not None and answer.turn_id == turn_id and answer.whole

    async def _flush(self) -> None:
        """Send every frame that can be sent now, in order of priority."""
        while True:
            if self._cut_off:
                raise self._cut_off
            if queued := self._queue.pop(self._cursor.seq):
                await self._send_ephemeral(*queued)
            elif self._rewinds:
                await self._replay_again()
            elif self._cursor.seq < self._known_seq():
                await self._send_durable(await self._next_durable())
            elif self._ending:
                raise self._ending
            elif not await self._send_answer():
                return

    async def _replay_again(self) -> None:
        rewinds, self._rewinds = self._rewinds, []
        for _, reply in rewinds:
            await self._send(reply)
        snapshot = await self._snapshot()
        starts = [replay_start(snapshot.last_seq, last_seq, None) for last_seq, _ in rewinds]
        await self._replay(snapshot, min(starts))

    async def _wait(self) -> None:
        """Wait until there is something to send; after `heartbeat` seconds of silence, a `ping`."""
        silence = self._heartbeat - (time.monotonic() - self._last_sent_at)
        try:
            async with asyncio.timeout(max(silence, 0)):
                await self._wake.wait()
        except TimeoutError:
            await self._send(server_frames.Heartbeat(type="ping").frame())
        self._wake.clear()

    # durable frames

    def _known_seq(self) -> int:
        return max(self._topic.last_seq, self._queue.waits_for)

    async def _next_durable(self) -> Frame:
        if frame := self._cursor.next_of_page() or self._topic.recent(self._cursor.seq + 1):
            return frame
        page = await db.repeated(lambda: sessions.frames_after(self.handle.id, self._cursor.seq))
        if not page:
            raise NotFound  # the rows were removed, because the session was deleted
        self._cursor.fill(page)
        return self._cursor.next_of_page() or page[0]

    async def _send_durable(self, frame: Frame) -> None:
        frame = server_frames.current(frame)
        seq = frame["seq"]
        await self._send({**frame, "replay": True} if self._cursor.is_replay(seq) else frame)
        is_news = self._cursor.advance(seq)
        if frame["type"] in server_frames.TERMINAL_TYPES:
            self._answers.end(frame["turn"])
        if is_news and frame.get("event") == "closed" and await self._stays_closed():
            raise _closed(frame)

    async def _stays_closed(self) -> bool:
        """Whether no query opened the session again since the message at the cursor."""
        if self._cursor.seq >= self._known_seq():
            return True
        return await db.repeated(lambda: sessions.is_closed(self.handle.id))

    # ephemeral frames

    async def _send_ephemeral(self, seq: int, frame: Frame) -> None:
        if self._answers.is_late(seq, frame, self._cursor.seq):
            return
        if frame.get("status") == "thinking":
            await self._send_thinking(UUID(frame["turn"]), frame["attempt"], frame.get("ref", ""))
            return
        if frame.get("status") == "received":
            turn_id = UUID(frame["turn"])
            if self._answers.has_ended(turn_id, seq, self._cursor.seq):
                frame = {**frame, "state": "ended"}  # another process was faster
        await self._send(frame)
        if frame.get("event") == "closed":  # ephemeral: the session has no row
            raise _closed(frame)

    async def _send_thinking(self, turn_id: UUID, attempt: int, ref: str) -> None:
        """Send the status of a running attempt, once, and not after a later attempt."""
        if self._answers.begin(turn_id, attempt):
            await self._send(server_frames.thinking(turn_id, attempt, ref))

    async def _send_answer(self) -> bool:
        """Send new text of the running answer, if a delta is due; returns whether it sent any."""
        answer = self._topic.answer
        if answer is None or self._cursor.seq < answer.seq:
            return False
        if self._answers.has_ended(answer.turn_id, answer.seq, self._cursor.seq):
            return False
        if not self._answers.is_answering(answer):
            await self._send_thinking(answer.turn_id, answer.attempt, answer.ref)
            return self._answers.is_answering(answer)
        if not self._stream or not self._answers.is_behind(answer) or not self._may_send_delta():
            return False
        await self._send_pieces(answer)
        return True

    def _may_send_delta(self) -> bool:
        """Whether the next delta is due; if not, a timer wakes the writer when it is."""
        wait = self._answers.seconds_until_due(time.monotonic())
        if wait > 0 and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._delta_is_due)
        return wait <= 0

    def _delta_is_due(self) -> None:
        self._timer = None
        self._wake.set()

    async def _send_pieces(self, answer: Answer) -> None:
        """Send the text that the client lacks of an answer, its reasoning before its text."""
        for piece in self._answers.pieces(answer, time.monotonic()):
            metrics.deltas.inc()
            await self._send(piece)

    async def _send(self, frame: Frame) -> None:
        if self._cut_off:
            raise self._cut_off
        try:
            async with asyncio.timeout(SEND_SECONDS) as self._deadline:
                await self._send_text(server_frames.encode(frame))
        except TimeoutError:
            raise self._cut_off or Closed(CloseCode.TOO_SLOW) from None
        finally:
            self._deadline = None
        self._last_sent_at = time.monotonic()


def _closed(notification: Frame) -> Closed:
    timeout = notification.get("reason") == "timeout"
    return Closed(CloseCode.NORMAL, "Session timeout" if timeout else "Session closed")
