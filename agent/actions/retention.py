"""When sessions end: idle ones are closed; old ones, unwanted ones and a user's are deleted.

By the server for its own connections, by `clear_expired_sessions` for all, and when somebody asks.
Each change that nobody asked for checks once more, under the session's lock, that nothing happened
meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from agent.errors import NotFound
from agent.live import cancellation, publish
from agent.live.hub import group
from agent.models import ApiToken, Session, Turn
from agent.protocol import server_frames
from agent.store import db, removal, turn_queue
from agent.store.sequence import Change, advance

from . import sessions

_IDLE_WORDS = "Session closed due to inactivity"
#: Sessions that one transaction deletes.
_AT_ONCE = 200


def idle(timeout_minutes: float, among: Collection[UUID] | None = None) -> Any:
    """Open sessions in which nothing happened for a while and no turn is unfinished."""
    unfinished = Turn.objects.filter(session=OuterRef("pk")).exclude(state=Turn.State.ENDED)
    rows = Session.objects.filter(
        Q(closed_at=None) | Q(closed_at__lt=F("last_activity_at")),
        last_activity_at__lt=Now() - timedelta(minutes=timeout_minutes),
    ).exclude(Exists(unfinished))
    return rows if among is None else rows.filter(id__in=among)


def close_idle(session_id: UUID, timeout_minutes: float) -> Change | None:
    """Close one session if it is idle still; in a transaction."""
    change = Change(session_id)
    try:
        advance(session_id)  # the lock: no query comes in between
    except NotFound:
        return None
    if not idle(timeout_minutes, [session_id]).exists():
        return None
    turn_queue.close(change, _IDLE_WORDS, reason="timeout")
    return change


async def close_idle_held(timeout_minutes: float, held_ids: list[UUID]) -> None:
    """Close those of the sessions that are idle, and tell their connections."""
    ids = await db.read(lambda: list(idle(timeout_minutes, held_ids).values_list("id", flat=True)))
    for session_id in ids:
        change = await db.transact(close_idle, session_id, timeout_minutes)
        if change:
            publish.publish(change)


def expired(retention_days: float) -> Any:
    """Sessions whose transcript is not kept any longer."""
    unfinished = Turn.objects.filter(session=OuterRef("pk")).exclude(state=Turn.State.ENDED)
    return Session.objects.filter(
        last_activity_at__lt=Now() - timedelta(days=retention_days)
    ).exclude(Exists(unfinished))


def delete_expired(ids: list[UUID], retention_days: float) -> int:
    """Delete those of the sessions that are still expired; returns how many."""
    return len(delete(expired(retention_days).filter(id__in=ids)).session_ids)


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a transaction deleted: sessions, and running turns with the process that runs each."""

    session_ids: list[UUID]
    stopped: list[tuple[UUID, str]]


@transaction.atomic
def delete(rows: Any) -> Deleted:
    """Delete sessions: after the commit nobody finds them, and their turns have ended.

    That takes a moment however long the sessions are: it marks them and takes them from their
    owners; `removal` removes their rows. Each session is locked before its turns, as everywhere, so
    that nothing is added meanwhile.

    Args:
        rows: not more sessions than one transaction shall lock; see `delete_all`.
    """
    locked = rows.select_for_update(of=("self",)).order_by("id")
    ids = list(locked.values_list("id", flat=True))
    unfinished = Turn.objects.filter(session_id__in=ids).exclude(state=Turn.State.ENDED)
    running = unfinished.filter(state=Turn.State.RUNNING)
    stopped = list(running.values_list("id", "worker"))
    unfinished.update(state=Turn.State.ENDED, ended_at=Now(), finish_reason="cancelled")
    Session.objects.filter(id__in=ids).update(
        deleted_at=Now(), owner=None, token=None, visitor="", title=""
    )
    return Deleted(ids, stopped)


def delete_all(rows: Any) -> int:
    """Delete however many sessions, some at a time; returns how many."""
    total = 0
    while ids := list(rows.values_list("id", flat=True)[:_AT_ONCE]):
        total += len(delete(Session.objects.filter(id__in=ids)).session_ids)
    if total:
        removal.begin()
    return total


def delete_account(user: Any) -> None:
    """Delete a user and whatever is theirs; from the first statement on nothing is done for them.

    Their connections are closed as those of somebody who was deactivated.
    """
    type(user)._default_manager.filter(pk=user.pk).update(is_active=False)
    for token in ApiToken.objects.filter(user=user):
        delete_all(Session.objects.filter(token=token))
    delete_all(Session.objects.filter(owner=user))
    user.delete()


def delete_with_owner(instance: Any, **_: object) -> None:
    """Delete the sessions of a user or token that is deleted; Django would not stop their turns."""
    who = "token" if isinstance(instance, ApiToken) else "owner"
    delete_all(Session.objects.filter(**{who: instance}))


async def delete_now(session_id: UUID) -> None:
    """Delete a session, stop what runs in it, and tell its connections."""
    deleted = await db.transact(delete, Session.objects.filter(id=session_id))
    for turn_id, worker in deleted.stopped:
        publish.stop(turn_id, worker, cancellation.LOST)
    publish.deleted(session_id)
    await db.apart(removal.begin)


def batches(rows: Any, size: int) -> Iterator[list[UUID]]:
    """The ids of a queryset in batches of `size`, oldest activity first, each id once."""
    last = None
    while True:
        page = rows.order_by("last_activity_at", "id")
        if last is not None:
            page = page.filter(
                Q(last_activity_at__gt=last[0]) | Q(last_activity_at=last[0], id__gt=last[1])
            )
        found = list(page.values_list("last_activity_at", "id")[:size])
        if not found:
            return
        yield [session_id for _, session_id in found]
        last = found[-1]


def close_idle_unstored(timeout_minutes: float) -> None:
    """Close the idle ones among the sessions without a row that are held in this process."""
    frame = server_frames.Notification(
        event="closed", content=_IDLE_WORDS, reason="timeout"
    ).frame()
    for held in sessions.held_without_row():
        silent_seconds = time.monotonic() - group(held.id).active_at
        if not held.stored and silent_seconds > timeout_minutes * 60:
            publish.publish(Change(held.id, statuses=[frame]))
