"""The sessions that a process knows of: those with a connection or a running turn in it.

A `Topic` keeps the newest durable frames and the text of the running answer. Each connection reads
from it at its own pace, so no connection has a buffer of what the topic or the database holds.
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
    `whole` is False until the first text from another process has come: from then on nothing before
    the ends of the texts is missing.
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


class Subscriber(Protocol):
    """One connection, as its topic sees it. Calls must return at once."""

    @property
    def access(self) -> Access:
        """The caller that is connected, and the credential that it showed."""

    def wake(self) -> None:
        """The topic has changed."""

    def text_appended(self) -> None:
        """The text of the running answer has become longer."""

    def send_later(self, frame: Frame, after_seq: int = 0) -> None:
        """Send an ephemeral frame, not before the durable frame `after_seq`."""

    def session_deleted(self) -> None:
        """The session was deleted."""

    def owner_without_row(self) -> Actor | None:
        """The session's owner, as long as no row says who that is."""

    def signed_out(self) -> None:
        """Its credential was revoked: it is sent nothing from now on."""

    def send_away(self, retry_after: float) -> None:
        """This process is draining; the client shall come back in `retry_after` seconds."""


@dataclass(frozen=True, slots=True)
class Presence:
    """How many connections a session has, and its owner as long as it has no row."""

    connections: int = 0
    owner: Actor | None = None

    def __add__(self, other: Presence) -> Presence:
        return Presence(self.connections + other.connections, self.owner or other.owner)


class Topic:
    """One session, as this process knows it."""

    def __init__(self, session_id: UUID) -> None:
        self.session_id = session_id
        self.subscribers: set[Subscriber] = set()
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

    def advance_to(self, last_seq: int) -> None:
        """The session has messages up to `last_seq`."""
        if last_seq > self.last_seq:
            self.last_seq = last_seq
            self.wake()

    def apply(self, seq: int, frames: list[Frame], statuses: list[Frame]) -> None:
        """Durable frames and statuses of one commit, from here or from another process."""
        for frame in frames:
            self._keep(frame)
        self.last_seq = max(self.last_seq, seq)
        for status in statuses:
            for subscriber in self.subscribers:
                subscriber.send_later(status, after_seq=seq)
        self.wake()

    def deleted(self) -> None:
        """The session was deleted."""
        for subscriber in list(self.subscribers):
            subscriber.session_deleted()

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
        self.advance_to(last_seq)
        if last_seq >= self._looked_at:
            self._looked_at, self._unfinished = last_seq, frozenset(unfinished)
        if self.answer and self.has_ended(self.answer.turn_id, self.answer.seq):
            self.answer = None

    def forget(self, answer: Answer) -> None:
        """This process does not run the answer any more."""
        if self.answer is answer:
            self.answer = None

    def mark_active(self) -> None:
        """Somebody did something in this session."""
        self.active_at = time.monotonic()

    def text_appended(self) -> None:
        """The text of the running answer has become longer."""
        for subscriber in self.subscribers:
            subscriber.text_appended()

    def wake(self) -> None:
        for subscriber in self.subscribers:
            subscriber.wake()


class Hub:
    """The sessions that this process knows of; a topic lives as long as somebody holds it."""

    def __init__(self) -> None:
        self._topics: WeakValueDictionary[UUID, Topic] = WeakValueDictionary()

    def topic(self, session_id: UUID) -> Topic:
        """The topic of a session, made if there is none; hold it for as long as you need it."""
        found = self._topics.get(session_id)
        if found is None:
            found = self._topics[session_id] = Topic(session_id)
        return found

    def get(self, session_id: UUID) -> Topic | None:
        """The topic of a session, if somebody holds it."""
        return self._topics.get(session_id)

    def topics(self) -> list[Topic]:
        """All topics that somebody holds."""
        return list(self._topics.values())

    def subscribers(self) -> list[Subscriber]:
        """The connections of this process."""
        return [one for each in self.topics() for one in each.subscribers]

    def in_use(self) -> int:
        """How many sessions have a connection or a running turn here."""
        return sum(bool(each.subscribers or each.answer) for each in self.topics())

    def presence(self, session_id: UUID) -> Presence:
        """The connections of a session in this process."""
        mine = self.get(session_id)
        subscribers = list(mine.subscribers) if mine else []
        owners = [owner for each in subscribers if (owner := each.owner_without_row())]
        return Presence(len(subscribers), owners[0] if owners else None)
