"""A session as a caller holds it: found, opened, marked as active, and locked to be written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from agent.actor import Actor
from agent.conf import conf
from agent.errors import NotFound, SessionGone, TooLarge
from agent.live.publish import Live
from agent.models import Session
from agent.store import db
from agent.store.db import Now
from agent.store.sequence import Numbers, lock_and_number

#: Activity without a message is noted no more often than this, nor 20 times within the timeout.
_TOUCH_SECONDS = 15.0


class SessionHandle:
    """A session as a connection, or a request, holds it.

    Args:
        live: of this process.
        session_id: of the session.
        actor: its owner.
        stored: whether it has a row. Its first durable frame writes one.
    """

    __slots__ = ("_stored", "actor", "id", "live", "topic")

    def __init__(self, live: Live, session_id: UUID, actor: Actor, *, stored: bool) -> None:
        self.live, self.id, self.actor = live, session_id, actor
        self.topic = live.hub.topic(session_id)
        self._stored = stored

    @property
    def stored(self) -> bool:
        """Whether the session has a row, or had one before it was deleted."""
        return self._stored or self.topic.last_seq > 0


async def open_session(live: Live, actor: Actor, session_id: str) -> SessionHandle:
    """The session that a connection asked for, or with an empty id a new one.

    Raises:
        NotFound: there is none of this id, or it is another caller's.
    """
    if not session_id:
        return _new(live, actor)
    found = as_uuid(session_id)
    if await db.transact(_mark_active, actor, found):
        return SessionHandle(live, found, actor, stored=True)
    return await _without_row(live, actor, found)


async def find(live: Live, actor: Actor, session_id: str) -> SessionHandle:
    """A session for one operation without a connection; looking at it is no activity.

    Raises:
        NotFound: there is none of this id, or it is another caller's.
    """
    found = as_uuid(session_id)
    mine = Session.objects.reachable_by(actor).filter(id=found)
    if await db.read(mine.exists):
        return SessionHandle(live, found, actor, stored=True)
    return await _without_row(live, actor, found)


async def _without_row(live: Live, actor: Actor, session_id: UUID) -> SessionHandle:
    """A session without a row that this caller's connections hold, here or in other processes."""
    owner = live.hub.presence(session_id).owner or (await live.presence(session_id)).owner
    handle = SessionHandle(live, session_id, actor, stored=False)
    if owner != actor or handle.stored:
        raise NotFound
    return handle


def _new(live: Live, actor: Actor) -> SessionHandle:
    session_id = uuid4()
    if actor.is_anonymous:
        actor = Actor(session_id=session_id)
    return SessionHandle(live, session_id, actor, stored=False)


def _mark_active(actor: Actor, session_id: UUID) -> bool:
    """Note that the caller is here; whether the session is one of its own."""
    mine = Session.objects.reachable_by(actor).filter(id=session_id)
    return bool(mine.update(last_activity_at=Now()))


async def mark_active(handle: SessionHandle) -> None:
    """Note that the session's user did something, so that it is not idle."""
    handle.topic.mark_active()
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


def as_uuid(text: str) -> UUID:
    """The id in a text of a client; what is not one names nothing."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound from None
