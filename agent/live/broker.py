"""Exchanges messages with other processes, over the channel layer if it is shared (Redis).

One task of each process merges the changes of a session into one message, and never waits longer
than `SEND_SECONDS` for the layer. Messages may get lost; the rows and the next text repair that. A
process has one mailbox, joined to the channel-layer group of each session that it has connections
of. The session's `Topic` decides what a message means for these connections.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from channels.layers import InMemoryChannelLayer, get_channel_layer

from agent import metrics
from agent.store.sequence import Change

from . import messages
from .cancellation import Cancellations
from .hub import Answer, Hub, Presence, Topic
from .messages import BrokerMessage

log = structlog.get_logger(__name__)

SEND_SECONDS = 1.0
#: How long deltas for other processes are collected.
MERGE_SECONDS = 0.025
_ECHO_SECONDS = 2.0
#: This process reconnects to the layer when it has received nothing for so long.
_DEAF_SECONDS = 20.0
#: How long closing the old connections may take.
_LEAVE_SECONDS = 8.0
#: How long to wait for the first other process that has connections of a session, and for each
#: further one.
FIRST_ANSWER_SECONDS = 0.3
NEXT_ANSWER_SECONDS = 0.1
_PENDING_SESSIONS = 10_000


def topic_name(session_id: UUID) -> str:
    """Return the name of a session's channel-layer group."""
    return f"session.{session_id.hex}"


@dataclass(slots=True)
class _Due:
    """The changes of a session that were not sent to other processes yet."""

    seq: int = 0
    frames: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    growth: messages.Growth | None = None


class Broker:
    """Messages to other processes and from them; idle when the layer is not shared.

    `process` names this process, as the owner of leases and as the address of its mailbox.
    """

    def __init__(self, hub: Hub, cancellations: Cancellations) -> None:
        layer = get_channel_layer()
        self.process = f"agent.{secrets.token_hex(12)}"
        self._layer: Any = None if isinstance(layer, InMemoryChannelLayer) else layer
        self._hub, self._cancellations = hub, cancellations
        self._pending: dict[UUID, _Due] = {}
        self._texts: dict[UUID, Answer] = {}
        self._posts: list[tuple[Any, str, BrokerMessage]] = []  # the layer's method, the address
        self._questions: dict[str, asyncio.Queue[Presence]] = {}
        self._wake = asyncio.Event()
        self._joined: set[UUID] = set()
        self._echoed_at = self._connected_at = time.monotonic()
        self._mailbox_timeout: asyncio.Timeout | None = None  # ends the wait for the mailbox

    @property
    def shared(self) -> bool:
        return self._layer is not None

    @property
    def degraded(self) -> bool:
        """Whether the messages that this process sent lately did not come back."""
        return self.shared and time.monotonic() - self._echoed_at > 2.5 * _ECHO_SECONDS

    # outgoing

    def publish(self, change: Change) -> None:
        """Send a commit to other processes, soon."""
        if not self.shared:
            return
        if change.frames or change.statuses:
            due = self._due(change.session_id)
            due.seq = max(due.seq, change.seq)
            due.frames += change.frames
            due.statuses += [(change.seq, status) for status in change.statuses]
        if change.deleted:
            self._post_all(change.session_id, messages.SessionDeleted(session_id=change.session_id))
        for stop in change.stops:
            if stop.worker != self.process:
                self._post(stop.worker, messages.StopTurn(turn_id=stop.turn_id, reason=stop.reason))
        self._wake.set()

    def publish_text(self, session_id: UUID, answer: Answer) -> None:
        """Send new text of a running answer to other processes, soon."""
        if self.shared:
            self._texts[session_id] = answer
            self._wake.set()

    def ask_for_text(self, session_id: UUID, worker: str) -> bool:
        """Ask the process that runs a turn for its whole text; returns whether it can answer."""
        if worker in (self.process, "") or not self.shared:
            return False
        self._post(worker, messages.SendWholeText(session_id=session_id))
        return True

    async def ask_presence(self, session_id: UUID) -> Presence:
        """Count the connections of a session in other processes."""
        if not self.shared:
            return Presence()
        key = secrets.token_hex(8)
        answers = self._questions[key] = asyncio.Queue()
        question = messages.WhoIsConnected(sender=self.process, session_id=session_id, question=key)
        try:
            asked = await _bounded(
                self._layer.group_send(topic_name(session_id), messages.pack(question))
            )
            return await _sum(answers) if asked else Presence()
        finally:
            del self._questions[key]

    def _post(self, worker: str, message: BrokerMessage) -> None:
        """Send to one process's mailbox, soon; a turn that was handed back has no process."""
        if self.shared and worker:
            self._posts.append((self._layer.send, worker, message))
            self._wake.set()

    def _post_all(self, session_id: UUID, message: BrokerMessage) -> None:
        """Send to every process with connections of a session, soon."""
        self._posts.append((self._layer.group_send, topic_name(session_id), message))
        self._wake.set()

    def _due(self, session_id: UUID) -> _Due:
        if len(self._pending) > _PENDING_SESSIONS:
            self._pending.clear()  # the layer is down: catching up reads the rows
        return self._pending.setdefault(session_id, _Due())

    async def run(self) -> None:
        """Send what is pending, for as long as the process runs."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()
            await asyncio.sleep(MERGE_SECONDS)

    async def flush(self) -> None:
        """Send everything that is pending now."""
        posts, self._posts = self._posts, []
        pending, self._pending = self._pending, {}
        texts, self._texts = self._texts, {}
        for session_id, answer in texts.items():
            pending.setdefault(session_id, _Due()).growth = _growth(answer)
        for session_id, due in pending.items():
            message = messages.SessionChanged(
                sender=self.process,
                session_id=session_id,
                seq=due.seq,
                frames=due.frames,
                statuses=due.statuses,
                growth=due.growth,
            )
            posts.append((self._layer.group_send, topic_name(session_id), message))
        if posts:
            sends = [send(address, messages.pack(message)) for send, address, message in posts]
            await _bounded(asyncio.gather(*sends))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """For a process that is no server: receive in the block, and flush at its end."""
        receiving = asyncio.create_task(self.receive()) if self.shared else None
        await asyncio.sleep(0)  # it subscribes before the first question
        try:
            yield
            await self.flush()
        finally:
            if receiving:
                receiving.cancel()
                await asyncio.wait({receiving})

    # incoming

    async def receive(self) -> None:
        """Read this process's mailbox, for as long as the process runs."""
        while True:
            message = messages.unpack(await self._received())
            if message:
                self._handle(message)

    async def _received(self) -> dict[str, Any]:
        while True:
            try:
                return await self._next_message()
            except Exception as error:  # anything that the layer's client raises
                metrics.layer_failures.inc()
                log.warning("channel layer unreachable", error=type(error).__name__)
                # the layer counts the mailbox as subscribed before it is, and would not retry
                self._layer.channels.pop(self.process, None)
                await asyncio.sleep(1)

    async def _next_message(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(None) as self._mailbox_timeout:
                message: dict[str, Any] = await self._layer.receive(self.process)
                return message
        finally:
            self._mailbox_timeout = None

    def _handle(self, message: BrokerMessage) -> None:
        match message:
            case messages.Echo():
                self._echoed_at = time.monotonic()
            case messages.StopTurn():
                self._cancellations.cancel_local(message.turn_id, message.reason)
            case messages.SendWholeText():
                self._send_whole_text(message.session_id)
            case messages.SessionDeleted():
                if topic := self._hub.get(message.session_id):
                    topic.deleted()
            case messages.WhoIsConnected() if message.sender != self.process:
                self._answer_presence(message)
            case messages.Connected():
                if answers := self._questions.get(message.question):
                    answers.put_nowait(Presence(message.connections, message.owner))
            case messages.SessionChanged() if message.sender != self.process:
                self._apply(message)

    def _answer_presence(self, message: messages.WhoIsConnected) -> None:
        here = self._hub.presence(message.session_id)
        if here.connections:
            answer = messages.Connected(
                question=message.question, connections=here.connections, owner=here.owner
            )
            self._post(message.sender, answer)

    def _send_whole_text(self, session_id: UUID) -> None:
        topic = self._hub.get(session_id)
        if topic and topic.answer and topic.answer.worker == self.process:
            topic.answer.relayed = topic.answer.relayed_reasoning = 0
            self.publish_text(session_id, topic.answer)

    def _apply(self, message: messages.SessionChanged) -> None:
        topic = self._hub.get(message.session_id)
        if topic is None:
            return
        for seq, status in message.statuses:
            topic.apply(seq, [], [status])
        if message.growth:
            self._apply_growth(topic, message.growth)
        topic.apply(message.seq, message.frames, [])

    def _apply_growth(self, topic: Topic, growth: messages.Growth) -> None:
        """Append new text to a running answer; ask for the whole text if a part is missing."""
        answer = topic.begin(
            Answer(growth.turn_id, growth.attempt, growth.ref, growth.worker, growth.seq)
        )
        if answer is None:
            return
        if growth.start > len(answer.text) or growth.reasoning_start > len(answer.reasoning):
            self.ask_for_text(topic.session_id, growth.worker)
            return
        answer.whole = True
        answer.reasoning += growth.reasoning[len(answer.reasoning) - growth.reasoning_start :]
        answer.text += growth.text[len(answer.text) - growth.start :]

    # membership and health

    async def join(self, session_id: UUID) -> None:
        """Subscribe this process to a session. If the layer is down, `keep_joined` retries."""
        if not self.shared or session_id in self._joined:
            return
        if await _bounded(self._layer.group_add(topic_name(session_id), self.process)):
            self._joined.add(session_id)

    async def keep_joined(self) -> None:
        """Retry failed joins, leave the groups of sessions without a topic, and test the layer."""
        while self.shared:
            await self._reconnect_if_silent()
            await _bounded(self._layer.send(self.process, messages.pack(messages.Echo())))
            for session_id in [key for key in self._joined if not self._hub.get(key)]:
                self._joined.discard(session_id)
                await _bounded(self._layer.group_discard(topic_name(session_id), self.process))
            if not self.degraded:
                for session_id in [topic.session_id for topic in self._hub.topics()]:
                    await self.join(session_id)
            await asyncio.sleep(_ECHO_SECONDS)

    async def _reconnect_if_silent(self) -> None:
        """Reconnect to the layer when nothing has arrived for long.

        A host that vanished closes no connection: messages are still sent over another connection,
        and the one that receives them stays silent for ever. When the kernel at last gives it up,
        redis-py mistakes that for a time without messages, and reads again at once, in an endless
        loop that blocks everything else.
        """
        now = time.monotonic()
        if now - max(self._echoed_at, self._connected_at) < _DEAF_SECONDS:
            return
        self._connected_at = now
        log.warning("channel layer reconnected")
        await _bounded(self._layer.flush(), _LEAVE_SECONDS)
        self._joined.clear()
        if self._mailbox_timeout:
            self._mailbox_timeout.reschedule(asyncio.get_running_loop().time())


def _growth(answer: Answer) -> messages.Growth:
    """Take the text of an answer that was not sent to other processes yet; it counts as sent."""
    growth = messages.Growth(
        turn_id=answer.turn_id,
        attempt=answer.attempt,
        ref=answer.ref,
        worker=answer.worker,
        seq=answer.seq,
        start=answer.relayed,
        text=answer.text[answer.relayed :],
        reasoning_start=answer.relayed_reasoning,
        reasoning=answer.reasoning[answer.relayed_reasoning :],
    )
    answer.relayed, answer.relayed_reasoning = len(answer.text), len(answer.reasoning)
    return growth


async def _sum(answers: asyncio.Queue[Presence]) -> Presence:
    """Add up the answers of other processes that arrive in time."""
    found, patience = Presence(), FIRST_ANSWER_SECONDS
    while True:
        try:
            async with asyncio.timeout(patience):
                found += await answers.get()
        except TimeoutError:
            return found
        patience = NEXT_ANSWER_SECONDS


async def _bounded(sending: Awaitable[Any], seconds: float = SEND_SECONDS) -> bool:
    """Wait for the layer, at most `seconds`; returns whether it answered."""
    try:
        async with asyncio.timeout(seconds):
            await sending
    except Exception as error:  # anything that the layer's client raises: the rows repair it
        metrics.layer_failures.inc()
        log.debug("channel layer unreachable", error=type(error).__name__)
        return False
    return True
