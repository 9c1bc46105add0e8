"""What one connection is sent, and in which order; the only writer of its socket.

A feed replays what the client lacks, then follows its session's group: durable frames in order,
each once, with holes read from the database; statuses and answers to the client's own frames not
before the durable frame that they are about; the running answer's reasoning and text in pieces,
merged for as long as the client or the pace asks for it. Nothing of a turn is sent after its end.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from agent import metrics
from agent.actions import sessions
from agent.actions.sessions import Held, View
from agent.actor import Access, Actor
from agent.errors import NotFound
from agent.live import broker, publish
from agent.live.hub import Answer, Frame, group
from agent.protocol import server_frames
from agent.protocol.client_frames import CloseCode
from agent.store import db

from .answer_stream import Progress, Told
from .send_queue import Outbox, Overflow

#: The shortest time between two deltas of a connection.
DELTA_SECONDS = 0.03
#: How long one frame may take to leave before the client counts as not reading.
SEND_SECONDS = 30.0
#: How many `resume` commands may wait for the replay that serves them.
MAX_REWINDS = 100
#: How long `ready` waits for the text of an answer that runs in another process.
SNAPSHOT_SECONDS = 1.0


class Closed(Exception):
    """The feed closes its connection."""

    def __init__(self, code: CloseCode, reason: str = "") -> None:
        self.code, self.reason = code, reason


class Feed:
    """The frames of one connection (a `groups.Listener`).

    Args:
        held: its session.
        access: who is connected, and by what.
        send: puts one text frame on the socket.
        stream: whether the client wants running answers.
        heartbeat: seconds of silence after which a `ping` is sent.
    """

    def __init__(
        self,
        held: Held,
        access: Access,
        send: Callable[[str], Awaitable[None]],
        *,
        stream: bool,
        heartbeat: float,
    ) -> None:
        self.held, self.access = held, access
        self._send_text = send
        self._stream = stream
        self._heartbeat = heartbeat
        self._group = group(held.id)
        self._group.touch()
        self._outbox = Outbox()
        self._wake = asyncio.Event()
        self._ending: Closed | None = None
        self._cut: Closed | None = None
        self._deadline: asyncio.Timeout | None = None  # of what is being sent
        self._rewinds: list[tuple[int, Frame]] = []
        self._cursor = 0  # seq of the newest durable frame that was sent
        self._replay_until = 0
        self._heard = 0  # seq of the newest durable frame that was news to this connection
        self._page: deque[Frame] = deque()
        self._told = Told(self._group)
        self._progress = Progress()  # of the running answer
        self._next_delta_at = 0.0
        self._timer: asyncio.TimerHandle | None = None  # of the next delta
        self._last_sent_at = time.monotonic()

    # what the group and the consumer say

    def wake(self) -> None:
        self._wake.set()

    def grew(self) -> None:
        if self._stream and self._may_send_delta():
            self._wake.set()

    def tell(self, seq: int, frame: Frame) -> None:
        try:
            self._outbox.put(seq, frame, 200 + len(frame.get("content", "")))
        except Overflow:
            self.end(CloseCode.TOO_SLOW)
        self._wake.set()

    def tell_page(self, frame: Frame, chars: int) -> None:
        """A frame that holds `chars` characters of other frames."""
        try:
            self._outbox.put(0, frame, 200 + chars)
        except Overflow:
            self.end(CloseCode.TOO_SLOW)
        self._wake.set()

    def gone(self) -> None:
        self.end(CloseCode.NOT_FOUND)

    def owner_without_row(self) -> Actor | None:
        return None if self.held.stored else self.held.actor

    def signed_out(self) -> None:
        self._cut = Closed(CloseCode.UNAUTHENTICATED, "Access ended")
        # a client that does not read must not hold this up
        if self._deadline and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())
        self._wake.set()

    def restarting(self, retry_after: float) -> None:
        notification = server_frames.Notification(
            event="draining",
            level="warning",
            content="The server is restarting. You will be connected again in a moment.",
            retry_after=retry_after,
        )
        self.tell(0, notification.frame())
        self.end(CloseCode.RESTARTING, "Server restarting")

    def end(self, code: CloseCode, reason: str = "") -> None:
        """Close the connection, after what was told before."""
        self._ending = self._ending or Closed(code, reason)
        self._wake.set()

    @property
    def ending(self) -> bool:
        """Whether the connection is about to be closed."""
        return self._ending is not None

    def rewind(self, last_seq: int, reply: Frame) -> None:
        """Send `reply`, then once more what follows `last_seq`, and the running answer.

        One replay serves all that wait for it.
        """
        self._rewinds.append((last_seq, reply))
        if len(self._rewinds) > MAX_REWINDS:
            self.end(CloseCode.TOO_SLOW)
        self._wake.set()

    # the loop

    async def run(self, last_seq: int, tail: int | None, welcome: Callable[..., Frame]) -> Closed:
        """Send all there is to send until the connection is to be closed, and say how.

        Args:
            last_seq: the newest durable frame that the client has.
            tail: instead, how many of the newest it wants.
            welcome: makes the first frame out of a `View` and the number that the replay follows.
        """
        self._group.listeners.add(self)
        for notification in publish.degradations():
            self.tell(0, notification)
        try:
            await broker.current().join(self.held.id)
            await self._begin(last_seq, tail, welcome)
            while True:
                await self._flush()
                await self._wait()
        except Closed as closed:
            return closed
        except NotFound:
            return Closed(CloseCode.NOT_FOUND)
        finally:
            self._group.listeners.discard(self)
            if self._timer:
                self._timer.cancel()

    async def _begin(self, last_seq: int, tail: int | None, welcome: Callable[..., Frame]) -> None:
        view = await self._view()
        start = _start(view.last_seq, last_seq, tail)
        self._heard = view.last_seq
        await self._send(welcome(view, start))
        await self._replay(view, start)

    async def _view(self) -> View:
        view = await db.repeated(lambda: sessions.view(self.held))
        self._group.compare(view.last_seq, [turn["turn"] for turn in view.turns])
        return view

    async def _replay(self, view: View, start: int) -> None:
        self._cursor, self._replay_until = start, view.last_seq
        self._page.clear()
        while self._cursor < view.last_seq:
            await self._send_durable(await self._next_durable())
        if view.running:
            await self._send_running(view.running, view.last_seq)
        ready = server_frames.Status(status="ready", content="Ready")
        await self._send(ready.frame())

    async def _send_running(self, turn: Any, seq: int) -> None:
        """The turn that ran at the message `seq`, as it is now: `thinking`, the text so far."""
        missing = self._stream and not self._has_text(turn.id)
        if missing and broker.current().ask_for_text(self.held.id, turn.worker):
            await self._text_arrives(turn.id)
        answer = self._group.answer
        attempt = turn.attempt
        if answer and answer.turn_id == turn.id:
            attempt = max(attempt, answer.attempt)
        if self._told.has_ended(turn.id, seq, self._cursor):
            return
        self._told.start_anew()
        await self._send_thinking(turn.id, attempt, turn.ref)
        self._progress.begin(snapshots=True)  # late, if they come after `ready`
        answer = self._group.answer
        if answer and self._stream and self._told.is_answering(answer):
            await self._send_pieces(answer)

    async def _text_arrives(self, turn_id: UUID) -> None:
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
        answer = self._group.answer
        return answer is not None and answer.turn_id == turn_id and answer.whole

    async def _flush(self) -> None:
        """Send what can be sent now."""
        while True:
            if self._cut:
                raise self._cut
            if told := self._outbox.pop(self._cursor):
                await self._send_told(*told)
            elif self._rewinds:
                await self._go_back()
            elif self._cursor < self._known_seq():
                await self._send_durable(await self._next_durable())
            elif self._ending:
                raise self._ending
            elif not await self._send_answer():
                return

    async def _go_back(self) -> None:
        rewinds, self._rewinds = self._rewinds, []
        for _, reply in rewinds:
            await self._send(reply)
        view = await self._view()
        starts = [_start(view.last_seq, last_seq, None) for last_seq, _ in rewinds]
        await self._replay(view, min(starts))

    async def _wait(self) -> None:
        """Wait until something is to be sent, at the latest a `ping`."""
        silence = self._heartbeat - (time.monotonic() - self._last_sent_at)
        try:
            async with asyncio.timeout(max(silence, 0)):
                await self._wake.wait()
        except TimeoutError:
            await self._send(server_frames.Heartbeat(type="ping").frame())
        self._wake.clear()

    # durable frames

    def _known_seq(self) -> int:
        return max(self._group.last_seq, self._outbox.waits_for)

    async def _next_durable(self) -> Frame:
        seq = self._cursor + 1
        while self._page and self._page[0]["seq"] < seq:
            self._page.popleft()
        if self._page and self._page[0]["seq"] == seq:
            return self._page.popleft()
        if frame := self._group.recent(seq):
            return frame
        page = await db.repeated(lambda: sessions.frames_after(self.held.id, self._cursor))
        if not page:
            raise NotFound  # the rows are gone, and with them the session
        self._page.extend(page)
        return self._page.popleft()

    async def _send_durable(self, frame: Frame) -> None:
        self.held.stored = True  # also when a notification from outside wrote its row
        frame = server_frames.current(frame)
        replay = frame["seq"] <= self._replay_until
        await self._send({**frame, "replay": True} if replay else frame)
        self._cursor = frame["seq"]
        if frame["type"] in ("response", "error"):
            self._told.end(frame["turn"])
        if self._cursor > self._heard:
            self._heard = self._cursor
            if frame.get("event") == "closed" and await self._stays_closed():
                raise _closed(frame)

    async def _stays_closed(self) -> bool:
        """Whether nobody opened the session again since the message at the cursor."""
        if self._cursor >= self._known_seq():
            return True
        return await db.repeated(lambda: sessions.is_closed(self.held.id))

    # ephemeral frames

    async def _send_told(self, seq: int, frame: Frame) -> None:
        if self._told.is_late(seq, frame, self._cursor):
            return
        if frame.get("status") == "thinking":
            await self._send_thinking(UUID(frame["turn"]), frame["attempt"], frame.get("ref", ""))
            return
        if frame.get("status") == "received":
            turn_id = UUID(frame["turn"])
            if self._told.has_ended(turn_id, seq, self._cursor):
                frame = {**frame, "state": "ended"}  # another process was faster
        await self._send(frame)
        if frame.get("event") == "closed":  # of a session without a row
            raise _closed(frame)

    async def _send_thinking(self, turn_id: UUID, attempt: int, ref: str) -> None:
        """Tell that an attempt runs, once, and not after a later one."""
        if self._told.begin(turn_id, attempt):
            self._progress.begin()
            await self._send(server_frames.thinking(turn_id, attempt, ref))

    async def _send_answer(self) -> bool:
        """Send what is new of the running answer, if there is something and it is time."""
        answer = self._group.answer
        if answer is None or self._cursor < answer.seq:
            return False
        if self._told.has_ended(answer.turn_id, answer.seq, self._cursor):
            return False
        if not self._told.is_answering(answer):
            await self._send_thinking(answer.turn_id, answer.attempt, answer.ref)
            return self._told.is_answering(answer)
        if not self._stream or not self._progress.is_behind(answer) or not self._may_send_delta():
            return False
        await self._send_pieces(answer)
        return True

    def _may_send_delta(self) -> bool:
        """Whether it is time for the next delta; if not, the feed is woken when it is."""
        wait = self._next_delta_at - time.monotonic()
        if wait > 0 and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._delta_is_due)
        return wait <= 0

    def _delta_is_due(self) -> None:
        self._timer = None
        self._wake.set()

    async def _send_pieces(self, answer: Answer) -> None:
        """Send what the client lacks of an answer, its reasoning before its text."""
        self._next_delta_at = time.monotonic() + DELTA_SECONDS
        for piece in self._progress.pieces(answer):
            metrics.deltas.inc()
            await self._send(piece)

    async def _send(self, frame: Frame) -> None:
        if self._cut:
            raise self._cut
        try:
            async with asyncio.timeout(SEND_SECONDS) as self._deadline:
                await self._send_text(server_frames.encode(frame))
        except TimeoutError:
            raise self._cut or Closed(CloseCode.TOO_SLOW) from None
        finally:
            self._deadline = None
        self._last_sent_at = time.monotonic()


def _closed(notification: Frame) -> Closed:
    timeout = notification.get("reason") == "timeout"
    return Closed(CloseCode.NORMAL, "Session timeout" if timeout else "Session closed")


def _start(newest: int, last_seq: int, tail: int | None) -> int:
    """The number that a replay follows; what is out of range means everything."""
    if tail is not None:
        return max(newest - tail, 0) if tail >= 0 else 0
    return last_seq if 0 <= last_seq <= newest else 0
