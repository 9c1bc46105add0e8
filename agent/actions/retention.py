"""Closes idle sessions, and deletes expired sessions, single sessions and those of a user.

The server does it for the sessions of its connections, `clear_expired_sessions` for all, and a
caller or staff for the sessions that they name. Before an automatic change, it checks again, under
the session's lock, that the session is still idle or expired.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from agent.errors import NotFound
from agent.live.cancellation import LEASE_LOST
from agent.live.publish import Live, publish_on_commit
from agent.models import OPEN, ApiToken, Session, Turn
from agent.protocol import server_frames
from agent.store import db, removal, turn_queue
from agent.store.sequence import Change, Stop, lock_and_number

#: Sessions that one transaction deletes.
_AT_ONCE = 200


def idle(timeout_minutes: float, among: Collection[UUID] | None = None) -> Any:
    """Return the open sessions without activity for a while and without an unfinished turn."""
    unfinished = Turn.objects.filter(session=OuterRef("pk")).exclude(state=Turn.State.ENDED)
    rows = Session.objects.filter(
        OPEN,
        last_activity_at__lt=Now() - timedelta(minutes=timeout_minutes),
    ).exclude(Exists(unfinished))
    return rows if among is None else rows.filter(id__in=among)


def close_idle(session_id: UUID, timeout_minutes: float) -> Change | None:
    """Close one session if it is still idle; call it in a transaction."""
    change = Change(session_id)
    try:
        lock_and_number(session_id)  # the lock keeps queries out until the commit
    except NotFound:
        return None
    if not idle(timeout_minutes, [session_id]).exists():
        return None
    turn_queue.close(change, server_frames.Closed.by_timeout())
    return change


async def close_idle_here(live: Live, timeout_minutes: float) -> None:
    """Close the idle sessions among those of this process's connections."""
    _close_idle_without_row(live, timeout_minutes)
    here = [topic.session_id for topic in live.hub.topics()]
    ids = await db.read(lambda: list(idle(timeout_minutes, here).values_list("id", flat=True)))
    for session_id in ids:
        if change := await db.transact(close_idle, session_id, timeout_minutes):
            live.publish(change)


def _close_idle_without_row(live: Live, timeout_minutes: float) -> None:
    for topic in live.hub.topics():
        silent_seconds = time.monotonic() - topic.active_at
        if topic.last_seq == 0 and topic.subscribers and silent_seconds > timeout_minutes * 60:
            frame = server_frames.Closed.by_timeout().frame()
            live.publish(Change(topic.session_id, statuses=[frame]))


def expired(retention_days: float) -> Any:
    """Return the sessions whose transcript is older than the retention period."""
    unfinished = Turn.objects.filter(session=OuterRef("pk")).exclude(state=Turn.State.ENDED)
    return Session.objects.filter(
        last_activity_at__lt=Now() - timedelta(days=retention_days)
    ).exclude(Exists(unfinished))


def delete_expired(ids: list[UUID], retention_days: float) -> int:
    """Delete the sessions that are still expired; returns how many it deleted."""
    changes = delete(expired(retention_days).filter(id__in=ids))
    publish_on_commit(changes)
    return len(changes)


@transaction.atomic
def delete(rows: Any) -> list[Change]:
    """Delete sessions: after the commit no caller finds them, and their turns have ended.

    That is fast however long the sessions are: it marks them and clears their owners; `removal`
    removes their rows. Each session is locked before its turns, as everywhere, so that nothing is
    added meanwhile.

    Args:
        rows: no more sessions than one transaction should lock; see `delete_all`.

    Returns:
        a change for each session, to be published.
    """
    locked = rows.select_for_update(of=("self",)).order_by("id")
    ids = list(locked.values_list("id", flat=True))
    unfinished = Turn.objects.filter(session_id__in=ids).exclude(state=Turn.State.ENDED)
    running = unfinished.filter(state=Turn.State.RUNNING)
    changes = {session_id: Change(session_id, deleted=True) for session_id in ids}
    for session_id, turn_id, worker in running.values_list("session_id", "id", "worker"):
        changes[session_id].stops.append(Stop(turn_id, worker, LEASE_LOST))
    unfinished.update(state=Turn.State.ENDED, ended_at=Now(), finish_reason="cancelled")
    Session.objects.filter(id__in=ids).update(
        deleted_at=Now(), owner=None, token=None, visitor="", title=""
    )
    return list(changes.values())


def delete_all(rows: Any, *, with_owner: bool = False) -> int:
    """Delete any number of sessions, `_AT_ONCE` per transaction.

    Args:
        rows: the sessions.
        with_owner: their owner is deleted too. Connections are then closed for that reason, so only
            turns are stopped here.

    Returns:
        how many sessions were deleted.
    """
    total = 0
    while ids := list(rows.values_list("id", flat=True)[:_AT_ONCE]):
        changes = delete(Session.objects.filter(id__in=ids))
        for change in changes:
            change.deleted = not with_owner
        publish_on_commit(changes)
        total += len(changes)
    if total:
        removal.begin()
    return total


def delete_account(user: Any) -> None:
    """Delete a user with all of their sessions; after the first statement they have no access.

    Their connections are closed like those of a deactivated user.
    """
    type(user)._default_manager.filter(pk=user.pk).update(is_active=False)
    for token in ApiToken.objects.filter(user=user):
        delete_all(Session.objects.filter(token=token), with_owner=True)
    delete_all(Session.objects.filter(owner=user), with_owner=True)
    user.delete()


def delete_with_owner(instance: Any, **_: object) -> None:
    """Delete the sessions of a deleted user or token; Django alone would not stop their turns."""
    owner_field = "token" if isinstance(instance, ApiToken) else "owner"
    delete_all(Session.objects.filter(**{owner_field: instance}), with_owner=True)


async def delete_now(live: Live, session_id: UUID) -> None:
    """Delete a session, stop its running turn, and close its connections."""
    changes = await db.transact(delete, Session.objects.filter(id=session_id))
    for change in changes or [Change(session_id, deleted=True)]:  # the session may have no row yet
        live.publish(change)
    await db.apart(removal.begin)


def batches(rows: Any, size: int) -> Iterator[list[UUID]]:
    """Yield the ids of a queryset in batches of `size`, oldest activity first, each id once."""
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
