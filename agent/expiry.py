"""When sessions end: idle ones are closed; old ones, unwanted ones and a user's are deleted.

By the server for its own connections, by `clear_expired_sessions` for all, and when somebody asks.
Each change that nobody asked for checks once more, under the session's lock, that nothing happened
meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from . import db, frames, live, sessions, stops, turns
from .errors import NotFound
from .groups import group
from .models import Session, Turn
from .numbering import Change, advance

_IDLE_WORDS = "Session closed due to inactivity"


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
    turns.close(change, _IDLE_WORDS, reason="timeout")
    return change


async def close_idle_held(timeout_minutes: float, held_ids: list[UUID]) -> None:
    """Close those of the sessions that are idle, and tell their connections."""
    ids = await db.read(lambda: list(idle(timeout_minutes, held_ids).values_list("id", flat=True)))
    for session_id in ids:
        change = await db.transact(close_idle, session_id, timeout_minutes)
        if change:
            live.publish(change)


def expired(retention_days: float) -> Any:
    """Sessions whose transcript is not kept any longer."""
    unfinished = Turn.objects.filter(session=OuterRef("pk")).exclude(state=Turn.State.ENDED)
    return Session.objects.filter(
        last_activity_at__lt=Now() - timedelta(days=retention_days)
    ).exclude(Exists(unfinished))


def delete_expired(ids: list[UUID], retention_days: float) -> int:
    """Delete those of the sessions that are still expired; returns how many."""
    return delete(expired(retention_days).filter(id__in=ids))[0]


@transaction.atomic
def delete(rows: Any) -> tuple[int, list[tuple[UUID, str]]]:
    """Delete sessions with all that is in them.

    Each is locked before its turns, as everywhere, so that nothing is added meanwhile.

    Returns:
        how many there were, and their running turns with the processes that run these.
    """
    ids = list(rows.select_for_update().values_list("id", flat=True))
    running = Turn.objects.filter(session_id__in=ids, state=Turn.State.RUNNING)
    stopped = list(running.values_list("id", "worker"))
    Session.objects.filter(id__in=ids).delete()
    return len(ids), stopped


def delete_with_user(instance: Any, **_: object) -> None:
    """Delete the sessions of a user who is deleted; Django would not lock them first."""
    delete(Session.objects.filter(owner=instance))


async def delete_now(session_id: UUID) -> None:
    """Delete a session, stop what runs in it, and tell its connections."""
    _, stopped = await db.transact(delete, Session.objects.filter(id=session_id))
    for turn_id, worker in stopped:
        live.stop(turn_id, worker, stops.LOST)
    live.deleted(session_id)


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
    frame = frames.Notification(event="closed", content=_IDLE_WORDS, reason="timeout").frame()
    for held in sessions.held_without_row():
        silent_seconds = time.monotonic() - group(held.id).active_at
        if not held.stored and silent_seconds > timeout_minutes * 60:
            live.publish(Change(held.id, statuses=[frame]))
