"""Handles of sessions: finds or opens a session, marks it as active, and locks it for writing."""

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
from agent.store.clock import Now
from agent.store.sequence import Numbers, lock_and_number

#: Activity without a message is written at most this often, or 20 times within a short timeout.
_ACTIVITY_SECONDS = 15.0


class SessionHandle:
    """The session of a connection or a request.

    Args:
        live: this process's.
        session_id: the session's.
        actor: the session's owner.
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
    """Open the session that a connection asked for; with an empty id, a new one.

    Raises:
        NotFound: there is no such session, or it is another caller's.
    """
    if not session_id:
        return _new(live, actor)
    found = as_uuid(session_id)
    if await db.transact(_mark_active, actor, found):
        return SessionHandle(live, found, actor, stored=True)
    return await _without_row(live, actor, found)


async def find(live: Live, actor: Actor, session_id: str) -> SessionHandle:
    """Find a session for one request, without marking it as active.

    Raises:
        NotFound: there is no such session, or it is another caller's.
    """
    found = as_uuid(session_id)
    rows = Session.objects.reachable_by(actor).filter(id=found)
    if await db.read(rows.exists):
        return SessionHandle(live, found, actor, stored=True)
    return await _without_row(live, actor, found)


async def _without_row(live: Live, actor: Actor, session_id: UUID) -> SessionHandle:
    """Find a session without a row that this caller has connections to, in any process."""
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
    """Mark a session as active; returns whether the caller may use it."""
    rows = Session.objects.reachable_by(actor).filter(id=session_id)
    return bool(rows.update(last_activity_at=Now()))


async def mark_active(handle: SessionHandle) -> None:
    """Record that the session's user did something, so that it is not idle."""
    handle.topic.mark_active()
    if handle.stored:
        await db.transact(_write_activity, handle.id)


def _write_activity(session_id: UUID) -> None:
    seconds = min(_ACTIVITY_SECONDS, conf().session_timeout * 60 / 20)
    Session.objects.filter(
        id=session_id, last_activity_at__lt=Now() - timedelta(seconds=seconds)
    ).update(last_activity_at=Now())


def lock_or_create(handle: SessionHandle, **numbers: Any) -> Numbers:
    """`lock_and_number`, after writing the session's row if this is its first durable frame.

    Raises:
        SessionGone: the session had a row, which was deleted.
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
    """`lock_and_number`, for actions that need a session with a row.

    Raises:
        NotFound: the session has no row yet.
        SessionGone: the session had a row, which was deleted.
    """
    stored = handle.stored  # before the read: another connection may write the row meanwhile
    try:
        return lock_and_number(handle.id, **numbers)
    except SessionGone:
        if stored:
            raise
        raise NotFound from None


def require_room(numbers: Numbers) -> None:
    """Check that a caller may add a message to a session; the server's own messages always fit.

    Raises:
        TooLarge: with the new message, the session has more than MAX_SESSION_MESSAGES.
    """
    if numbers.seq > conf().max_session_messages:
        raise TooLarge("This conversation has become too long. Start a new chat.")


def as_uuid(text: str) -> UUID:
    """Parse an id that a client sent.

    Raises:
        NotFound: the text is no id, so nothing has it.
    """
    try:
        return UUID(text)
    except ValueError:
        raise NotFound from None
