"""Decides the order in which the turns of a session start, and their positions in the queue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

from agent.models import Turn
from agent.protocol import server_frames

#: A waiting turn rises by one priority level after this many starts of other turns.
STARTS_PER_LEVEL = 4


class Waiting(Protocol):
    """The fields of a turn that decide its position in the queue."""

    number: int
    priority: int
    started_before: int


W = TypeVar("W", bound=Waiting)


def level(turn: Waiting, started: int) -> int:
    """Return the priority of a waiting turn after `started` starts in its session."""
    if turn.priority >= Turn.Priority.INTERRUPT:
        return turn.priority
    risen = (started - turn.started_before) // STARTS_PER_LEVEL
    return min(turn.priority + risen, int(Turn.Priority.HIGH))


def in_order(turns: Iterable[W], started: int) -> list[W]:
    """Sort waiting turns as they will start: interrupts (newest first), by level, then by age.

    A low turn is at the highest level after eight starts of other turns; from then on only older
    turns and interrupts start before it.
    """

    def sort_key(turn: W) -> tuple[int, int]:
        priority = level(turn, started)
        return -priority, -turn.number if priority >= Turn.Priority.INTERRUPT else turn.number

    return sorted(turns, key=sort_key)


@dataclass(slots=True)
class Queue:
    """The unfinished turns of a session whose row the caller has locked with `lock_and_number`."""

    running: Turn | None
    waiting: list[Turn]
    started: int

    @classmethod
    def of(cls, session_id: UUID, started: int) -> Queue:
        turns = list(Turn.objects.filter(session_id=session_id).exclude(state=Turn.State.ENDED))
        running = next((turn for turn in turns if turn.state == Turn.State.RUNNING), None)
        waiting = [turn for turn in turns if turn.state == Turn.State.QUEUED]
        return cls(running, in_order(waiting, started), started)

    def moved(self, *, add: Turn | None = None, remove: set[UUID], started: int) -> list[Any]:
        """Change the queue; returns a `queued` status for each turn whose position changed."""
        before = {turn.id: position for position, turn in enumerate(self.waiting, 1)}
        kept = [turn for turn in self.waiting if turn.id not in remove]
        self.started = started
        self.waiting = in_order([*kept, *([add] if add else [])], started)
        return [
            queued_status(turn, position)
            for position, turn in enumerate(self.waiting, 1)
            if before.get(turn.id) != position
        ]


def queued_status(turn: Turn, position: int) -> dict[str, Any]:
    ahead = "next" if position == 1 else f"position {position}"
    return server_frames.Status(
        status="queued",
        content=f"Waiting ({ahead})",
        ref=turn.ref or None,
        turn=turn.id,
        position=position,
    ).frame()
