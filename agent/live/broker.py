"""The way to other processes and back, over the channel layer when it is shared (Redis).

One task of each process merges what is due for a session, never waits longer than `SEND_SECONDS`
for the layer, and may lose messages; rows and texts heal that. A process has one mailbox, joined to
the channel-layer group of each session that it has connections of. What a message means for the
connections here is told to the session's `Group`.
"""

from __future__ import annotations

import asyncio
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

from agent import metrics
from agent.actor import Actor
from agent.store.sequence import Change

from .cancellation import stop_here
from .hub import Answer, Group, Presence, gone, groups, present

log = structlog.get_logger(__name__)

SEND_SECONDS = 1.0
#: How long deltas for other processes are collected.
MERGE_SECONDS = 0.025
_ECHO_SECONDS = 2.0
#: How long this process may hear nothing before it connects to the layer anew.
_DEAF_SECONDS = 20.0
#: How long leaving the old connections may take.
_LEAVE_SECONDS = 8.0
#: How long other processes may take to say that a session has connections there: the first of them,
#: and each one after it.
FIRST_ANSWER_SECONDS = 0.3
NEXT_ANSWER_SECONDS = 0.1
_PENDING_SESSIONS = 10_000

#: This process, as the owner of leases and as the address of its mailbox.
PROCESS = f"agent.{secrets.token_hex(12)}"

_relays: WeakKeyDictionary[asyncio.AbstractEventLoop, Relay] = WeakKeyDictionary()


def current() -> Relay:
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
        self._echoed_at = self._connected_at = time.monotonic()
        self._hearing: asyncio.Timeout | None = None  # ends the wait for the mailbox

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
        """Send to one process's mailbox; to nobody's when the turn was handed back."""
        if self.shared and worker:
            self._posts.append((self._layer.send, worker, message))
            self._wake.set()

    def post_group(self, session_id: UUID, message: dict[str, Any]) -> None:
        """Send to every process with connections of a session."""
        if self.shared:
            self._posts.append((self._layer.group_send, group_name(session_id), message))
            self._wake.set()

    def ask_for_text(self, session_id: UUID, worker: str) -> bool:
        """Ask the process that runs a session's turn for its whole text; whether it may answer."""
        if worker in (PROCESS, "") or not self.shared:
            return False
        self.post(worker, {"type": "text", "session": session_id.hex})
        return True

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
            due = pending.setdefault(session_id, {"seq": 0, "frames": [], "statuses": []})
            due |= _growth(answer)
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
            self._take(await self._received())

    async def _received(self) -> dict[str, Any]:
        while True:
            try:
                return await self._next_message()
            except Exception as error:  # whatever the layer's client raises
                metrics.layer_failures.inc()
                log.warning("channel layer unreachable", error=type(error).__name__)
                # the layer counts the mailbox as subscribed before it is, and would not try again
                self._layer.channels.pop(PROCESS, None)
                await asyncio.sleep(1)

    async def _next_message(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(None) as self._hearing:
                message: dict[str, Any] = await self._layer.receive(PROCESS)
                return message
        finally:
            self._hearing = None

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "echo":
                self._echoed_at = time.monotonic()
            case "stop":
                stop_here(UUID(message["turn"]), message["reason"])
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
            mine.answer.relayed = mine.answer.relayed_reasoning = 0
            self.pend_text(session_id, mine.answer)

    def _take_session(self, message: dict[str, Any]) -> None:
        mine = groups.get(UUID(message["session"]))
        if mine is None:
            return
        for seq, status in message["statuses"]:
            mine.take(seq, [], [status])
        if "text" in message:
            self._take_text(mine, message)
        mine.take(message["seq"], message["frames"], [])

    def _take_text(self, mine: Group, message: dict[str, Any]) -> None:
        """Add what has come of a running answer; ask for all of it if something is missing."""
        turn, attempt, ref, worker, seq, start, text = message["text"]
        reasoning = message.get("reasoning", {"start": 0, "content": ""})
        answer = mine.begin(Answer(UUID(turn), attempt, ref, worker, seq))
        if answer is None:
            return
        if start > len(answer.text) or reasoning["start"] > len(answer.reasoning):
            self.ask_for_text(mine.session_id, worker)
            return
        answer.whole = True
        answer.reasoning += reasoning["content"][len(answer.reasoning) - reasoning["start"] :]
        answer.text += text[len(answer.text) - start :]

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
            await self._cure_deafness()
            await _bounded(self._layer.send(PROCESS, {"type": "echo"}))
            for session_id in [key for key in self._joined if key not in groups]:
                self._joined.discard(session_id)
                await _bounded(self._layer.group_discard(group_name(session_id), PROCESS))
            if not self.degraded:
                for session_id in [key for key in groups if key not in self._joined]:
                    await self.join(session_id)
            await asyncio.sleep(_ECHO_SECONDS)

    async def _cure_deafness(self) -> None:
        """Connect anew when nothing has come for long.

        A host that vanished does not say so: messages go out by another connection, and the one
        that they come in by is silent for ever. When the kernel gives up on it at last, redis-py
        takes that for a time without messages and asks again at once, without end, so that nothing
        else runs.
        """
        now = time.monotonic()
        if now - max(self._echoed_at, self._connected_at) < _DEAF_SECONDS:
            return
        self._connected_at = now
        log.warning("channel layer connected anew")
        await _bounded(self._layer.flush(), _LEAVE_SECONDS)
        self._joined.clear()
        if self._hearing:
            self._hearing.reschedule(asyncio.get_running_loop().time())


def _growth(answer: Answer) -> dict[str, Any]:
    """What other processes lack of an answer; it counts as sent.

    The list of the text has this length for ever: processes of older versions unpack it, and ignore
    what they do not know. The reasoning that belongs to it tells its length even when it is not
    new, so that who missed it asks.
    """
    text = answer.text[answer.relayed :]
    reasoning = answer.reasoning[answer.relayed_reasoning :]
    head = [answer.turn_id.hex, answer.attempt, answer.ref, answer.worker, answer.seq]
    growth: dict[str, Any] = {"text": [*head, answer.relayed, text]}
    if answer.reasoning:
        growth["reasoning"] = {"start": answer.relayed_reasoning, "content": reasoning}
    answer.relayed += len(text)
    answer.relayed_reasoning += len(reasoning)
    return growth


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


async def _bounded(sending: Awaitable[Any], seconds: float = SEND_SECONDS) -> bool:
    """Wait for the layer, but never long; whether it answered."""
    try:
        async with asyncio.timeout(seconds):
            await sending
    except Exception as error:  # whatever the layer's client raises: the database heals it
        metrics.layer_failures.inc()
        log.debug("channel layer unreachable", error=type(error).__name__)
        return False
    return True
