"""The live path: what happens in a session reaches its connections, here and in other processes.

Here, the session's `Group` is told directly. Other processes are told over the channel layer when
it is shared (Redis): one task of each process merges what is due for a session, never waits longer
than `SEND_SECONDS` for the layer, and may lose messages; rows and texts heal that. A process has
one mailbox, joined to the channel-layer group of each session that it has connections of.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from channels.layers import InMemoryChannelLayer, get_channel_layer

from . import frames, metrics
from .actor import Actor
from .groups import Answer, Group, Presence, groups, present
from .numbering import Change

log = structlog.get_logger(__name__)

#: Why a turn stops without an end: another process goes on with it, or its session is gone.
LOST = "lost"
SEND_SECONDS = 1.0
#: How long deltas for other processes are collected.
MERGE_SECONDS = 0.025
_ECHO_SECONDS = 2.0
#: How long other processes may take to say that a session has connections there: the first of them,
#: and each one after it.
FIRST_ANSWER_SECONDS = 0.3
NEXT_ANSWER_SECONDS = 0.1
_FAREWELL_SECONDS = 3.0
_PENDING_SESSIONS = 10_000

#: This process, as the owner of leases and as the address of its mailbox.
PROCESS = f"agent.{secrets.token_hex(12)}"


def publish(change: Change) -> None:
    """Tell every connection of a session what was committed."""
    if not (change.frames or change.statuses):
        return
    metrics.committed(change.frames)
    if mine := groups.get(change.session_id):
        mine.take(change.seq, change.frames, change.statuses)
    relay().pend(change)


def grown(session: Group, answer: Answer) -> None:
    """Tell that the text of a running answer has become longer."""
    session.wake()
    relay().pend_text(session.session_id, answer)


def stoppable(turn_id: UUID) -> asyncio.Future[str]:
    """A future that gets the reason when the turn, which runs here, is to stop."""
    future = _stops.get(turn_id)
    if future is None:
        future = _stops[turn_id] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: _stops.pop(turn_id, None))
    return future


def stop(turn_id: UUID, worker: str, reason: str) -> None:
    """Stop a running turn now; the reason is in its row already, for the case that this is lost."""
    if worker == PROCESS:
        future = _stops.get(turn_id)
        if future and not future.done():
            future.set_result(reason)
    else:
        relay().post(worker, {"type": "stop", "turn": turn_id.hex, "reason": reason})


def ask_for_text(session_id: UUID, worker: str) -> None:
    """Ask the process that runs a session's turn to send the whole text so far."""
    if worker != PROCESS:
        relay().post(worker, {"type": "text", "session": session_id.hex})


async def presence(session_id: UUID) -> Presence:
    """Who is connected to a session now, as far as the processes can be asked.

    Inexact: a process that answers late is not counted, and without a shared layer no other one is.
    """
    return present(session_id) + await relay().ask(session_id)


def deleted(session_id: UUID) -> None:
    """Tell every connection of a session, here and elsewhere, that it was deleted."""
    gone(session_id)
    relay().post_group(session_id, {"type": "gone", "session": session_id.hex})


def gone(session_id: UUID) -> None:
    """Tell the connections here that a session was deleted."""
    if mine := groups.get(session_id):
        for listener in list(mine.listeners):
            listener.gone()


def degraded(part: str, failing: bool) -> None:
    """Tell every connection of this process that a part of it fails, or works again."""
    words = _DEGRADED[part] if failing else "Everything works again."
    notification = frames.Notification(
        event="degraded", part=part, level="warning" if failing else "success", content=words
    )
    for session in list(groups.values()):
        for listener in list(session.listeners):
            listener.tell(0, notification.frame())


_DEGRADED = {
    "redis": "Parts of this service cannot be reached; answers may arrive late.",
    "database": "Messages cannot be stored at the moment. Please wait before you send.",
}


async def restarting() -> None:
    """Send every connection of this process away, each to come back at another moment."""
    listeners = [one for session in list(groups.values()) for one in session.listeners]
    for listener in listeners:
        listener.restarting(retry_after=round(random.uniform(0.5, 4), 1))  # noqa: S311
    until = time.monotonic() + _FAREWELL_SECONDS
    while any(session.listeners for session in list(groups.values())):
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.05)


_stops: dict[UUID, asyncio.Future[str]] = {}
_relays: WeakKeyDictionary[asyncio.AbstractEventLoop, Relay] = WeakKeyDictionary()


def relay() -> Relay:
    """The way to other processes, of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _relays.get(loop)
    if found is None:
        found = _relays[loop] = Relay()
    return found


def group_name(session_id: UUID) -> str:
    """The channel-layer group of a session."""
    return f"session.{session_id.hex}"


class Relay:
    """What goes to other processes and comes from them; idle when the layer is not shared."""

    def __init__(self) -> None:
        layer = get_channel_layer()
        self._layer: Any = None if isinstance(layer, InMemoryChannelLayer) else layer
        self._pending: dict[UUID, dict[str, Any]] = {}
        self._texts: dict[UUID, Answer] = {}
        self._posts: list[tuple[Any, str, dict[str, Any]]] = []  # how, to whom, what
        self._questions: dict[str, asyncio.Queue[Presence]] = {}
        self._wake = asyncio.Event()
        self._joined: set[UUID] = set()
        self._echoed_at = time.monotonic()

    @property
    def shared(self) -> bool:
        return self._layer is not None

    @property
    def degraded(self) -> bool:
        """Whether what this process sends lately did not come back."""
        return self.shared and time.monotonic() - self._echoed_at > 2.5 * _ECHO_SECONDS

    # outgoing

    def pend(self, change: Change) -> None:
        if not self.shared:
            return
        due = self._due(change.session_id)
        due["seq"] = max(due["seq"], change.seq)
        due["frames"] += change.frames
        due["statuses"] += [[change.seq, status] for status in change.statuses]
        self._wake.set()

    def pend_text(self, session_id: UUID, answer: Answer) -> None:
        if self.shared:
            self._texts[session_id] = answer
            self._wake.set()

    def post(self, worker: str, message: dict[str, Any]) -> None:
        """Send to one process's mailbox."""
        if self.shared:
            self._posts.append((self._layer.send, worker, message))
            self._wake.set()

    def post_group(self, session_id: UUID, message: dict[str, Any]) -> None:
        """Send to every process with connections of a session."""
        if self.shared:
            self._posts.append((self._layer.group_send, group_name(session_id), message))
            self._wake.set()

    async def ask(self, session_id: UUID) -> Presence:
        """Who is connected to a session in other processes."""
        if not self.shared:
            return Presence()
        key = secrets.token_hex(8)
        answers = self._questions[key] = asyncio.Queue()
        who = {"type": "who", "from": PROCESS, "session": session_id.hex, "question": key}
        try:
            asked = await _bounded(self._layer.group_send(group_name(session_id), who))
            return await _sum(answers) if asked else Presence()
        finally:
            del self._questions[key]

    def _due(self, session_id: UUID) -> dict[str, Any]:
        if len(self._pending) > _PENDING_SESSIONS:
            self._pending.clear()  # the layer is down: catching up reads the rows
        return self._pending.setdefault(session_id, {"seq": 0, "frames": [], "statuses": []})

    async def run(self) -> None:
        """Send what is pending, for as long as the process runs."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()
            await asyncio.sleep(MERGE_SECONDS)

    async def flush(self) -> None:
        """Send all that is pending now."""
        posts, self._posts = self._posts, []
        pending, self._pending = self._pending, {}
        texts, self._texts = self._texts, {}
        for session_id, answer in texts.items():
            piece = answer.text[answer.relayed :]
            due = pending.setdefault(session_id, {"seq": 0, "frames": [], "statuses": []})
            due["text"] = [
                answer.turn_id.hex,
                answer.attempt,
                answer.ref,
                answer.worker,
                answer.seq,
                answer.relayed,
                piece,
            ]
            answer.relayed += len(piece)
        sends = [send(to, message) for send, to, message in posts]
        for session_id, due in pending.items():
            message = {"type": "session", "from": PROCESS, "session": session_id.hex, **due}
            sends.append(self._layer.group_send(group_name(session_id), message))
        if sends:
            await _bounded(asyncio.gather(*sends))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """For a process that is no server: hear answers in the block, and send all at its end."""
        hearing = asyncio.create_task(self.receive()) if self.shared else None
        await asyncio.sleep(0)  # it subscribes before anything is asked
        try:
            yield
            await self.flush()
        finally:
            if hearing:
                hearing.cancel()
                await asyncio.wait({hearing})

    # incoming

    async def receive(self) -> None:
        """Read this process's mailbox, for as long as the process runs."""
        while True:
            try:
                self._take(await self._layer.receive(PROCESS))
            except (OSError, RuntimeError) as error:
                metrics.layer_failures.inc()
                log.warning("channel layer unreachable", error=type(error).__name__)
                await asyncio.sleep(1)

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "echo":
                self._echoed_at = time.monotonic()
            case "stop":
                stop(UUID(message["turn"]), PROCESS, message["reason"])
            case "text":
                self._send_whole_text(UUID(message["session"]))
            case "gone":
                gone(UUID(message["session"]))
            case "who" if message["from"] != PROCESS:
                self._tell_who(message)
            case "here" if answers := self._questions.get(message["question"]):
                answers.put_nowait(Presence(message["connections"], _unpacked(message["owner"])))
            case "session" if message["from"] != PROCESS:
                self._take_session(message)

    def _tell_who(self, message: dict[str, Any]) -> None:
        here = present(UUID(message["session"]))
        if here.connections:
            answer = {"question": message["question"], "connections": here.connections}
            self.post(message["from"], {"type": "here", **answer, "owner": _packed(here.owner)})

    def _send_whole_text(self, session_id: UUID) -> None:
        mine = groups.get(session_id)
        if mine and mine.answer and mine.answer.worker == PROCESS:
            mine.answer.relayed = 0
            self.pend_text(session_id, mine.answer)

    def _take_session(self, message: dict[str, Any]) -> None:
        mine = groups.get(UUID(message["session"]))
        if mine is None:
            return
        for seq, status in message["statuses"]:
            mine.take(seq, [], [status])
        if "text" in message:
            self._take_text(mine, *message["text"])
        mine.take(message["seq"], message["frames"], [])

    def _take_text(
        self,
        mine: Group,
        turn: str,
        attempt: int,
        ref: str,
        worker: str,
        seq: int,
        start: int,
        piece: str,
    ) -> None:
        answer = mine.begin(Answer(UUID(turn), attempt, ref, worker, seq))
        if answer is None:
            return
        if start > len(answer.text):
            ask_for_text(mine.session_id, worker)
            return
        answer.whole = True
        answer.text += piece[len(answer.text) - start :]

    # membership and health

    async def join(self, session_id: UUID) -> None:
        """Hear of a session from other processes. If the layer is down, `keep_joined` goes on."""
        if not self.shared or session_id in self._joined:
            return
        if await _bounded(self._layer.group_add(group_name(session_id), PROCESS)):
            self._joined.add(session_id)

    async def keep_joined(self) -> None:
        """Join what could not be joined, leave what nobody here needs, and try the way itself."""
        while self.shared:
            await _bounded(self._layer.send(PROCESS, {"type": "echo"}))
            for session_id in [key for key in self._joined if key not in groups]:
                self._joined.discard(session_id)
                await _bounded(self._layer.group_discard(group_name(session_id), PROCESS))
            if not self.degraded:
                for session_id in [key for key in groups if key not in self._joined]:
                    await self.join(session_id)
            await asyncio.sleep(_ECHO_SECONDS)


async def _sum(answers: asyncio.Queue[Presence]) -> Presence:
    """What other processes answer in time."""
    found, patience = Presence(), FIRST_ANSWER_SECONDS
    while True:
        try:
            async with asyncio.timeout(patience):
                found += await answers.get()
        except TimeoutError:
            return found
        patience = NEXT_ANSWER_SECONDS


def _packed(actor: Actor | None) -> dict[str, Any] | None:
    """A caller as other processes are told of it."""
    if actor is None:
        return None
    return {**asdict(actor), "session_id": actor.session_id and actor.session_id.hex}


def _unpacked(fields: dict[str, Any] | None) -> Actor | None:
    if fields is None:
        return None
    session_id = fields["session_id"]
    return Actor(**{**fields, "session_id": session_id and UUID(session_id)})


async def _bounded(sending: Awaitable[Any]) -> bool:
    """Wait for the layer, but never long; whether it answered."""
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await sending
    except Exception as error:  # whatever the layer's client raises: the database heals it
        metrics.layer_failures.inc()
        log.debug("channel layer unreachable", error=type(error).__name__)
        return False
    return True
