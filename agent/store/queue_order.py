"""The order in which the turns of a session start, and their positions in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

from agent.models import Turn
from agent.protocol import server_frames

#: Starts of other turns after which a waiting one rises by one priority level.
STARTS_PER_LEVEL = 4


class Waiting(Protocol):
    """What a turn's place in the queue depends on."""

    number: int
    priority: int
    started_before: int


W = TypeVar("W", bound=Waiting)


def level(turn: Waiting, started: int) -> int:
    """The priority that a waiting turn has after `started` starts of its session."""
    if turn.priority >= Turn.Priority.INTERRUPT:
        return turn.priority
    risen = (started - turn.started_before) // STARTS_PER_LEVEL
    return min(turn.priority + risen, int(Turn.Priority.HIGH))


def in_order(turns: Iterable[W], started: int) -> list[W]:
    """Waiting turns as they will start: interrupts (newest first), then by level, then by age.

    A low turn is at the highest level after eight starts of others; from then on only older ones
    and interrupts start before it.
    """

    def place(turn: W) -> tuple[int, int]:
        at = level(turn, started)
        return -at, -turn.number if at >= Turn.Priority.INTERRUPT else turn.number

    return sorted(turns, key=place)


@dataclass(slots=True)
class Queue:
    """The unfinished turns of a session whose row the caller has locked with `advance`."""

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
        before = {turn.id: place for place, turn in enumerate(self.waiting, 1)}
        kept = [turn for turn in self.waiting if turn.id not in remove]
        self.started = started
        self.waiting = in_order([*kept, *([add] if add else [])], started)
        return [
            queued_status(turn, place)
            for place, turn in enumerate(self.waiting, 1)
            if before.get(turn.id) != place
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
