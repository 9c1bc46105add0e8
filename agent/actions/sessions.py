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
from agent.live.hub import group
from agent.models import Feedback, Message, Session, Turn
from agent.protocol import client_frames, server_frames
from agent.store import db, pages
from agent.store.db import Now
from agent.store.queue_order import Queue
from agent.store.sequence import Change, Numbers, advance

#: Activity without a message is noted no more often than this, nor 20 times within the timeout.
_TOUCH_SECONDS = 15.0


class Held:
    """A session as a connection holds it. `stored` tells whether it has a row."""

    __slots__ = ("__weakref__", "actor", "id", "stored")

    def __init__(self, session_id: UUID, actor: Actor, *, stored: bool) -> None:
        self.id, self.actor, self.stored = session_id, actor, stored


@dataclass(frozen=True, slots=True)
class View:
    """A session at one moment."""

    last_seq: int
    turns: list[dict[str, Any]]  # unfinished ones, as the welcome lists them
    running: Turn | None


#: Sessions without a row that a connection of this process holds.
_unstored: WeakValueDictionary[UUID, Held] = WeakValueDictionary()


async def open_session(actor: Actor, session_id: str) -> Held:
    """The session that a connection asked for, or with an empty id a new one.

    Raises:
        NotFound: there is none of this id, or it is not this caller's.
    """
    if not session_id:
        return _new(actor)
    found = as_uuid(session_id)
    if await db.transact(_touch, actor, found):
        return Held(found, actor, stored=True)
    return await _without_row(actor, found)


async def find(actor: Actor, session_id: str) -> Held:
    """A session for one operation without a connection; looking at it is no activity.

    Raises:
        NotFound: there is none of this id, or it is not this caller's.
    """
    found = as_uuid(session_id)
    mine = Session.objects.reachable_by(actor).filter(id=found)
    if await db.read(mine.exists):
        return Held(found, actor, stored=True)
    return await _without_row(actor, found)


async def _without_row(actor: Actor, session_id: UUID) -> Held:
    """A session that this caller's connections, here or in other processes, hold without a row."""
    held = _unstored.get(session_id)
    if held is None and (await publish.presence(session_id)).owner == actor:
        held = _unstored.setdefault(session_id, Held(session_id, actor, stored=False))
    if held is None or held.stored or held.actor != actor:
        raise NotFound
    return held


def _new(actor: Actor) -> Held:
    session_id = uuid4()
    if actor.is_nobody:
        actor = Actor(session_id=session_id)
    held = _unstored[session_id] = Held(session_id, actor, stored=False)
    return held


def _touch(actor: Actor, session_id: UUID) -> bool:
    """Note that the caller is here; whether the session is one of its own."""
    mine = Session.objects.reachable_by(actor).filter(id=session_id)
    return bool(mine.update(last_activity_at=Now()))


def held_without_row() -> list[Held]:
    """The sessions that connections of this process hold and that have no row yet."""
    return [held for held in _unstored.values() if not held.stored]


async def touch(held: Held) -> None:
    """Note that the session's user did something, so that it is not idle."""
    group(held.id).touch()
    if held.stored:
        await db.transact(_note_activity, held.id)


def _note_activity(session_id: UUID) -> None:
    seconds = min(_TOUCH_SECONDS, conf().session_timeout * 60 / 20)
    Session.objects.filter(
        id=session_id, last_activity_at__lt=Now() - timedelta(seconds=seconds)
    ).update(last_activity_at=Now())


def advance_or_create(held: Held, **numbers: Any) -> Numbers:
    """`advance`, and write the session's row first when this is its first durable frame.

    Raises:
        SessionGone: it had a row, which was deleted.
    """
    try:
        return advance_stored(held, **numbers)
    except SessionGone:
        raise
    except NotFound:
        actor = held.actor
    row = Session(
        id=held.id, owner_id=actor.user_id, token_id=actor.token_id, visitor=actor.visitor
    )
    Session.objects.bulk_create([row], ignore_conflicts=True)
    return advance(held.id, **numbers)


def advance_stored(held: Held, **numbers: Any) -> Numbers:
    """`advance`, for what makes no sense in a session without a row.

    Raises:
        NotFound: it has none yet.
        SessionGone: it had one, which was deleted.
    """
    stored = held.stored  # before the look: another connection may write the row meanwhile
    try:
        return advance(held.id, **numbers)
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


async def view(held: Held) -> View:
    """What the welcome tells: the newest seq and the unfinished turns.

    Raises:
        SessionGone: the session was deleted.
    """
    return await db.read(_view, held)


def _view(held: Held) -> View:
    stored = held.stored  # before the look: the first query may write the row meanwhile
    counters = _counters(held.id)
    while counters:
        queue = Queue.of(held.id, counters[1])
        after = _counters(held.id)
        if after == counters:  # nothing started or ended in between
            break
        counters = after
    if counters is None:
        if stored:
            raise SessionGone
        return View(0, [], None)
    held.stored = True
    running = [_listed(queue.running, 0)] if queue.running else []
    waiting = [_listed(turn, place) for place, turn in enumerate(queue.waiting, 1)]
    return View(counters[0], running + waiting, queue.running)


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


async def history(held: Held, before: int | None, limit: int) -> tuple[list[Any], bool]:
    """Up to `limit` durable frames before the seq `before`, oldest first; if there are more."""
    return await db.read(pages.before, held.id, before, limit)


async def rename(held: Held, title: str) -> None:
    """Give the session a title; nothing is written when it has that title.

    Raises:
        SessionGone: the session was deleted.
        TooLarge: it is full.
    """

    def write() -> Change:
        numbers = advance_or_create(held, messages=1, active=True)
        if not Session.objects.filter(id=held.id).exclude(title=title).update(title=title):
            return _nothing(held)
        require_room(numbers)
        return _notified(held, numbers, "renamed", f"Renamed to {title}", title=title)

    await _commit(held, write)


async def clear(held: Held) -> None:
    """Let the model forget what came before; the transcript stays.

    Nothing is written when nothing came since it last forgot.

    Raises:
        SessionGone: the session was deleted.
        TooLarge: it is full.
    """

    def write() -> Change:
        numbers = advance_or_create(held, messages=1, active=True)
        if numbers.cleared_seq and numbers.cleared_seq == numbers.seq - 1:
            return _nothing(held)
        require_room(numbers)
        Session.objects.filter(id=held.id).update(cleared_seq=numbers.seq)
        return _notified(held, numbers, "cleared", "The agent has forgotten what came before.")

    await _commit(held, write)


async def give_feedback(
    held: Held, feedback: client_frames.HumanFeedback
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
        numbers = advance_stored(held, messages=1, active=True)
        target = _response(held.id, feedback.target)
        frame = server_frames.Feedback(
            target=target.id,
            rating=feedback.rating,
            ref=feedback.id,
            content=feedback.content or "",
        )
        if not _changes(target, held.actor.key, feedback.rating, feedback.content or ""):
            return _nothing(held), frame
        require_room(numbers)
        sent = Message.record(held.id, numbers.seq, frame)
        return Change(held.id, numbers.seq, [sent]), None

    change, answer = await db.transact(write)
    _committed(held, change)
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


def _nothing(held: Held) -> Change:
    """End a transaction in which nothing had to be written; gives its numbers back."""
    transaction.set_rollback(True)
    return Change(held.id)


def _response(session_id: UUID, target: str | None) -> Message:
    """The response of this id, or the latest."""
    rows = Message.objects.filter(session_id=session_id, type=Message.Type.RESPONSE)
    if target is not None:
        rows = rows.filter(id=as_uuid(target))
    found = rows.order_by("-seq").first()
    if found is None:
        raise NotFound
    return found


def _notified(held: Held, numbers: Numbers, event: str, words: str, **fields: Any) -> Change:
    frame = server_frames.Notification(event=event, content=words, **fields)
    return Change(held.id, numbers.seq, [Message.record(held.id, numbers.seq, frame)])


async def _commit(held: Held, write: Any) -> None:
    _committed(held, await db.transact(write))


def _committed(held: Held, change: Change) -> None:
    held.stored = True
    publish.publish(change)


def as_uuid(text: str) -> UUID:
    """The id in a text of a client; what is not one names nothing."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound from None
