"""The regular work of a server process, beside turns.

It finds missed messages, revoked credentials, idle and deleted sessions, and outages of Redis and
the database; it renews slots and removes rows. Each step waits first; `forever` repeats it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from django.apps import apps
from django.utils import timezone

from agent import metrics
from agent.access import revocation
from agent.access.limits import Limits
from agent.actions import retention
from agent.conf import Conf
from agent.live.hub import Hub
from agent.live.publish import Live
from agent.models import Session, WriteCheck
from agent.store import db, outage, removal
from agent.store.outage import DATABASE_ERRORS

log = structlog.get_logger(__name__)

Step = Callable[[], Awaitable[None]]

CATCH_UP_SECONDS = 2.0
#: How often credentials are checked; a revoked one has no connection 5 s later.
CHECK_SECONDS = 2.0
#: How long a committed change may take to the other processes over the broker.
UNDER_WAY_SECONDS = 0.3
#: How far before its last run catching up looks for changes; longer than any transaction takes.
CATCH_UP_WINDOW_SECONDS = 60
#: How long the database may take to answer before it counts as unreachable.
DATABASE_SECONDS = 3.0
#: How often this process looks for deleted sessions whose rows are not removed yet.
REMOVE_SECONDS = 2.0
#: How often this process tests whether the database accepts writes, while it does.
WRITE_SECONDS = 3.0
#: The row that this process writes: a frozen process that locks its row blocks few others.
_WRITE_CHECK_ID = os.getpid() % 256
_BATCH = 500


def steps(conf: Conf, live: Live, limits: Limits, watch: Watch) -> list[Step]:
    """Return the steps of this process, for `forever`."""
    remover = removal.Remover()

    async def close_idle() -> None:
        """Close idle sessions that have a connection here."""
        await asyncio.sleep(min(max(conf.session_timeout * 60 / 10, 0.2), 30))
        await retention.close_idle_here(live, conf.session_timeout)

    async def remove_deleted() -> None:
        """Remove some rows of deleted sessions, whichever process deleted them."""
        await asyncio.sleep(await db.apart(remover.step) or REMOVE_SECONDS)

    credentials = Credentials(live.hub)
    return [
        CatchUp(live.hub).look,
        credentials.look,
        DeletedSessions(live.hub, credentials).look,
        close_idle,
        watch.look,
        remove_deleted,
        limits.renew,
        limits.share_frames,
    ]


async def forever(step: Step) -> None:
    """Repeat a step until this task is cancelled, whatever the step raises."""
    task = asyncio.current_task()
    while not (task and task.cancelling()):
        try:
            await step()
        except DATABASE_ERRORS as error:
            outage.log_failure(error)
            await asyncio.sleep(0.5)
        except Exception:
            log.exception("a step failed")
            await asyncio.sleep(0.5)


class CatchUp:
    """Finds messages of sessions here that no other process has announced."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._looked_at = time.monotonic()

    async def look(self) -> None:
        await asyncio.sleep(CATCH_UP_SECONDS)
        now = time.monotonic()
        if self._hub.topics():
            # since the last success: the database, or this process, may have been unavailable
            changed = await db.read(_changed, now - self._looked_at)
            # an announcement that is under way brings statuses, which a row does not have
            await asyncio.sleep(UNDER_WAY_SECONDS)
            for session_id, last_seq in changed:
                topic = self._hub.get(session_id)
                if topic and topic.last_seq < last_seq:
                    metrics.heals.inc()
                    topic.advance_to(last_seq)
        self._looked_at = now


def _changed(since_seconds: float) -> list[tuple[UUID, int]]:
    changed = Session.objects.changed_within(since_seconds + CATCH_UP_WINDOW_SECONDS)
    return list(changed.values_list("id", "last_seq"))


class Credentials:
    """Ends connections here whose credential was revoked, by whatever process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def look(self) -> None:
        await asyncio.sleep(CHECK_SECONDS)
        await self.check()

    async def check(self) -> None:
        revocable = [each for each in self._hub.subscribers() if each.access.revocable]
        if not revocable:
            return
        ended = await db.read(revocation.ended, {each.access for each in revocable})
        for subscriber in revocable:
            if subscriber.access in ended:
                subscriber.signed_out()


class DeletedSessions:
    """Notifies connections here whose session was deleted, by whatever process."""

    def __init__(self, hub: Hub, credentials: Credentials) -> None:
        self._hub, self._credentials = hub, credentials

    async def look(self) -> None:
        await asyncio.sleep(2 * CATCH_UP_SECONDS)
        stored = [topic.session_id for topic in self._hub.topics() if topic.last_seq]
        deleted = await db.read(_deleted, stored)
        if deleted:  # a deleted user's connections are closed as signed out, so they come first
            await self._credentials.check()
        for session_id in deleted:
            if topic := self._hub.get(session_id):
                topic.deleted()


def _deleted(session_ids: list[UUID]) -> set[UUID]:
    found: set[UUID] = set()
    for start in range(0, len(session_ids), _BATCH):
        batch = session_ids[start : start + _BATCH]
        found.update(Session.objects.filter(id__in=batch).values_list("id", flat=True))
    return set(session_ids) - found


class Watch:
    """Notifies connections when this process loses Redis or the database, or has them again."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._writing: asyncio.Task[None] | None = None
        self._write_at = 0.0
        self.looked = False

    async def look(self) -> None:
        await asyncio.sleep(1 if self.looked else 0)
        self._note("redis", "unreachable" if self._live.broker.degraded else "")
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await db.read(outage.answers)
                await self._write()
        except TimeoutError:
            why = f"no answer within {DATABASE_SECONDS:.0f} s"
        except DATABASE_ERRORS as error:
            why = outage.reason(error)
        else:
            why = outage.refused()
        if not why:
            outage.recovered()
        self._note("database", why)
        self.looked = True

    async def _write(self) -> None:
        """Test a write every `WRITE_SECONDS`, every second while it fails, never twice at once."""
        if self._writing is None:
            if time.monotonic() < self._write_at:
                return
            self._writing = asyncio.create_task(db.transact(_write))
            self._writing.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.shield(self._writing)
            self._write_at = time.monotonic() + WRITE_SECONDS
        finally:
            if self._writing.done():
                self._writing = None

    def _note(self, part: str, why: str) -> None:
        """Announce once that a part fails, with the reason for the log, or that it works again."""
        if bool(why) == self._live.is_degraded(part):
            return
        metrics.degraded.labels(part).set(bool(why))
        reason = {"reason": why} if why else {}
        log.warning("degraded" if why else "recovered", part=part, **reason)
        self._live.degraded(part, failing=bool(why))


def _write() -> None:
    """Read each table, and write a row without a meaning; call it in a transaction.

    Raises:
        DATABASE_ERRORS: the database refuses writes, or a table is missing.
    """
    for model in apps.get_app_config("agent").get_models():
        list(model._base_manager.values_list("pk")[:1])
    WriteCheck.objects.update_or_create(pk=_WRITE_CHECK_ID, defaults={"checked_at": timezone.now()})
