"""Sessions as their connections use them: open, look, replay, close when idle, delete when old."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4
from weakref import WeakValueDictionary

from django.db import transaction

from agent.actor import Actor
from agent.conf import conf
from agent.errors import NotFound, SessionGone, TooLarge
from agent.live import publish
from agent.live.hub import topic
from agent.models import Feedback, Message, Session, Turn
from agent.protocol import client_frames, server_frames
from agent.store import db, pages
from agent.store.db import Now
from agent.store.queue_order import Queue
from agent.store.sequence import Change, Numbers, lock_and_number

#: Activity without a message is noted no more often than this, nor 20 times within the timeout.
_TOUCH_SECONDS = 15.0


class SessionHandle:
    """A session as a connection holds it. `stored` tells whether it has a row."""

    __slots__ = ("__weakref__", "actor", "id", "stored")

    def __init__(self, session_id: UUID, actor: Actor, *, stored: bool) -> None:
        self.id, self.actor, self.stored = session_id, actor, stored


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """A session at one moment."""

    last_seq: int
    turns: list[dict[str, Any]]  # unfinished ones, as the welcome lists them
    running: Turn | None


#: Sessions without a row that a connection of this process holds.
_unstored: WeakValueDictionary[UUID, SessionHandle] = WeakValueDictionary()


async def open_session(actor: Actor, session_id: str) -> SessionHandle:
    """The session that a connection asked for, or with an empty id a new one.

    Raises:
        NotFound: there is none of this id, or it is not this caller's.
    """
    if not session_id:
        return _new(actor)
    found = as_uuid(session_id)
    if await db.transact(_mark_active, actor, found):
        return SessionHandle(found, actor, stored=True)
    return await _without_row(actor, found)


async def find(actor: Actor, session_id: str) -> SessionHandle:
    """A session for one operation without a connection; looking at it is no activity.

    Raises:
        NotFound: there is none of this id, or it is not this caller's.
    """
    found = as_uuid(session_id)
    mine = Session.objects.reachable_by(actor).filter(id=found)
    if await db.read(mine.exists):
        return SessionHandle(found, actor, stored=True)
    return await _without_row(actor, found)


async def _without_row(actor: Actor, session_id: UUID) -> SessionHandle:
    """A session that this caller's connections, here or in other processes, hold without a row."""
    handle = _unstored.get(session_id)
    if handle is None and (await publish.presence(session_id)).owner == actor:
        handle = _unstored.setdefault(session_id, SessionHandle(session_id, actor, stored=False))
    if handle is None or handle.stored or handle.actor != actor:
        raise NotFound
    return handle


def _new(actor: Actor) -> SessionHandle:
    session_id = uuid4()
    if actor.is_anonymous:
        actor = Actor(session_id=session_id)
    handle = _unstored[session_id] = SessionHandle(session_id, actor, stored=False)
    return handle


def _mark_active(actor: Actor, session_id: UUID) -> bool:
    """Note that the caller is here; whether the session is one of its own."""
    mine = Session.objects.reachable_by(actor).filter(id=session_id)
    return bool(mine.update(last_activity_at=Now()))


def handles_without_row() -> list[SessionHandle]:
    """The sessions that connections of this process hold and that have no row yet."""
    return [handle for handle in _unstored.values() if not handle.stored]


async def mark_active(handle: SessionHandle) -> None:
    """Note that the session's user did something, so that it is not idle."""
    topic(handle.id).mark_active()
    if handle.stored:
        await db.transact(_note_activity, handle.id)


def _note_activity(session_id: UUID) -> None:
    seconds = min(_TOUCH_SECONDS, conf().session_timeout * 60 / 20)
    Session.objects.filter(
        id=session_id, last_activity_at__lt=Now() - timedelta(seconds=seconds)
    ).update(last_activity_at=Now())


def lock_or_create(handle: SessionHandle, **numbers: Any) -> Numbers:
    """`lock_and_number`, and write the session's row first when this is its first durable frame.

    Raises:
        SessionGone: it had a row, which was deleted.
    """
    try:
        return lock_stored(handle, **numbers)
    except SessionGone:
        raise
    except NotFound:
        actor = handle.actor
    row = Session(
        id=handle.id, owner_id=actor.user_id, token_id=actor.token_id, visitor=actor.visitor
    )
    Session.objects.bulk_create([row], ignore_conflicts=True)
    return lock_and_number(handle.id, **numbers)


def lock_stored(handle: SessionHandle, **numbers: Any) -> Numbers:
    """`lock_and_number`, for what makes no sense in a session without a row.

    Raises:
        NotFound: it has none yet.
        SessionGone: it had one, which was deleted.
    """
    stored = handle.stored  # before the look: another connection may write the row meanwhile
    try:
        return lock_and_number(handle.id, **numbers)
    except SessionGone:
        if stored:
            raise
        raise NotFound from None


def require_room(numbers: Numbers) -> None:
    """Let a caller add no more to a session than it may hold; what the server adds always fits.

    Raises:
        TooLarge: with its newest message it has more than MAX_SESSION_MESSAGES.
    """
    if numbers.seq > conf().max_session_messages:
        raise TooLarge("This conversation has become too long. Start a new chat.")


async def snapshot(handle: SessionHandle) -> SessionSnapshot:
    """What the welcome tells: the newest seq and the unfinished turns.

    Raises:
        SessionGone: the session was deleted.
    """
    return await db.read(_snapshot, handle)


def _snapshot(handle: SessionHandle) -> SessionSnapshot:
    stored = handle.stored  # before the look: the first query may write the row meanwhile
    counters = _counters(handle.id)
    while counters:
        queue = Queue.of(handle.id, counters[1])
        after = _counters(handle.id)
        if after == counters:  # nothing started or ended in between
            break
        counters = after
    if counters is None:
        if stored:
            raise SessionGone
        return SessionSnapshot(0, [], None)
    handle.stored = True
    running = [_listed(queue.running, 0)] if queue.running else []
    waiting = [_listed(turn, place) for place, turn in enumerate(queue.waiting, 1)]
    return SessionSnapshot(counters[0], running + waiting, queue.running)


def _counters(session_id: UUID) -> tuple[int, int] | None:
    rows = Session.objects.filter(id=session_id).values_list("last_seq", "started")
    found: tuple[int, int] | None = rows.first()
    return found


def _listed(turn: Turn, position: int) -> dict[str, Any]:
    ref = {"ref": turn.ref} if turn.ref else {}
    return {"turn": str(turn.id), **ref, "state": turn.state, "position": position}


async def is_closed(session_id: UUID) -> bool:
    """Whether a session was closed and no query opened it again."""
    rows = Session.objects.filter(id=session_id, closed_at__isnull=False)
    return await db.read(rows.exists)


async def frames_after(session_id: UUID, seq: int) -> list[dict[str, Any]]:
    """The next durable frames after `seq`, oldest first, one page; empty at the end."""
    return await db.read(pages.after, session_id, seq)


async def history(handle: SessionHandle, before: int | None, limit: int) -> tuple[list[Any], bool]:
    """Up to `limit` durable frames before the seq `before`, oldest first; if there are more."""
    return await db.read(pages.before, handle.id, before, limit)


async def rename(handle: SessionHandle, title: str) -> None:
    """Give the session a title; nothing is written when it has that title.

    Raises:
        SessionGone: the session was deleted.
        TooLarge: it is full.
    """

    def write() -> Change:
        numbers = lock_or_create(handle, messages=1, active=True)
        if not Session.objects.filter(id=handle.id).exclude(title=title).update(title=title):
            return _nothing(handle)
        require_room(numbers)
        return _notified(handle, numbers, "renamed", f"Renamed to {title}", title=title)

    await _commit(handle, write)


async def clear(handle: SessionHandle) -> None:
    """Let the model forget what came before; the transcript stays.

    Nothing is written when nothing came since it last forgot.

    Raises:
        SessionGone: the session was deleted.
        TooLarge: it is full.
    """

    def write() -> Change:
        numbers = lock_or_create(handle, messages=1, active=True)
        if numbers.cleared_seq and numbers.cleared_seq == numbers.seq - 1:
            return _nothing(handle)
        require_room(numbers)
        Session.objects.filter(id=handle.id).update(cleared_seq=numbers.seq)
        return _notified(handle, numbers, "cleared", "The agent has forgotten what came before.")

    await _commit(handle, write)


async def give_feedback(
    handle: SessionHandle, feedback: client_frames.HumanFeedback
) -> server_frames.Feedback | None:
    """Keep what this caller thinks of a response; a rating of None withdraws it.

    Returns:
        an answer for the sender alone when this is what the caller thought already: then nothing is
        written, and nobody else is told.

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
        sent = Message.record(handle.id, numbers.seq, frame)
        return Change(handle.id, numbers.seq, [sent]), None

    change, answer = await db.transact(write)
    _committed(handle, change)
    return answer


def _changes(target: Message, caller: str, rating: str | None, comment: str) -> bool:
    """Keep an opinion; whether it is another one than before."""
    opinions = Feedback.objects.filter(message=target, caller=caller)
    if rating is None:
        return bool(opinions.delete()[0])
    if opinions.filter(rating=rating, comment=comment).exists():
        return False
    Feedback.objects.update_or_create(
        {"rating": rating, "comment": comment}, message=target, caller=caller
    )
    return True


def _nothing(handle: SessionHandle) -> Change:
    """End a transaction in which nothing had to be written; gives its numbers back."""
    transaction.set_rollback(True)
    return Change(handle.id)


def _response(session_id: UUID, target: str | None) -> Message:
    """The response of this id, or the latest."""
    rows = Message.objects.filter(session_id=session_id, type=Message.Type.RESPONSE)
    if target is not None:
        rows = rows.filter(id=as_uuid(target))
    found = rows.order_by("-seq").first()
    if found is None:
        raise NotFound
    return found


def _notified(
    handle: SessionHandle, numbers: Numbers, event: str, words: str, **fields: Any
) -> Change:
    frame = server_frames.Notification(event=event, content=words, **fields)
    return Change(handle.id, numbers.seq, [Message.record(handle.id, numbers.seq, frame)])


async def _commit(handle: SessionHandle, write: Any) -> None:
    _committed(handle, await db.transact(write))


def _committed(handle: SessionHandle, change: Change) -> None:
    handle.stored = True
    publish.publish(change)


def as_uuid(text: str) -> UUID:
    """The id in a text of a client; what is not one names nothing."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound from None
