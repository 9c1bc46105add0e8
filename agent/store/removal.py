"""Removes the rows of deleted sessions, some at a time, each time in a transaction of its own.

Nobody reaches these rows any more (`expiry.delete`), so nothing depends on when they go. Server
processes and `clear_expired_sessions` remove whatever is marked: when one of them is killed,
another one goes on with what it left behind.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from agent.models import Feedback, Message, Session, Turn

from .outage import DATABASE_ERRORS

log = structlog.get_logger(__name__)

#: Rows of a transaction: of the first one, and the bounds of what the time of each makes of it.
_FIRST_ROWS, _LEAST_ROWS, _MOST_ROWS = 500, 250, 4000
#: How long a transaction shall take, and how long others are left alone after it, at least.
_SECONDS, _PAUSE_SECONDS = 0.3, 0.02
#: Of SQLite, where everybody who writes waits for it; they are then left alone for as long again.
_SECONDS_OF_ONE_WRITER = 0.1
#: Small sessions that one transaction may remove together.
_SESSIONS = 100


@dataclass(slots=True)
class _Place:
    """How far the messages of a large session were looked through."""

    seq: int = 0
    looked_through: bool = False


def begin() -> None:
    """Remove as much of what was deleted last as one transaction may; the rest is for later.

    Of an ordinary session that is all. Raises nothing: it is tried again anyway.
    """
    try:
        Remover().step()
    except DATABASE_ERRORS as error:
        log.info("rows of deleted sessions are left for later", error=type(error).__name__)


class Remover:
    """Removes rows for one process. A session that fails is left alone for as long as it lives."""

    def __init__(self) -> None:
        self._rows = _FIRST_ROWS
        self._places: dict[UUID, _Place] = {}
        self.failed: set[UUID] = set()

    def step(self) -> float:
        """Remove some rows in one transaction.

        Returns:
            seconds to leave others alone before the next step; 0 when there is nothing to remove.

        Raises:
            DATABASE_ERRORS: the database is away, or somebody was in the way; try later.
        """
        began = time.monotonic()
        key = self._next()
        if key is None:
            self._places.clear()
            return 0
        try:
            with transaction.atomic():
                self._remove(key)
        except DATABASE_ERRORS:
            self._rows = max(self._rows // 4, _LEAST_ROWS)
            raise
        except Exception:
            log.exception("rows of a deleted session could not be removed", session=str(key))
            self.failed.add(key)
        took = time.monotonic() - began
        alone = connection.vendor == "sqlite"
        seconds = _SECONDS_OF_ONE_WRITER if alone else _SECONDS
        factor = seconds / max(took, seconds / 2)
        self._rows = round(min(max(self._rows * factor, _LEAST_ROWS), _MOST_ROWS))
        return max(took, _PAUSE_SECONDS) if alone else _PAUSE_SECONDS

    def _marked(self) -> Any:
        rows = Session.with_deleted.filter(deleted_at__isnull=False)
        return rows.exclude(id__in=self.failed) if self.failed else rows

    def _next(self) -> UUID | None:
        key: UUID | None = (
            self._marked().order_by("-deleted_at", "id").values_list("id", flat=True).first()
        )
        return key

    def _remove(self, first: UUID) -> None:
        """One transaction: many small sessions, or a part of a large one."""
        small = [] if first in self._places else self._small()
        if small:
            self._remove_whole(small)
        elif self._lock([first]):
            self._remove_part(first, self._places.setdefault(first, _Place()))

    def _small(self) -> list[UUID]:
        """The sessions next in line that fit into one transaction together."""
        line = self._marked().order_by("-deleted_at", "id").values_list("id", flat=True)
        left, small = self._rows, []
        for key in line[:_SESSIONS]:
            left -= self._size(key, left)
            if left < 0:
                break
            small.append(key)
        return self._lock(small)

    def _size(self, key: UUID, most: int) -> int:
        """How many rows a session has, counted up to `most` and some more."""
        messages = Message.objects.filter(session_id=key).order_by()
        turns = Turn.objects.filter(session_id=key).order_by()
        feedback = Feedback.objects.filter(message__session_id=key)
        return 1 + sum(
            rows.values_list("pk")[: most + 1].count() for rows in (messages, turns, feedback)
        )

    def _lock(self, keys: list[UUID]) -> list[UUID]:
        """Those of the sessions that no other process is at."""
        skips = connection.features.has_select_for_update_skip_locked
        rows = self._marked().filter(id__in=keys)
        return list(rows.select_for_update(skip_locked=skips).values_list("id", flat=True))

    def _remove_whole(self, keys: list[UUID]) -> None:
        _delete(Feedback.objects.filter(message__in=Message.objects.filter(session__in=keys)))
        _delete(Message.objects.filter(session_id__in=keys))
        _delete(Turn.objects.filter(session_id__in=keys))
        _delete(Session.with_deleted.filter(id__in=keys))

    def _remove_part(self, key: UUID, place: _Place) -> None:
        """Some rows of a session: what no turn is for, then the turns, then their queries."""
        messages = Message.objects.filter(session_id=key)
        if not place.looked_through:
            seqs = messages.filter(seq__gt=place.seq).order_by("seq").values_list("seq", flat=True)
            found = list(seqs[: self._rows])
            if found:
                self._look_through(messages.filter(seq__gt=place.seq, seq__lte=found[-1]))
                place.seq = found[-1]
                return
            place.looked_through = True
        turns = Turn.objects.filter(session_id=key).order_by("-number")
        if ids := list(turns.values_list("id", flat=True)[: self._rows]):
            Turn.objects.filter(retry_of__in=ids).exclude(id__in=ids).update(retry_of=None)
            _delete(Turn.objects.filter(id__in=ids))
        elif ids := list(messages.order_by("seq").values_list("id", flat=True)[: self._rows]):
            _delete(Feedback.objects.filter(message__in=ids))
            _delete(Message.objects.filter(id__in=ids))
        else:
            _delete(Session.with_deleted.filter(id=key))
            del self._places[key]

    def _look_through(self, some: Any) -> None:
        """Remove messages that are no query of a turn; the others refer to no turn any more."""
        asked = Turn.objects.filter(query=OuterRef("pk"))
        _delete(Feedback.objects.filter(message__in=some.filter(~Exists(asked)).values("id")))
        _delete(some.filter(~Exists(asked)))
        some.exclude(turn=None).update(turn=None)


def _delete(rows: Any) -> None:
    """Delete rows without loading them; what refers to them is gone or goes in this transaction."""
    rows.order_by()._raw_delete(rows.db)
