"""A connection's actions on its session: snapshot, replay, rename, clear, feedback."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction

from agent.errors import NotFound, SessionGone
from agent.models import Feedback, Message, Session
from agent.protocol import client_frames, server_frames
from agent.store import db, replay
from agent.store.replay import SessionSnapshot
from agent.store.sequence import Change, Numbers

from .handles import SessionHandle, as_uuid, lock_or_create, lock_stored, require_room


async def snapshot(handle: SessionHandle) -> SessionSnapshot:
    """Return the newest seq and the unfinished turns of a session, at one moment.

    Raises:
        SessionGone: the session was deleted.
    """
    stored = handle.stored  # before the read: the first query may write the row meanwhile
    found = await db.read(replay.snapshot, handle.id)
    if found is None and stored:
        raise SessionGone
    return found or SessionSnapshot(0, [], None)


async def is_closed(session_id: UUID) -> bool:
    """Whether a session was closed and not opened again by a query."""
    rows = Session.objects.filter(id=session_id, closed_at__isnull=False)
    return await db.read(rows.exists)


async def frames_after(session_id: UUID, seq: int) -> list[dict[str, Any]]:
    """Return the next page of durable frames after `seq`, oldest first; empty at the end."""
    return await db.read(replay.after, session_id, seq)


async def history(handle: SessionHandle, before: int | None, limit: int) -> tuple[list[Any], bool]:
    """Return up to `limit` durable frames before `before`, oldest first; whether there are more."""
    return await db.read(replay.before, handle.id, before, limit)


async def rename(handle: SessionHandle, title: str) -> None:
    """Set the session's title; writes nothing when it has that title already.

    Raises:
        SessionGone: the session was deleted.
        TooLarge: the session is full.
    """

    def write() -> Change:
        numbers = lock_or_create(handle, messages=1, active=True)
        if not Session.objects.filter(id=handle.id).exclude(title=title).update(title=title):
            return _nothing(handle)
        require_room(numbers)
        return _recorded(handle, numbers, server_frames.Renamed.to(title))

    handle.live.publish(await db.transact(write))


async def clear(handle: SessionHandle) -> None:
    """Hide all earlier messages from the model; the transcript keeps them.

    Writes nothing when there are no messages since the last `clear`.

    Raises:
        SessionGone: the session was deleted.
        TooLarge: the session is full.
    """

    def write() -> Change:
        numbers = lock_or_create(handle, messages=1, active=True)
        if numbers.cleared_seq and numbers.cleared_seq == numbers.seq - 1:
            return _nothing(handle)
        require_room(numbers)
        Session.objects.filter(id=handle.id).update(cleared_seq=numbers.seq)
        return _recorded(handle, numbers, server_frames.Cleared())

    handle.live.publish(await db.transact(write))


async def give_feedback(
    handle: SessionHandle, feedback: client_frames.HumanFeedback
) -> server_frames.Feedback | None:
    """Store a caller's feedback on a response; a rating of None withdraws it.

    Returns:
        a reply for the sender alone when the feedback changes nothing, so that nothing is written
        or published; else None.

    Raises:
        NotFound: the target is no response of this session.
        TooLarge: the session is full.
    """

    def write() -> tuple[Change, server_frames.Feedback | None]:
        numbers = lock_stored(handle, messages=1, active=True)
        target = _response(handle.id, feedback.target)
        frame = server_frames.Feedback(
            target=target.id,
            rating=feedback.rating,
            ref=feedback.id,
            content=feedback.content or "",
        )
        if not _changes(target, handle.actor.key, feedback.rating, feedback.content or ""):
            return _nothing(handle), frame
        require_room(numbers)
        return _recorded(handle, numbers, frame), None

    change, answer = await db.transact(write)
    handle.live.publish(change)
    return answer


def _changes(target: Message, caller: str, rating: str | None, comment: str) -> bool:
    """Write a caller's feedback; returns whether it differs from the feedback before."""
    rows = Feedback.objects.filter(message=target, caller=caller)
    if rating is None:
        return bool(rows.delete()[0])
    if rows.filter(rating=rating, comment=comment).exists():
        return False
    Feedback.objects.update_or_create(
        {"rating": rating, "comment": comment}, message=target, caller=caller
    )
    return True


def _nothing(handle: SessionHandle) -> Change:
    """Roll back a transaction that has nothing to write, so that its numbers are free again."""
    transaction.set_rollback(True)
    return Change(handle.id)


def _response(session_id: UUID, target: str | None) -> Message:
    """Return the response with this id, or the latest one."""
    rows = Message.objects.filter(session_id=session_id, type=Message.Type.RESPONSE)
    if target is not None:
        rows = rows.filter(id=as_uuid(target))
    found = rows.order_by("-seq").first()
    if found is None:
        raise NotFound
    return found


def _recorded(handle: SessionHandle, numbers: Numbers, frame: server_frames.ServerFrame) -> Change:
    return Change(handle.id, numbers.seq, [Message.record(handle.id, numbers.seq, frame)])
