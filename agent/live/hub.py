"""What this process knows of the sessions that somebody here is connected to or that run here.

A `Group` keeps the newest durable frames and the text of the running answer; each connection reads
from it at its own pace, so nothing that is kept here or in the database is buffered per connection.
In memory only: no I/O, no database, one event loop.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakValueDictionary

from agent import metrics
from agent.actor import Access, Actor
from agent.protocol.server_frames import size

_RECENT_FRAMES = 64
_RECENT_CHARS = 200_000
_ENDED_TURNS = 64
_TERMINAL = ("response", "error")

Frame = dict[str, Any]


@dataclass(slots=True)
class Answer:
    """The texts of a running turn, as far as this process has them.

    `worker` is the process that runs it, `seq` the session's newest message when it was claimed.
    `whole` tells that nothing before the ends of the texts is missing, and is False until the first
    text from another process has come.
    """

    turn_id: UUID
    attempt: int
    ref: str
    worker: str
    seq: int
    text: str = ""
    whole: bool = False
    reasoning: str = ""  # what the model thinks before it answers, as far as it is shown
    relayed: int = 0  # characters of `text` that other processes were sent
    relayed_reasoning: int = 0


class Listener(Protocol):
    """One connection, as its group sees it. Calls must return at once."""

    @property
    def access(self) -> Access:
        """Who is connected, and by what."""

    def wake(self) -> None:
        """Something of the group changed."""

    def grew(self) -> None:
        """The text of the running answer has become longer."""

    def tell(self, seq: int, frame: Frame) -> None:
        """An ephemeral frame that makes sense after the message `seq`."""

    def gone(self) -> None:
        """The session was deleted."""

    def owner_without_row(self) -> Actor | None:
        """Whose session it is, as long as it has no row that says so."""

    def signed_out(self) -> None:
        """What its caller showed does not count any more: it is sent nothing from now on."""

    def restarting(self, retry_after: float) -> None:
        """This process goes down; the client shall come back in `retry_after` seconds."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is connected to a session: how many, and whose it is as long as it has no row."""

    connections: int = 0
    owner: Actor | None = None

    def __add__(self, other: Presence) -> Presence:
        return Presence(self.connections + other.connections, self.owner or other.owner)


class Group:
    """What this process knows of one session."""

    def __init__(self, session_id: UUID) -> None:
        self.session_id = session_id
        self.listeners: set[Listener] = set()
        self.last_seq = 0
        self.answer: Answer | None = None
        self.active_at = time.monotonic()
        self._recent: OrderedDict[int, Frame] = OrderedDict()
        self._recent_chars = 0
        self._ended: OrderedDict[str, int] = OrderedDict()  # turn to the number of its end
        self._looked_at = 0  # newest message when the unfinished turns were last read
        self._unfinished: frozenset[str] = frozenset()

    def recent(self, seq: int) -> Frame | None:
        """The durable frame `seq`, if it is still kept here."""
        return self._recent.get(seq)

    def note(self, last_seq: int) -> None:
        """The session has messages up to `last_seq`."""
        if last_seq > self.last_seq:
            self.last_seq = last_seq
            self.wake()

    def take(self, seq: int, frames: list[Frame], statuses: list[Frame]) -> None:
        """Durable frames and statuses of one commit, from here or from another process."""
        for frame in frames:
            self._keep(frame)
        self.last_seq = max(self.last_seq, seq)
        for status in statuses:
            for listener in self.listeners:
                listener.tell(seq, status)
        self.wake()

    def _keep(self, frame: Frame) -> None:
        self.last_seq = max(self.last_seq, frame["seq"])
        if frame["type"] in _TERMINAL:
            self._end(frame["turn"], frame["seq"])
        if frame["seq"] in self._recent:
            return
        self._recent[frame["seq"]] = frame
        self._recent_chars += size(frame)
        while len(self._recent) > _RECENT_FRAMES or self._recent_chars > _RECENT_CHARS:
            self._recent_chars -= size(self._recent.popitem(last=False)[1])

    def _end(self, turn: str, seq: int) -> None:
        self._ended[turn] = seq
        if len(self._ended) > _ENDED_TURNS:
            self._ended.popitem(last=False)
        if self.answer and str(self.answer.turn_id) == turn:
            self.answer = None

    def has_ended(self, turn_id: UUID, seq: int) -> bool:
        """Whether a turn that was unfinished at the message `seq` is known to have ended since."""
        return self.end_of(turn_id, seq) is not None

    def end_of(self, turn_id: UUID, seq: int) -> int | None:
        """The number up to which that end has come; None when the turn may run still."""
        turn = str(turn_id)
        if turn in self._ended:
            return self._ended[turn]
        was_gone = seq < self._looked_at and turn not in self._unfinished
        return self._looked_at if was_gone else None

    def begin(self, answer: Answer) -> Answer | None:
        """The answer of this attempt; None when a later one or the turn's end was seen."""
        if self.has_ended(answer.turn_id, answer.seq):
            return None
        mine = self.answer
        if mine and mine.turn_id != answer.turn_id and mine.seq > answer.seq:
            return None  # between the two lies the end of the older turn
        if mine is None or mine.turn_id != answer.turn_id or mine.attempt < answer.attempt:
            self.answer = answer
            self.last_seq = max(self.last_seq, answer.seq)
            return answer
        return mine if mine.attempt == answer.attempt else None

    def compare(self, last_seq: int, unfinished: Collection[str]) -> None:
        """Learn which turns were unfinished when the newest message was `last_seq`.

        What other processes tell may come late, or never, as when Redis or this process froze.
        """
        self.note(last_seq)
        if last_seq >= self._looked_at:
            self._looked_at, self._unfinished = last_seq, frozenset(unfinished)
        if self.answer and self.has_ended(self.answer.turn_id, self.answer.seq):
            self.answer = None

    def forget(self, answer: Answer) -> None:
        """This process does not run the answer any more."""
        if self.answer is answer:
            self.answer = None

    def touch(self) -> None:
        """Somebody did something in this session."""
        self.active_at = time.monotonic()

    def grow(self) -> None:
        """The text of the running answer has become longer."""
        for listener in self.listeners:
            listener.grew()

    def wake(self) -> None:
        for listener in self.listeners:
            listener.wake()


groups: WeakValueDictionary[UUID, Group] = WeakValueDictionary()
"""The groups of this process; each lives as long as a connection or a runner holds it."""


def _in_use() -> int:
    """How many sessions have a connection or a running turn here."""
    return sum(bool(each.listeners or each.answer) for each in list(groups.values()))


metrics.sessions.set_function(_in_use)


def present(session_id: UUID) -> Presence:
    """Who is connected to a session in this process."""
    mine = groups.get(session_id)
    listeners = list(mine.listeners) if mine else []
    owners = [owner for each in listeners if (owner := each.owner_without_row())]
    return Presence(len(listeners), owners[0] if owners else None)


def group(session_id: UUID) -> Group:
    """The session's group in this process; hold it for as long as you need it."""
    found = groups.get(session_id)
    if found is None:
        found = groups[session_id] = Group(session_id)
    return found


def gone(session_id: UUID) -> None:
    """Tell the connections here that a session was deleted."""
    if mine := groups.get(session_id):
        for listener in list(mine.listeners):
            listener.gone()
