"""The sessions with a connection or a running turn in this process.

A `Topic` keeps the newest durable frames and the text of the running answer. Each connection reads
them at its own pace, so no connection needs a copy of frames that the topic or the database has. In
memory only: no I/O, no database, one event loop.
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
from agent.protocol.server_frames import TERMINAL_TYPES, size

_RECENT_FRAMES = 64
_RECENT_CHARS = 200_000
_ENDED_TURNS = 64

Frame = dict[str, Any]


@dataclass(slots=True)
class Answer:
    """The texts of a running turn, as far as this process has them.

    `worker` is the process that runs the turn, `seq` the session's newest message when it was
    claimed. For a turn of another process, `whole` is False until its first text has arrived: from
    then on, the texts have no gaps.
    """

    turn_id: UUID
    attempt: int
    ref: str
    worker: str
    seq: int
    text: str = ""
    whole: bool = False
    reasoning: str = ""  # the model's reasoning before it answers, if it is shown
    relayed: int = 0  # characters of `text` that were sent to other processes
    relayed_reasoning: int = 0


class Subscriber(Protocol):
    """One connection, as its topic sees it. Calls must return at once."""

    @property
    def access(self) -> Access:
        """The connected caller, and the credential that it showed."""

    def wake(self) -> None:
        """Send what is new: the topic has changed."""

    def text_appended(self) -> None:
        """Send new text of the running answer, when a delta is due."""

    def send_later(self, frame: Frame, after_seq: int = 0) -> None:
        """Send an ephemeral frame, not before the durable frame `after_seq`."""

    def session_deleted(self) -> None:
        """Close the connection, because its session was deleted."""

    def owner_without_row(self) -> Actor | None:
        """Return the session's owner as long as it has no row, else None."""

    def signed_out(self) -> None:
        """Close the connection, because its credential was revoked; send no more frames."""

    def send_away(self, retry_after: float) -> None:
        """Ask the client to reconnect in `retry_after` seconds: this process is draining."""


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
        self._ended: OrderedDict[str, int] = OrderedDict()  # turn to the seq of its end
        self._compared_at = 0  # the newest message when the unfinished turns were last read
        self._unfinished: frozenset[str] = frozenset()

    def recent(self, seq: int) -> Frame | None:
        """Return the durable frame `seq`, if it is still in memory."""
        return self._recent.get(seq)

    def advance_to(self, last_seq: int) -> None:
        """Record that the session has messages up to `last_seq`."""
        if last_seq > self.last_seq:
            self.last_seq = last_seq
            self.wake()

    def apply(self, seq: int, frames: list[Frame], statuses: list[Frame]) -> None:
        """Apply the durable frames and statuses of one commit, of any process."""
        for frame in frames:
            self._keep(frame)
        self.last_seq = max(self.last_seq, seq)
        for status in statuses:
            for subscriber in self.subscribers:
                subscriber.send_later(status, after_seq=seq)
        self.wake()

    def deleted(self) -> None:
        """Close every connection, because the session was deleted."""
        for subscriber in list(self.subscribers):
            subscriber.session_deleted()

    def _keep(self, frame: Frame) -> None:
        self.last_seq = max(self.last_seq, frame["seq"])
        if frame["type"] in TERMINAL_TYPES:
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
        """Whether a turn that was unfinished at the message `seq` has ended since, as is known."""
        return self.end_of(turn_id, seq) is not None

    def end_of(self, turn_id: UUID, seq: int) -> int | None:
        """Return a seq by which the turn has ended; None when it may still run."""
        turn = str(turn_id)
        if turn in self._ended:
            return self._ended[turn]
        had_ended = seq < self._compared_at and turn not in self._unfinished
        return self._compared_at if had_ended else None

    def begin(self, answer: Answer) -> Answer | None:
        """Return the answer of this attempt; None after a later attempt or the turn's end."""
        if self.has_ended(answer.turn_id, answer.seq):
            return None
        known = self.answer
        if known and known.turn_id != answer.turn_id and known.seq > answer.seq:
            return None  # a newer turn started, so the older one has ended
        if known is None or known.turn_id != answer.turn_id or known.attempt < answer.attempt:
            self.answer = answer
            self.last_seq = max(self.last_seq, answer.seq)
            return answer
        return known if known.attempt == answer.attempt else None

    def compare(self, last_seq: int, unfinished: Collection[str]) -> None:
        """Record which turns were unfinished when the newest message was `last_seq`.

        Messages of other processes may arrive late or never, as when Redis or this process froze.
        """
        self.advance_to(last_seq)
        if last_seq >= self._compared_at:
            self._compared_at, self._unfinished = last_seq, frozenset(unfinished)
        if self.answer and self.has_ended(self.answer.turn_id, self.answer.seq):
            self.answer = None

    def forget(self, answer: Answer) -> None:
        """Drop an answer that this process no longer runs."""
        if self.answer is answer:
            self.answer = None

    def mark_active(self) -> None:
        """Record activity of the session's user."""
        self.active_at = time.monotonic()

    def text_appended(self) -> None:
        """Wake the connections for which a delta is due."""
        for subscriber in self.subscribers:
            subscriber.text_appended()

    def wake(self) -> None:
        for subscriber in self.subscribers:
            subscriber.wake()


class Hub:
    """The topics of this process; a topic lives as long as there is a reference to it."""

    def __init__(self) -> None:
        self._topics: WeakValueDictionary[UUID, Topic] = WeakValueDictionary()

    def topic(self, session_id: UUID) -> Topic:
        """Return the topic of a session, a new one if there is none; keep a reference to it."""
        found = self._topics.get(session_id)
        if found is None:
            found = self._topics[session_id] = Topic(session_id)
        return found

    def get(self, session_id: UUID) -> Topic | None:
        """Return the topic of a session, if there is one."""
        return self._topics.get(session_id)

    def topics(self) -> list[Topic]:
        """Return all topics of this process."""
        return list(self._topics.values())

    def subscribers(self) -> list[Subscriber]:
        """Return the connections of this process."""
        return [subscriber for topic in self.topics() for subscriber in topic.subscribers]

    def in_use(self) -> int:
        """Return how many sessions have a connection or a running turn here."""
        return sum(bool(each.subscribers or each.answer) for each in self.topics())

    def presence(self, session_id: UUID) -> Presence:
        """Count the connections of a session in this process."""
        topic = self.get(session_id)
        subscribers = list(topic.subscribers) if topic else []
        owners = [owner for each in subscribers if (owner := each.owner_without_row())]
        return Presence(len(subscribers), owners[0] if owners else None)
