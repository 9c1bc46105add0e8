"""Numbers messages and turns under the session's lock; defines what a transaction returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection

from agent.errors import SessionGone
from agent.models import Session

from .clock import NOW_SQL


@dataclass(frozen=True, slots=True)
class Stop:
    """A running turn that a transaction cancelled, the process that runs it, and the reason."""

    turn_id: UUID
    worker: str
    reason: str


@dataclass(slots=True)
class Change:
    """The effect of a transaction on a session, for `Live.publish` after the commit.

    Args:
        session_id: the session.
        seq: the session's newest message.
        frames: the durable frames that were written.
        statuses: ephemeral frames that may be sent after the message `seq`.
        stops: turns to cancel at once; their rows say so too, in case this change is lost.
        deleted: whether the session was deleted.
    """

    session_id: UUID
    seq: int = 0
    frames: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Numbers:
    """A session's counters after `lock_and_number`; the first of n messages is `seq - n + 1`."""

    seq: int
    enqueued: int
    started: int
    cleared_seq: int
    closing: bool


def lock_and_number(
    session_id: UUID,
    *,
    messages: int = 0,
    enqueued: int = 0,
    started: int = 0,
    active: bool = False,
    reopen: bool = False,
) -> Numbers:
    """Lock a session's row and take numbers from it, in one statement.

    The session is always locked before its turns: the other order deadlocks on PostgreSQL.
    Call it inside a transaction.

    Args:
        session_id: the session.
        messages, enqueued, started: how many of each to number.
        active: whether its user did something, so that it is not idle.
        reopen: open the session again if it is closed or closing.

    Raises:
        SessionGone: the session has no row, or no longer.
    """
    now = NOW_SQL[connection.vendor]
    changes = [
        f"changed_at = {now}" if messages else "",
        f"last_activity_at = {now}" if active else "",
        "closed_at = NULL, closing = %s" if reopen else "",
        "last_seq = last_seq + %s, enqueued = enqueued + %s, started = started + %s",
    ]
    sql = (
        f"UPDATE agent_session SET {', '.join(filter(None, changes))} WHERE id = %s"  # noqa: S608
        " AND deleted_at IS NULL"
        " RETURNING last_seq, enqueued, started, cleared_seq, closing"
    )
    key = Session._meta.pk.get_db_prep_value(session_id, connection)
    with connection.cursor() as cursor:
        cursor.execute(sql, [*([False] if reopen else []), messages, enqueued, started, key])
        row = cursor.fetchone()
    if row is None:
        raise SessionGone
    return Numbers(row[0], row[1], row[2], row[3], bool(row[4]))
