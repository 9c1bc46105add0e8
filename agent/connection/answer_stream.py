"""What one connection was told of turns, and what of them comes too late or is next for it. Pure.

Between processes a message can be late, doubled or out of order, and what the database says can be
newer than all of them. What the client was told decides what it may still be told.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from uuid import UUID

from agent.live.hub import Answer, Frame, Group
from agent.protocol import server_frames

_ENDED_TURNS = 64
_STATUSES_OF_RUNS = ("queued", "thinking", "restarted")


class Told:
    """Of the turns of one session, for one connection.

    Args:
        group: of the session; it knows of ends that the connection was not told yet.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._answering: tuple[str, int] | None = None  # turn and attempt of the last `thinking`
        self._restarted: tuple[str, int] | None = None  # of the last `restarted`

    def end(self, turn: str) -> None:
        """The terminal frame of this turn was sent."""
        self._ended[turn] = None
        if len(self._ended) > _ENDED_TURNS:
            self._ended.popitem(last=False)

    def has_ended(self, turn_id: UUID, seq: int, cursor: int) -> bool:
        """Whether the client has the end of a turn that was alive at the message `seq`.

        Args:
            turn_id: of the turn.
            seq: a message at which it was alive.
            cursor: the newest message that the client has.
        """
        end = self._group.end_of(turn_id, seq)
        return str(turn_id) in self._ended or (end is not None and end <= cursor)

    def start_anew(self) -> None:
        """The running turn is told once more, as to somebody who knows nothing of it."""
        self._answering = None

    def begin(self, turn_id: UUID, attempt: int) -> bool:
        """Note that an attempt runs; False when the client knows of it or of a later one."""
        if self._knows(str(turn_id), attempt):
            return False
        self._answering = (str(turn_id), attempt)
        return True

    def is_answering(self, answer: Answer) -> bool:
        """Whether this attempt is the last one that the client knows to run."""
        return self._answering == (str(answer.turn_id), answer.attempt)

    def is_late(self, seq: int, frame: Frame, cursor: int) -> bool:
        """Whether a status that made sense after the message `seq` must not be sent any more."""
        if frame.get("status") not in _STATUSES_OF_RUNS:
            return False
        turn = frame["turn"]
        if self.has_ended(UUID(turn), seq, cursor):
            return True
        if frame["status"] == "queued":
            return self._knows(turn, 1)
        if frame["status"] == "restarted":
            told = (turn, frame["attempt"])
            late = self._knows(*told) or self._restarted == told
            self._restarted = told
            return late
        return False

    def _knows(self, turn: str, attempt: int) -> bool:
        known = self._answering
        return known is not None and known[0] == turn and known[1] >= attempt


#: The texts of an answer, in the order in which a client is sent what is new of them.
_TEXTS: tuple[tuple[str, Callable[..., server_frames.Piece]], ...] = (
    ("reasoning", server_frames.Reasoning),
    ("text", server_frames.Delta),
)


class Progress:
    """How much of the running attempt's texts one client has, and what it is sent next."""

    def __init__(self) -> None:
        self.begin()

    def begin(self, *, snapshots: bool = False) -> None:
        """The client has nothing yet.

        Args:
            snapshots: the first piece of each text is a snapshot: the client may hold older ones.
        """
        self._sent = {name: 0 for name, _ in _TEXTS}
        self._owed = {name for name, _ in _TEXTS if snapshots}

    def is_behind(self, answer: Answer) -> bool:
        """Whether there is text that the client does not have."""
        return any(len(getattr(answer, name)) > self._sent[name] for name, _ in _TEXTS)

    def pieces(self, answer: Answer) -> Iterator[Frame]:
        """What the client lacks, as one frame for each text; they count as sent."""
        for name, kind in _TEXTS:
            start = self._sent[name]
            if not (text := getattr(answer, name)[start:]):
                continue  # nothing new, or a copy of the text that begins anew
            self._sent[name] += len(text)
            snapshot = name in self._owed or None
            self._owed.discard(name)
            yield kind(
                turn=answer.turn_id,
                attempt=answer.attempt,
                first=start,
                index=start + len(text) - 1,
                content=text,
                snapshot=snapshot,
            ).frame()
