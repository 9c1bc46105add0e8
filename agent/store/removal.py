"""Removes the rows of deleted sessions in steps, each in a transaction of its own.

No caller reaches these rows any more (`retention.delete`), so nothing depends on when they are
removed. Server processes and `clear_expired_sessions` remove all rows that are marked: when one of
them is killed, another one continues its work.
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

#: Rows of the first transaction, and the bounds of later ones, which adapt to the time they take.
_FIRST_ROWS, _LEAST_ROWS, _MOST_ROWS = 500, 250, 4000
#: The time that a transaction should take, and the shortest pause after it.
_SECONDS, _PAUSE_SECONDS = 0.3, 0.02
#: The same for SQLite, where all other writers wait; the pause is then as long as the transaction.
_SECONDS_OF_ONE_WRITER = 0.1
#: Small sessions that one transaction may remove together.
_SESSIONS = 100


@dataclass(slots=True)
class _Progress:
    """How far the messages of a large session were examined."""

    seq: int = 0
    is_examined: bool = False


def begin() -> None:
    """Remove rows of the latest deleted session in one transaction; later steps remove the rest.

    For an ordinary session, one transaction is enough. Raises nothing: later steps try again.
    """
    try:
        Remover().step()
    except DATABASE_ERRORS as error:
        log.info("rows of deleted sessions are left for later", error=type(error).__name__)


class Remover:
    """Removes rows for one process; skips a session after a failure for the life of the process."""

    def __init__(self) -> None:
        self._rows = _FIRST_ROWS
        self._progress: dict[UUID, _Progress] = {}
        self.failed: set[UUID] = set()

    def step(self) -> float:
        """Remove some rows in one transaction.

        Returns:
            seconds to pause before the next step; 0 when there is nothing to remove.

        Raises:
            DATABASE_ERRORS: the database is unavailable, or rows were locked; try later.
        """
        began = time.monotonic()
        key = self._next()
        if key is None:
            self._progress.clear()
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
        has_one_writer = connection.vendor == "sqlite"
        seconds = _SECONDS_OF_ONE_WRITER if has_one_writer else _SECONDS
        factor = seconds / max(took, seconds / 2)
        self._rows = round(min(max(self._rows * factor, _LEAST_ROWS), _MOST_ROWS))
        return max(took, _PAUSE_SECONDS) if has_one_writer else _PAUSE_SECONDS

    def _marked(self) -> Any:
        rows = Session.with_deleted.filter(deleted_at__isnull=False)
        return rows.exclude(id__in=self.failed) if self.failed else rows

    def _next(self) -> UUID | None:
        key: UUID | None = (
            self._marked().order_by("-deleted_at", "id").values_list("id", flat=True).first()
        )
        return key

    def _remove(self, first: UUID) -> None:
        """Remove many small sessions, or a part of a large one, in one transaction."""
        small = [] if first in self._progress else self._small()
        if small:
            self._remove_whole(small)
        elif self._lock([first]):
            self._remove_part(first, self._progress.setdefault(first, _Progress()))

    def _small(self) -> list[UUID]:
        """Lock the next sessions that fit into one transaction together."""
        keys = self._marked().order_by("-deleted_at", "id").values_list("id", flat=True)
        left, small = self._rows, []
        for key in keys[:_SESSIONS]:
            left -= self._size(key, left)
            if left < 0:
                break
            small.append(key)
        return self._lock(small)

    def _size(self, key: UUID, most: int) -> int:
        """Return how many rows a session has; counting stops soon after `most`."""
        messages = Message.objects.filter(session_id=key).order_by()
        turns = Turn.objects.filter(session_id=key).order_by()
        feedback = Feedback.objects.filter(message__session_id=key)
        return 1 + sum(
            rows.values_list("pk")[: most + 1].count() for rows in (messages, turns, feedback)
        )

    def _lock(self, keys: list[UUID]) -> list[UUID]:
        """Lock sessions; returns those that no other process has locked."""
        skips = connection.features.has_select_for_update_skip_locked
        rows = self._marked().filter(id__in=keys)
        return list(rows.select_for_update(skip_locked=skips).values_list("id", flat=True))

    def _remove_whole(self, keys: list[UUID]) -> None:
        _delete(Feedback.objects.filter(message__in=Message.objects.filter(session__in=keys)))
        _delete(Message.objects.filter(session_id__in=keys))
        _delete(Turn.objects.filter(session_id__in=keys))
        _delete(Session.with_deleted.filter(id__in=keys))

    def _remove_part(self, key: UUID, progress: _Progress) -> None:
        """Remove some rows of a session: messages that are no queries, then turns, then queries."""
        messages = Message.objects.filter(session_id=key)
        if not progress.is_examined:
            rest = messages.filter(seq__gt=progress.seq)
            found = list(rest.order_by("seq").values_list("seq", flat=True)[: self._rows])
            if found:
                self._examine(rest.filter(seq__lte=found[-1]))
                progress.seq = found[-1]
                return
            progress.is_examined = True
        turns = Turn.objects.filter(session_id=key).order_by("-number")
        if ids := list(turns.values_list("id", flat=True)[: self._rows]):
            Turn.objects.filter(retry_of__in=ids).exclude(id__in=ids).update(retry_of=None)
            _delete(Turn.objects.filter(id__in=ids))
        elif ids := list(messages.order_by("seq").values_list("id", flat=True)[: self._rows]):
            _delete(Feedback.objects.filter(message__in=ids))
            _delete(Message.objects.filter(id__in=ids))
        else:
            _delete(Session.with_deleted.filter(id=key))
            del self._progress[key]

    def _examine(self, messages: Any) -> None:
        """Remove messages that are not the query of a turn, and detach the others from turns."""
        turns = Turn.objects.filter(query=OuterRef("pk"))
        _delete(Feedback.objects.filter(message__in=messages.filter(~Exists(turns)).values("id")))
        _delete(messages.filter(~Exists(turns)))
        messages.exclude(turn=None).update(turn=None)


def _delete(rows: Any) -> None:
    """Delete rows without loading them; rows that refer to them go before this transaction ends."""
    rows.order_by()._raw_delete(rows.db)
