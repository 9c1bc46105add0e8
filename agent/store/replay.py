"""Reads a session's durable frames page by page, and its current state. Reads only.

All pages are cut here, by rows and by characters: for replays, the command `history`, the HTTP API,
exports and staff's transcripts. Lengths are read first, so that long messages that do not fit are
never loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from django.db.models import TextField
from django.db.models.functions import Cast, Coalesce, Length

from agent.models import Message, Session, Turn

from .queue_order import Queue

#: The bound of a page with more than one frame: content, partial answers of errors, and fields.
PAGE_CHARS = 256 * 1024
#: Rows of a page of a replay or an export.
PAGE_ROWS = 200
#: How many lengths are read first; then twice as many each time.
_LENGTHS = 64
#: The length of a message's row that its frame shows.
_CHARS = (
    Length("content")
    + Length("partial")
    + Coalesce(Length("reasoning"), 0)
    + Length(Cast("data", TextField()))
)


def after(session_id: UUID, seq: int) -> list[dict[str, Any]]:
    """Return the next page of durable frames after `seq`, oldest first; empty at the end."""
    rows = _of(session_id).filter(seq__gt=seq).order_by("seq")
    return _frames(rows, list(fitting(rows, PAGE_ROWS)))


def before(session_id: UUID, seq: int | None, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the last durable frames before `seq`, oldest first, and whether there are older ones.

    Args:
        session_id: the session.
        seq: where the page ends; None: with the newest frame.
        limit: how many frames at most; the bound on characters may allow fewer.
    """
    rows = _of(session_id).order_by("-seq")
    if seq is None:  # messages that are written meanwhile are not on this page
        seq = (rows.values_list("seq", flat=True).first() or 0) + 1
    rows = rows.filter(seq__lt=seq)
    found = list(fitting(rows, limit))
    has_more = bool(found) and _of(session_id).filter(seq__lt=found[-1]).exists()
    return _frames(rows, found[::-1]), has_more


def fitting(rows: Any, limit: int) -> Iterator[int]:
    """Yield the seqs of the first messages that fit on a page, at least one if there is one.

    Args:
        rows: messages of one session, ordered by seq in either direction.
        limit: how many at most.
    """
    left = PAGE_CHARS
    for number, (seq, chars) in enumerate(islice(_lengths(rows, limit), limit)):
        left -= chars
        if left < 0 and number:
            return
        yield seq


def _of(session_id: UUID) -> Any:
    """Return a session's messages; none if it was deleted, since its rows may be incomplete."""
    return Message.objects.filter(session_id=session_id, session__deleted_at=None)


def _lengths(rows: Any, limit: int) -> Iterator[tuple[int, int]]:
    start, size = 0, _LENGTHS
    while start < limit:
        found = list(rows.values_list("seq", _CHARS)[start : min(start + size, limit)])
        yield from found
        if len(found) < size:
            return
        start, size = start + size, 2 * size


def _frames(rows: Any, seqs: list[int]) -> list[dict[str, Any]]:
    if not seqs:
        return []
    page = rows.filter(seq__gte=min(seqs), seq__lte=max(seqs)).order_by("seq")
    return [message.frame() for message in page]


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """A session at one moment."""

    last_seq: int
    turns: list[dict[str, Any]]  # the unfinished turns, as the welcome lists them
    running: Turn | None


def snapshot(session_id: UUID) -> SessionSnapshot | None:
    """Read a session's state at one moment; None when it has no row."""
    counters = _counters(session_id)
    while counters:
        queue = Queue.of(session_id, counters[1])
        after = _counters(session_id)
        if after == counters:  # no turn started or ended in between
            break
        counters = after
    if counters is None:
        return None
    running = [_listed(queue.running, 0)] if queue.running else []
    waiting = [_listed(turn, position) for position, turn in enumerate(queue.waiting, 1)]
    return SessionSnapshot(counters[0], running + waiting, queue.running)


def _counters(session_id: UUID) -> tuple[int, int] | None:
    rows = Session.objects.filter(id=session_id).values_list("last_seq", "started")
    found: tuple[int, int] | None = rows.first()
    return found


def _listed(turn: Turn, position: int) -> dict[str, Any]:
    ref = {"ref": turn.ref} if turn.ref else {}
    return {"turn": str(turn.id), **ref, "state": turn.state, "position": position}
