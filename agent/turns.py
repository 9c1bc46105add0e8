"""The queue: turns wait, are claimed, renewed, handed back and ended, each by compare-and-swap.

Every function runs inside a transaction of its caller and talks to no one but the database. What
it wrote comes back in a `Change`, which the caller publishes after the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from . import protocol
from .errors import AgentError, InternalError, NotFound
from .models import Change, Message, Numbers, Session, Turn, advance

MAX_ATTEMPTS = 3
#: Starts of other turns after which a waiting one rises by one priority level.
STARTS_PER_LEVEL = 4
#: How long a turn waits for the process that accepted it before others take it.
HANDOVER = timedelta(seconds=2)

_EXPIRED = Q(state=Turn.State.RUNNING, lease_until__lt=Now())


@dataclass(frozen=True, slots=True)
class Claimed:
    """A turn that this process runs. `attempt` is the fencing token of all that it writes."""

    session_id: UUID
    turn_id: UUID
    query_id: UUID
    ref: str
    attempt: int
    context_after: int
    context_until: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended: with a response (`finish_reason`) or an error. None is unknown."""

    text: str = ""
    finish_reason: str = ""
    error: AgentError | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: Decimal | None = None
    first_token_ms: int | None = None


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
    return protocol.Status(
        status="queued",
        content=f"Waiting ({ahead})",
        ref=turn.ref or None,
        turn=turn.id,
        position=position,
    ).frame()


def enqueue(
    change: Change, queue: Queue, turn: Turn, numbers: Numbers, start: Lease | None
) -> Claimed | None:
    """Add a new turn to the queue; returns it as claimed when it starts at once.

    Args:
        change: gets the `queued` statuses.
        queue: of the turn's session, locked.
        turn: not saved yet; gets its number here.
        numbers: drawn with `enqueued=1`.
        start: the lease under which this process would run it now, if it has room.
    """
    turn.number = numbers.enqueued
    turn.started_before = numbers.started
    if start and not queue.running and not queue.waiting:
        _take(turn, start, advance(turn.session_id, started=1))
        turn.save(force_insert=True)
        return _claimed(turn)
    turn.save(force_insert=True)
    change.statuses += queue.moved(add=turn, remove=set(), started=numbers.started)
    return None


@dataclass(frozen=True, slots=True)
class Lease:
    """By whom and for how long turns are claimed."""

    worker: str
    seconds: float

    def until(self) -> Any:
        return Now() + timedelta(seconds=self.seconds)


def claim(
    session_id: UUID, lease: Lease, *, skip_locked: bool = False
) -> tuple[Claimed | None, Change]:
    """Claim the turn of a session that is to run now: an abandoned one, else the next waiting.

    An abandoned turn that was asked to stop, or was tried often enough, is ended instead.

    Args:
        session_id: of the session.
        lease: of the process that claims.
        skip_locked: give up when another process holds the session (PostgreSQL).
    """
    change = Change(session_id)
    if skip_locked and _locked_elsewhere(session_id):
        return None, change
    try:
        numbers = advance(session_id)
    except NotFound:
        return None, change
    change.seq = numbers.seq
    queue = Queue.of(session_id, numbers.started)
    if queue.running:
        abandoned = Turn.objects.filter(_EXPIRED, id=queue.running.id).exists()
        if not abandoned:
            return None, change
        if not queue.running.stop and queue.running.attempt < MAX_ATTEMPTS:
            return _restart(change, queue.running, lease), change
        _give_up(change, queue.running)
        queue.running = None
    if not queue.waiting:
        return None, change
    return _start(change, queue, lease), change


def _locked_elsewhere(session_id: UUID) -> bool:
    if not connection.features.has_select_for_update_skip_locked:
        return False
    rows = Session.objects.select_for_update(skip_locked=True, of=("self",))
    return not rows.filter(id=session_id).exists()


def _start(change: Change, queue: Queue, lease: Lease) -> Claimed:
    turn = queue.waiting[0]
    numbers = advance(turn.session_id, started=1)
    _take(turn, lease, numbers)
    turn.save()
    change.statuses += queue.moved(remove={turn.id}, started=numbers.started)
    return _claimed(turn)


def _restart(change: Change, turn: Turn, lease: Lease) -> Claimed:
    turn.attempt += 1
    turn.worker, turn.lease_until = lease.worker, lease.until()
    turn.save(update_fields=("attempt", "worker", "lease_until"))
    change.statuses.append(
        protocol.Status(
            status="restarted",
            content="The server was interrupted; the answer starts again.",
            ref=turn.ref or None,
            turn=turn.id,
            attempt=turn.attempt,
        ).frame()
    )
    return _claimed(turn)


def _give_up(change: Change, turn: Turn) -> None:
    if turn.stop:
        outcome = Outcome(finish_reason=turn.stop)
    else:
        outcome = Outcome(error=InternalError("The answer could not be finished. Try again."))
    end(change, turn, outcome)


def _take(turn: Turn, lease: Lease, numbers: Numbers) -> None:
    turn.state, turn.attempt = Turn.State.RUNNING, turn.attempt + 1
    turn.worker, turn.lease_until = lease.worker, lease.until()
    turn.started_at = Now()
    if turn.context_until is None:  # a retry brings what its query saw
        turn.context_after, turn.context_until = numbers.cleared_seq, numbers.seq


def _claimed(turn: Turn) -> Claimed:
    return Claimed(
        session_id=turn.session_id,
        turn_id=turn.id,
        query_id=turn.query_id,
        ref=turn.ref,
        attempt=turn.attempt,
        context_after=turn.context_after or 0,
        context_until=turn.context_until or 0,
    )


def renew(lease: Lease, held: Mapping[UUID, int]) -> dict[UUID, str]:
    """Renew the leases of the turns `held` (id to attempt) in one statement.

    Returns:
        for each turn that this process still has, why it shall stop, or an empty text.
    """
    mine = Turn.objects.filter(worker=lease.worker, state=Turn.State.RUNNING, id__in=list(held))
    mine.update(lease_until=lease.until())
    return {
        turn_id: stop
        for turn_id, attempt, stop in mine.values_list("id", "attempt", "stop")
        if held[turn_id] == attempt
    }


def hand_back(worker: str) -> int:
    """Let the leases of a process that goes down end now; returns how many there were."""
    mine = Turn.objects.filter(worker=worker, state=Turn.State.RUNNING)
    return mine.update(lease_until=Now() - timedelta(seconds=1))


def due(limit: int) -> list[UUID]:
    """Sessions with a turn that its process left behind, or that waited too long for one."""
    live = Turn.objects.filter(
        session=OuterRef("session"), state=Turn.State.RUNNING, lease_until__gte=Now()
    )
    rows = (
        Turn.objects.exclude(state=Turn.State.ENDED)
        .filter(_EXPIRED | Q(state=Turn.State.QUEUED, created_at__lt=Now() - HANDOVER))
        .exclude(Exists(live))
        .order_by("created_at")
        .values_list("session_id", flat=True)[: limit * 2]
    )
    return list(dict.fromkeys(rows))[:limit]


def finish(claimed: Claimed, outcome: Outcome) -> tuple[Change, bool] | None:
    """End a turn that this process ran.

    Returns:
        the change, and whether others of the session wait; None when the turn is no longer
        this attempt's (or the session is gone): then nothing was written.
    """
    change = Change(claimed.session_id)
    turn = Turn(
        id=claimed.turn_id,
        session_id=claimed.session_id,
        query_id=claimed.query_id,
        ref=claimed.ref,
        attempt=claimed.attempt,
        state=Turn.State.RUNNING,
    )
    try:
        if not end(change, turn, outcome):
            transaction.set_rollback(True)
            return None
    except NotFound:
        return None
    waits = Turn.objects.filter(session_id=claimed.session_id, state=Turn.State.QUEUED).exists()
    return change, waits


def end(change: Change, turn: Turn, outcome: Outcome) -> bool:
    """Write a turn's one end, if it still has the state and attempt of `turn`.

    Returns False, with a number drawn in vain, when it has not: roll back.
    """
    numbers = advance(turn.session_id, messages=1)
    rows = Turn.objects.filter(id=turn.id, state=turn.state, attempt=turn.attempt).update(
        state=Turn.State.ENDED,
        ended_at=Now(),
        finish_reason=outcome.finish_reason,
        error_code=outcome.error.code if outcome.error else "",
        model=outcome.model or "",
        prompt_tokens=outcome.prompt_tokens,
        completion_tokens=outcome.completion_tokens,
        cost=outcome.cost,
        first_token_ms=outcome.first_token_ms,
    )
    if rows != 1:
        return False
    partial = outcome.text if outcome.error else ""
    change.frames.append(
        Message.record(
            turn.session_id,
            numbers.seq,
            _terminal(turn, outcome),
            turn_id=turn.id,
            partial=partial,
        )
    )
    change.seq = numbers.seq
    Message.objects.filter(id=turn.query_id, ended_seq=None).update(ended_seq=numbers.seq)
    if numbers.closing:
        close_when_idle(change)
    return True


def _terminal(turn: Turn, outcome: Outcome) -> protocol.ServerFrame:
    usage = protocol.Usage(
        prompt_tokens=outcome.prompt_tokens,
        completion_tokens=outcome.completion_tokens,
        cost=None if outcome.cost is None else float(outcome.cost),
    )
    shared: dict[str, Any] = {
        "id": uuid4(),
        "turn": turn.id,
        "ref": turn.ref or None,
        "model": outcome.model,
        "usage": usage,
    }
    if outcome.error:
        return protocol.Error.of(outcome.error, **shared)
    return protocol.Response(**shared, finish_reason=outcome.finish_reason, content=outcome.text)


def close_when_idle(change: Change) -> None:
    """Close a session that was asked to close, when its last turn has ended."""
    unfinished = Turn.objects.filter(session_id=change.session_id).exclude(state=Turn.State.ENDED)
    if not unfinished.exists():
        close(change, "Session closed", reason="requested")


def close(change: Change, words: str, *, reason: str) -> None:
    """Close a session: its last frame for now, after which every connection is closed.

    Args:
        change: gets the notification.
        words: what it says.
        reason: "requested" or "timeout".
    """
    numbers = advance(change.session_id, messages=1)
    notification = protocol.Notification(event="closed", content=words, reason=reason)
    change.frames.append(Message.record(change.session_id, numbers.seq, notification))
    change.seq = numbers.seq
    Session.objects.filter(id=change.session_id).update(closed_at=Now(), closing=False)
