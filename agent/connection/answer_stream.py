"""Decides which frames of running answers are too late for a client, and which text is next. Pure.

A message between processes can be late, doubled or out of order, and the database can be newer than
all messages. The frames that the client was sent decide which ones it may still be sent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from uuid import UUID

from agent.live.hub import Answer, Frame, Topic
from agent.protocol import server_frames

#: The shortest time between two deltas of a connection.
DELTA_SECONDS = 0.03
_ENDED_TURNS = 64
_STATUSES_OF_RUNS = ("queued", "thinking", "restarted")
#: The texts of an answer, in the order in which their new parts are sent.
_TEXTS: tuple[tuple[str, Callable[..., server_frames.Piece]], ...] = (
    ("reasoning", server_frames.Reasoning),
    ("text", server_frames.Delta),
)


class AnswerStream:
    """The turns of one session, as one client knows them.

    Args:
        topic: the session's; it knows ends of turns that the client was not sent yet.
    """

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._newest: tuple[str, int] | None = None  # the turn and attempt that the client knows
        self._is_answering = False  # the client got `thinking` of the attempt, not just `restarted`
        self._next_delta_at = 0.0
        self._begin_texts()

    def end(self, turn: str) -> None:
        """Record that the terminal frame of this turn was sent."""
        self._ended[turn] = None
        if len(self._ended) > _ENDED_TURNS:
            self._ended.popitem(last=False)

    def has_ended(self, turn_id: UUID, seq: int, cursor: int) -> bool:
        """Whether the client has the end of a turn that was unfinished at the message `seq`.

        Args:
            turn_id: the turn.
            seq: a message at which the turn was unfinished.
            cursor: the newest message that the client has.
        """
        end = self._topic.end_of(turn_id, seq)
        return str(turn_id) in self._ended or (end is not None and end <= cursor)

    def begin(self, turn_id: UUID, attempt: int) -> bool:
        """Record that an attempt runs; returns False if the client knows it or a later one."""
        known = self._known_attempt(str(turn_id))
        if attempt < known or (attempt == known and self._is_answering):
            return False
        self._newest, self._is_answering = (str(turn_id), attempt), True
        self._begin_texts()
        return True

    def begin_replay(self, turn_id: UUID, attempt: int) -> None:
        """Record that an attempt runs whose texts are sent again, beginning with a snapshot."""
        self._newest, self._is_answering = (str(turn_id), attempt), True
        self._begin_texts(snapshots=True)

    def is_answering(self, answer: Answer) -> bool:
        """Whether this attempt is the one that the client knows as running."""
        return self._is_answering and self._newest == (str(answer.turn_id), answer.attempt)

    def is_late(self, seq: int, frame: Frame, cursor: int) -> bool:
        """Whether it is too late for a status that belongs after the message `seq`."""
        if frame.get("status") not in _STATUSES_OF_RUNS:
            return False
        turn = frame["turn"]
        if self.has_ended(UUID(turn), seq, cursor):
            return True
        if frame["status"] == "queued":
            return self._known_attempt(turn) > 0
        if frame["status"] == "restarted":
            if self._known_attempt(turn) >= frame["attempt"]:
                return True
            # text of the attempt before it may still come, and must not be sent
            self._newest, self._is_answering = (turn, frame["attempt"]), False
        return False

    def _known_attempt(self, turn: str) -> int:
        return self._newest[1] if self._newest and self._newest[0] == turn else 0

    # the texts of the running attempt

    def _begin_texts(self, *, snapshots: bool = False) -> None:
        self._sent = {name: 0 for name, _ in _TEXTS}
        self._needs_snapshot = {name for name, _ in _TEXTS if snapshots}

    def is_behind(self, answer: Answer) -> bool:
        """Whether the answer has text that the client was not sent."""
        return any(len(getattr(answer, name)) > self._sent[name] for name, _ in _TEXTS)

    def seconds_until_due(self, now: float) -> float:
        """Return how long to wait before the next piece; 0 or less: send it now."""
        return self._next_delta_at - now

    def pieces(self, answer: Answer, now: float) -> Iterator[Frame]:
        """Yield the text that the client lacks, in one frame for each kind; it counts as sent."""
        self._next_delta_at = now + DELTA_SECONDS
        for name, kind in _TEXTS:
            start = self._sent[name]
            if not (text := getattr(answer, name)[start:]):
                continue  # nothing new, or this process's copy of the text is still shorter
            self._sent[name] += len(text)
            snapshot = name in self._needs_snapshot or None
            self._needs_snapshot.discard(name)
            yield kind(
                turn=answer.turn_id,
                attempt=answer.attempt,
                first=start,
                index=start + len(text) - 1,
                content=text,
                snapshot=snapshot,
            ).frame()
