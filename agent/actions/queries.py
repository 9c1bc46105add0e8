"""Accepts queries and retries, cancels turns, and closes sessions.

Each action is one transaction that starts by locking the session's row. It returns a change, which
its caller publishes after the reply to the sender. A frame whose id was used before starts no turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

from django.db import transaction

from agent.errors import Busy, Conflict, NotFound, QueueFull, SessionGone
from agent.models import Message, Session, Turn
from agent.protocol import client_frames, server_frames
from agent.store import db, turn_queue
from agent.store.queue_order import Queue
from agent.store.sequence import Change, Stop
from agent.store.turn_queue import Claimed, Lease, Outcome

from .handles import SessionHandle, as_uuid, lock_or_create, lock_stored, require_room

PRIORITIES = {
    "low": Turn.Priority.LOW,
    "normal": Turn.Priority.NORMAL,
    "high": Turn.Priority.HIGH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An accepted query or retry.

    Args:
        turn_id: the id of its turn.
        seq: the number of the query's frame.
        state: the turn's.
        change: to be published after the reply to the sender; None: the query was known already.
        claimed: the turn, if this process runs it at once.
    """

    turn_id: UUID
    seq: int
    state: str
    change: Change | None = None
    claimed: Claimed | None = None


async def accept_query(
    handle: SessionHandle, query: client_frames.Query, *, max_queue: int, lease: Lease | None
) -> Accepted:
    """Write a query and its turn; from then on it will be answered, whatever happens.

    Args:
        handle: the connection's session.
        query: the client's frame.
        max_queue: how many turns may wait in a session.
        lease: the lease under which this process runs the turn at once if no other is before it;
            None: the process has no room.

    Raises:
        Conflict: the query's id was used for something else.
        Busy, QueueFull, NotFound, TooLarge: as the protocol says; the id stays free.
    """
    return await db.transact(_accept, handle, query, max_queue, lease)


async def retry(
    handle: SessionHandle,
    command: client_frames.Retry,
    client_id: str | None,
    *,
    max_queue: int,
    lease: Lease | None,
) -> Accepted:
    """Write a new turn for the query of an ended turn; arguments and errors as `accept_query`."""
    return await db.transact(_retry, handle, command, client_id, max_queue, lease)


async def cancel(handle: SessionHandle, command: client_frames.Cancel) -> Change:
    """Cancel turns, which keep the text so far; a turn that has ended already is no error.

    Raises:
        NotFound: the session has no such turn or ref.
    """
    return await db.transact(_cancel, handle, command)


async def close(handle: SessionHandle) -> Change:
    """Cancel every turn of a session, and close it when they have ended."""
    return await db.transact(_close, handle)


def _accept(
    handle: SessionHandle, query: client_frames.Query, max_queue: int, lease: Lease | None
) -> Accepted:
    numbers = lock_or_create(handle, messages=1, enqueued=1, active=True, reopen=True)
    if query.id and (known := _known(handle.id, query.id)):
        transaction.set_rollback(True)  # frees the numbers
        return _same_query(known, query)
    require_room(numbers)
    queue = Queue.of(handle.id, numbers.started)
    _check_room(queue, max_queue, reject=query.on_busy == "reject")
    if query.replaces:
        _drop_from(handle.id, query.replaces, numbers.seq)
    turn = Turn(
        session_id=handle.id,
        query_id=uuid4(),
        ref=query.id or "",
        client_id=query.id,
        priority=PRIORITIES[query.priority],
    )
    frame = server_frames.QueryAccepted(
        id=turn.query_id,
        ref=query.id,
        turn=turn.id,
        replaces=query.replaces,
        content=query.content,
    )
    change = Change(handle.id, numbers.seq)
    if query.on_busy == "interrupt":
        turn.priority = Turn.Priority.INTERRUPT
        _ask_to_stop(change, queue.running, "interrupted")
    change.frames.append(Message.record(handle.id, numbers.seq, frame, turn_id=turn.id))
    claimed = turn_queue.enqueue(change, queue, turn, numbers, lease)
    return Accepted(
        turn_id=turn.id, seq=numbers.seq, state=turn.state, change=change, claimed=claimed
    )


def _known(session_id: UUID, client_id: str) -> Turn | None:
    rows = Turn.objects.select_related("query")
    return rows.filter(session_id=session_id, client_id=client_id).first()


def _same_query(known: Turn, query: client_frames.Query) -> Accepted:
    first = known.query
    same = first.content == query.content and first.data.get("replaces") == query.replaces
    if known.retry_of_id or not same:
        raise Conflict
    return Accepted(turn_id=known.id, seq=first.seq, state=known.state)


def _check_room(queue: Queue, max_queue: int, *, reject: bool) -> None:
    if reject and (queue.running or queue.waiting):
        raise Busy
    if len(queue.waiting) >= max_queue:
        raise QueueFull


def _drop_from(session_id: UUID, target: str, seq: int) -> None:
    """Drop the query that an edit replaces, and all queries after it."""
    queries = Message.objects.filter(session_id=session_id, type=Message.Type.QUERY)
    edited = queries.filter(id=as_uuid(target)).first()
    if edited is None:
        raise NotFound
    queries.filter(seq__gte=edited.seq, seq__lt=seq, dropped_seq=None).update(dropped_seq=seq)


def _retry(
    handle: SessionHandle,
    command: client_frames.Retry,
    client_id: str | None,
    max_queue: int,
    lease: Lease | None,
) -> Accepted:
    numbers = lock_stored(handle, enqueued=1, active=True, reopen=True)
    target = _turn(handle.id, command.turn)
    if client_id and (known := _known(handle.id, client_id)):
        transaction.set_rollback(True)
        if known.retry_of_id != target.id:
            raise Conflict
        return Accepted(turn_id=known.id, seq=known.query.seq, state=known.state)
    siblings = Turn.objects.filter(session_id=handle.id, query_id=target.query_id)
    if siblings.exclude(state=Turn.State.ENDED).exists():
        raise Busy
    require_room(numbers)
    queue = Queue.of(handle.id, numbers.started)
    _check_room(queue, max_queue, reject=False)
    turn = Turn(
        session_id=handle.id,
        query_id=target.query_id,
        ref=target.ref,
        client_id=client_id,
        retry_of=target,
        priority=min(target.priority, Turn.Priority.HIGH),
        context_after=target.context_after,
        context_until=target.context_until,
    )
    change = Change(handle.id, numbers.seq)
    claimed = turn_queue.enqueue(change, queue, turn, numbers, lease)
    return Accepted(
        turn_id=turn.id, seq=target.query.seq, state=turn.state, change=change, claimed=claimed
    )


def _turn(session_id: UUID, turn_id: str) -> Turn:
    rows = Turn.objects.select_related("query").filter(session_id=session_id)
    found = rows.filter(id=as_uuid(turn_id)).first()
    if found is None:
        raise NotFound
    return found


def _cancel(handle: SessionHandle, command: client_frames.Cancel) -> Change:
    try:
        numbers = lock_stored(handle, active=True)
    except SessionGone:
        raise
    except NotFound:
        if command.turn or command.ref:
            raise
        return Change(handle.id)
    queue = Queue.of(handle.id, numbers.started)
    change = Change(handle.id, numbers.seq)
    _stop_turns(change, queue, _targets(handle.id, queue, command))
    return change


def _targets(session_id: UUID, queue: Queue, command: client_frames.Cancel) -> set[UUID]:
    running = {queue.running.id} if queue.running else set()
    unfinished = running | {turn.id for turn in queue.waiting}
    if command.turn:
        return {_turn(session_id, command.turn).id} & unfinished
    if command.ref:
        same_ref = Turn.objects.filter(session_id=session_id, ref=command.ref)
        ids = list(same_ref.order_by("-number").values_list("id", flat=True))
        if not ids:
            raise NotFound
        return set([turn_id for turn_id in ids if turn_id in unfinished][:1])
    return unfinished if command.all else running


def _stop_turns(change: Change, queue: Queue, targets: set[UUID]) -> None:
    """End the waiting turns among the targets, and ask the running one to stop."""
    if queue.running and queue.running.id in targets:
        _ask_to_stop(change, queue.running, "cancelled")
    ended = [turn for turn in queue.waiting if turn.id in targets]
    for turn in ended:
        turn_queue.end(change, turn, Outcome(finish_reason="cancelled"))
    removed = {turn.id for turn in ended}
    change.statuses += queue.moved(remove=removed, started=queue.started)


def _ask_to_stop(change: Change, running: Turn | None, reason: str) -> None:
    if running and Turn.objects.filter(id=running.id, stop="").update(stop=reason):
        change.stops.append(Stop(running.id, running.worker, reason))


def _close(handle: SessionHandle) -> Change:
    try:
        numbers = lock_stored(handle)
    except SessionGone:
        raise
    except NotFound:  # the session has no row, so there is nothing to write
        return Change(handle.id, statuses=[server_frames.Closed.requested().frame()])
    queue = Queue.of(handle.id, numbers.started)
    running = {queue.running.id} if queue.running else set()
    change = Change(handle.id, numbers.seq)
    _stop_turns(change, queue, running | {turn.id for turn in queue.waiting})
    if running:
        Session.objects.filter(id=handle.id).update(closing=True)
    else:
        turn_queue.close(change, server_frames.Closed.requested())
    return change
