"""The queue of turns: enqueues, claims, renews, hands back and ends them, by compare-and-swap.

Every function runs inside its caller's transaction, and uses nothing but the database. It reports
its writes in a `Change`, which the caller publishes after the commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import structlog
from django.db import connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Q

from agent.errors import AgentError, InternalError, NotFound
from agent.models import Message, Session, Turn
from agent.protocol import server_frames
from agent.provider.decoder import Source

from .clock import Now
from .queue_order import Queue
from .sequence import Change, Numbers, lock_and_number

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 3
#: How long a turn waits for the process that accepted it, before other processes claim it.
HANDOVER = timedelta(seconds=2)

_EXPIRED = Q(state=Turn.State.RUNNING, lease_until__lt=Now())


@dataclass(frozen=True, slots=True)
class Claimed:
    """A turn that this process runs. `attempt` is the fencing token of all its writes."""

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
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_ms: int | None = None  # from the first reasoning to the first text, or to the end
    reasoning: str = ""  # as far as it is stored
    sources: Sequence[Source] = ()


def enqueue(
    change: Change, queue: Queue, turn: Turn, numbers: Numbers, start: Lease | None
) -> Claimed | None:
    """Add a new turn to the queue; returns the claimed turn when it starts at once.

    Args:
        change: receives the `queued` statuses.
        queue: the queue of the turn's session, which is locked.
        turn: not saved yet; it gets its number here.
        numbers: from `lock_and_number` with `enqueued=1`.
        start: the lease under which this process runs the turn now, if it has room.
    """
    turn.number = numbers.enqueued
    turn.started_before = numbers.started
    if start and not queue.running and not queue.waiting:
        _mark_running(turn, start, lock_and_number(turn.session_id, started=1))
        turn.save(force_insert=True)
        return _claimed(turn)
    turn.save(force_insert=True)
    change.statuses += queue.moved(add=turn, remove=set(), started=numbers.started)
    return None


@dataclass(frozen=True, slots=True)
class Lease:
    """The process that claims turns, and for how long."""

    worker: str
    seconds: float

    def until(self) -> Any:
        """Return the end of a lease that begins now, by the database's clock."""
        return Now() + timedelta(seconds=self.seconds)


def claim(
    session_id: UUID,
    lease: Lease,
    *,
    leased: Mapping[UUID, int] = MappingProxyType({}),
    doubtful: bool = False,
    skip_locked: bool = False,
) -> tuple[Claimed | None, Change]:
    """Claim the session's turn that should run now: an abandoned one, else the next waiting one.

    An abandoned turn that was cancelled, or whose process died `MAX_ATTEMPTS` times, is ended.

    Args:
        session_id: the session.
        lease: the lease of the process that claims.
        leased: the turns that run in it, with their attempts; it does not claim them again.
        doubtful: the process may have claimed a turn of this session without knowing.
        skip_locked: give up when another process has locked the session (PostgreSQL).

    Returns:
        the claimed turn, if any, and the change.
    """
    change = Change(session_id)
    if skip_locked and _locked_elsewhere(session_id):
        return None, change
    try:
        numbers = lock_and_number(session_id)
    except NotFound:
        return None, change
    change.seq = numbers.seq
    queue = Queue.of(session_id, numbers.started)
    if queue.running:
        if not _is_abandoned(queue.running, lease, leased, doubtful=doubtful):
            return None, change
        if not queue.running.stop and _attempts_that_died(queue.running) < MAX_ATTEMPTS:
            return _retry(change, queue.running, lease), change
        _give_up(change, queue.running)
        queue.running = None
    if not queue.waiting:
        return None, change
    return _start(change, queue, lease), change


def _is_abandoned(turn: Turn, lease: Lease, leased: Mapping[UUID, int], *, doubtful: bool) -> bool:
    """Whether no process runs a turn that is marked as running, as far as this process knows."""
    is_ours = turn.worker == lease.worker
    expired = Turn.objects.filter(_EXPIRED, id=turn.id)
    if is_ours and leased.get(turn.id) == turn.attempt:  # the clock jumped, or this process slept
        expired.update(lease_until=lease.until())
        return False
    return (is_ours and doubtful) or expired.exists()


def _locked_elsewhere(session_id: UUID) -> bool:
    if not connection.features.has_select_for_update_skip_locked:
        return False
    rows = Session.objects.select_for_update(skip_locked=True, of=("self",))
    return not rows.filter(id=session_id).exists()


def _start(change: Change, queue: Queue, lease: Lease) -> Claimed:
    turn = queue.waiting[0]
    numbers = lock_and_number(turn.session_id, started=1)
    _mark_running(turn, lease, numbers)
    turn.save()
    change.statuses += queue.moved(remove={turn.id}, started=numbers.started)
    return _claimed(turn)


def _retry(change: Change, turn: Turn, lease: Lease) -> Claimed:
    turn.attempt += 1
    turn.worker, turn.lease_until = lease.worker, lease.until()
    turn.save(update_fields=("attempt", "worker", "lease_until"))
    change.statuses.append(
        server_frames.Status(
            status="restarted",
            content="The server was interrupted; the answer starts again.",
            ref=turn.ref or None,
            turn=turn.id,
            attempt=turn.attempt,
        ).frame()
    )
    return _claimed(turn)


def _attempts_that_died(turn: Turn) -> int:
    """Return the attempts whose process died.

    Attempts that were handed back do not count: a deployment of many processes may hand a long
    answer back more than three times.
    """
    return turn.attempt - turn.handed_back


def _give_up(change: Change, turn: Turn) -> None:
    if turn.stop:
        outcome = Outcome(finish_reason=turn.stop)
    else:
        error = InternalError("The answer could not be finished. Try again.")
        names = {"session": str(turn.session_id), "turn": str(turn.id)}
        log.error("turn given up", incident=error.incident, attempt=turn.attempt, **names)
        outcome = Outcome(error=error)
    end(change, turn, outcome)


def _mark_running(turn: Turn, lease: Lease, numbers: Numbers) -> None:
    turn.state, turn.attempt = Turn.State.RUNNING, turn.attempt + 1
    turn.worker, turn.lease_until = lease.worker, lease.until()
    turn.started_at = Now()
    if turn.context_until is None:  # a retry has the context of its first turn
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


def renew(lease: Lease, leased: Mapping[UUID, int]) -> dict[UUID, str]:
    """Renew the leases of the turns `leased` (id to attempt) together.

    Returns:
        for each turn that this process still has, the reason to cancel it, or an empty text.
    """
    ours = Turn.objects.filter(worker=lease.worker, state=Turn.State.RUNNING, id__in=list(leased))
    unlocked = ours
    if connection.features.has_select_for_update_skip_locked:
        # a turn that is locked, perhaps for long, is renewed the next time and delays no other
        ids = ours.select_for_update(skip_locked=True).values_list("id", flat=True)
        unlocked = Turn.objects.filter(id__in=list(ids))
    unlocked.update(lease_until=lease.until())
    return {
        turn_id: stop
        for turn_id, attempt, stop in ours.values_list("id", "attempt", "stop")
        if leased[turn_id] == attempt
    }


def hand_back(worker: str) -> int:
    """End the leases of a draining process now; returns how many it had.

    Such an attempt does not count towards `MAX_ATTEMPTS`.
    """
    ours = Turn.objects.filter(worker=worker, state=Turn.State.RUNNING)
    return ours.update(
        worker="",  # so that a renewal that is under way does not find them
        lease_until=Now() - timedelta(seconds=1),
        handed_back=F("handed_back") + 1,
    )


def due(limit: int) -> list[UUID]:
    """Return sessions with a turn whose lease expired, or that waited too long for its process."""
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


def count_unfinished() -> dict[str, int]:
    """Return how many turns run and wait, over all sessions and processes."""
    states = Turn.objects.exclude(state=Turn.State.ENDED).values_list("state")
    found = dict(states.annotate(Count("pk")))
    return {state: found.get(state, 0) for state in (Turn.State.QUEUED, Turn.State.RUNNING)}


def finish(claimed: Claimed, outcome: Outcome) -> tuple[Change, bool] | None:
    """End a turn that this process ran.

    Returns:
        the change, and whether other turns of the session wait; None when the turn is no longer
        this attempt's, or the session was deleted: then nothing was written.
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
    """Write a turn's only end, if its row still has the state and attempt of `turn`.

    The end counts as activity of the session. Returns False when the row has changed: the caller
    then rolls back, because a number was taken for nothing.
    """
    numbers = lock_and_number(turn.session_id, messages=1, active=True)
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
        reasoning_ms=outcome.reasoning_ms,
        reasoning_tokens=outcome.reasoning_tokens,
        cached_tokens=outcome.cached_tokens,
        provider_status=_status_of(outcome.error),
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
            reasoning=outcome.reasoning or None,
        )
    )
    change.seq = numbers.seq
    Message.objects.filter(id=turn.query_id, ended_seq=None).update(ended_seq=numbers.seq)
    if numbers.closing:
        close_when_idle(change)
    return True


def _status_of(error: AgentError | None) -> int | None:
    """Return the HTTP status of a provider's error; None for a number that is no HTTP status."""
    status = error.status if error else None
    return status if status is not None and 100 <= status < 600 else None


def _terminal(turn: Turn, outcome: Outcome) -> server_frames.ServerFrame:
    usage = server_frames.Usage(
        prompt_tokens=outcome.prompt_tokens,
        completion_tokens=outcome.completion_tokens,
        cost=None if outcome.cost is None else float(outcome.cost),
        reasoning_tokens=outcome.reasoning_tokens,
        cached_tokens=outcome.cached_tokens,
    )
    reasoned = outcome.reasoning_ms is not None or outcome.reasoning_tokens
    shared: dict[str, Any] = {
        "id": uuid4(),
        "turn": turn.id,
        "ref": turn.ref or None,
        "model": outcome.model,
        "usage": usage,
        "reasoning": server_frames.Reasoned(
            ms=outcome.reasoning_ms, tokens=outcome.reasoning_tokens
        )
        if reasoned
        else None,
    }
    if outcome.error:
        return server_frames.Error.of(outcome.error, **shared)
    sources = [server_frames.Source(url=each.url, title=each.title) for each in outcome.sources]
    return server_frames.Response(
        **shared,
        finish_reason=outcome.finish_reason,
        sources=sources or None,
        content=outcome.text,
    )


def close_when_idle(change: Change) -> None:
    """Close a session that is closing, if its last turn has ended."""
    unfinished = Turn.objects.filter(session_id=change.session_id).exclude(state=Turn.State.ENDED)
    if not unfinished.exists():
        close(change, server_frames.Closed.requested())


def close(change: Change, notification: server_frames.Closed) -> None:
    """Close a session with a last durable frame, after which every connection is closed.

    Args:
        change: receives the notification.
        notification: says why the session is closed.
    """
    numbers = lock_and_number(change.session_id, messages=1)
    change.frames.append(Message.record(change.session_id, numbers.seq, notification))
    change.seq = numbers.seq
    Session.objects.filter(id=change.session_id).update(closed_at=Now(), closing=False)
