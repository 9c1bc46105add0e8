"""What a server process looks after for its connections, beside turns.

Missed messages, idle and deleted sessions, and parts that cannot be reached. Each step waits first
and is repeated by `forever`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

from . import db, expiry, live, metrics
from .conf import Conf
from .groups import groups
from .models import Session

log = structlog.get_logger(__name__)

Step = Callable[[], Awaitable[None]]

CATCH_UP_SECONDS = 2.0
#: How far back catching up looks; longer than any transaction takes.
CATCH_UP_WINDOW_SECONDS = 60
#: How long the database may take to answer before connections are told that it is away.
DATABASE_SECONDS = 3.0
_BATCH = 500


def steps(conf: Conf) -> list[Step]:
    """The steps of this process, for `forever`."""

    async def close_idle() -> None:
        """Close sessions with a connection here in which nothing happens."""
        await asyncio.sleep(min(max(conf.session_timeout * 60 / 10, 0.2), 30))
        expiry.close_idle_unstored(conf.session_timeout)
        if held := list(groups):
            await expiry.close_idle_held(conf.session_timeout, held)

    return [catch_up, find_deleted, close_idle, Watch().look]


async def forever(step: Step) -> None:
    """Repeat a step for as long as the process runs, whatever it raises."""
    while True:
        try:
            await step()
        except db.DATABASE_ERRORS as error:
            log.warning("database unreachable", error=type(error).__name__)
            await asyncio.sleep(0.5)
        except Exception:
            log.exception("a step failed")
            await asyncio.sleep(0.5)


async def catch_up() -> None:
    """Find messages of our sessions that nobody told us about."""
    await asyncio.sleep(CATCH_UP_SECONDS)
    if not groups:
        return
    for session_id, last_seq in await db.read(_changed):
        group = groups.get(session_id)
        if group and group.last_seq < last_seq:
            metrics.heals.inc()
            group.note(last_seq)


def _changed() -> list[tuple[UUID, int]]:
    changed = Session.objects.changed_within(CATCH_UP_WINDOW_SECONDS)
    return list(changed.values_list("id", "last_seq"))


async def find_deleted() -> None:
    """Tell connections here that their session was deleted, wherever that was done."""
    await asyncio.sleep(2 * CATCH_UP_SECONDS)
    stored = [session_id for session_id, group in groups.items() if group.last_seq]
    for session_id in await db.read(_deleted, stored):
        live.gone(session_id)


def _deleted(session_ids: list[UUID]) -> set[UUID]:
    found: set[UUID] = set()
    for start in range(0, len(session_ids), _BATCH):
        some = session_ids[start : start + _BATCH]
        found.update(Session.objects.filter(id__in=some).values_list("id", flat=True))
    return set(session_ids) - found


class Watch:
    """Tells connections when this process cannot reach a part that it needs, or can again."""

    def __init__(self) -> None:
        self._failing: set[str] = set()

    async def look(self) -> None:
        await asyncio.sleep(1)
        self._note("redis", failing=live.relay().degraded)
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await db.read(db.answers)
        except (TimeoutError, *db.DATABASE_ERRORS):
            self._note("database", failing=True)
        else:
            self._note("database", failing=False)

    def _note(self, part: str, *, failing: bool) -> None:
        if failing == (part in self._failing):
            return
        (self._failing.add if failing else self._failing.discard)(part)
        metrics.degraded.labels(part).set(failing)
        log.warning("degraded" if failing else "recovered", part=part)
        live.degraded(part, failing)
