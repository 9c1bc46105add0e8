"""The worker of a process: it runs turns, renews their leases, and takes over abandoned turns.

A turn belongs to the worker and not to a connection. A turn that cannot start at once is queued
under its caller, and callers are served in rotation when capacity is short. The poll finds turns
that no worker remembers. `runtime` starts the loops and drains the worker.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from agent import metrics
from agent.conf import Conf
from agent.live.cancellation import LEASE_LOST
from agent.live.publish import Live
from agent.store import db, turn_queue
from agent.store.outage import DATABASE_ERRORS
from agent.store.turn_queue import Claimed, Lease

from .runner import Model, run_turn

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
#: How long each step of draining may take, beside the grace for turns, if the database is slow.
_END_SECONDS = 5.0


class Worker:
    """Runs the turns of this process.

    Args:
        conf: the settings.
        live: this process's; the broker's name for the process owns the leases.
        model: answers the turns.
    """

    def __init__(self, conf: Conf, live: Live, model: Model) -> None:
        self._conf, self._live, self.model = conf, live, model
        self._lease = Lease(live.broker.process, conf.lease_seconds)
        self._cancel = live.cancellations.cancel_local
        self._leased: dict[UUID, tuple[int, float]] = {}  # turn to attempt and end of lease
        self._tasks: set[asyncio.Task[None]] = set()
        self._reserved = 0
        self._wanted: OrderedDict[str, deque[UUID]] = OrderedDict()  # caller to sessions
        self._doubtful: set[UUID] = set()  # sessions in which a claim may have been committed
        self._room = asyncio.Event()
        self.draining = False
        metrics.places.set(conf.max_concurrent_turns)

    # for the consumer

    @contextmanager
    def accepting(self, session_id: UUID, caller: str) -> Iterator[Lease | None]:
        """Reserve room for a turn that is accepted in the block; None: there is no room.

        When the block loses its connection to the database, the commit may have given the turn to
        this process: the worker looks for it as soon as the database answers again.
        """
        lease = self._reserve()
        try:
            yield lease
        except DATABASE_ERRORS:
            if lease:
                self._doubt(session_id, caller)
            raise
        finally:
            if lease:
                self._reserved -= 1
                self._room.set()

    def _reserve(self) -> Lease | None:
        if self.draining or self._wanted or self._free() <= 0:
            return None
        self._reserved += 1
        return self._lease

    def _doubt(self, session_id: UUID, caller: str) -> None:
        self._doubtful.add(session_id)
        self.request_turn(session_id, caller)

    def start(self, claimed: Claimed, seq: int, caller: str) -> None:
        """Run a claimed turn; `seq` is its session's newest message at that time."""
        if claimed.turn_id in self._leased:
            if self._leased[claimed.turn_id][0] >= claimed.attempt:
                return  # the worker looked for the turn and found it before this call
            self._cancel(claimed.turn_id, LEASE_LOST)
        if claimed.attempt > 1:
            metrics.takeovers.inc()
        until = time.monotonic() + self._lease.seconds
        self._leased[claimed.turn_id] = (claimed.attempt, until)
        task = asyncio.create_task(self._run(claimed, seq, caller))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def request_turn(self, session_id: UUID, caller: str) -> None:
        """Remember that this process should claim a turn of this session."""
        waiting = self._wanted.setdefault(caller, deque())
        if session_id not in waiting:
            waiting.append(session_id)
        self._room.set()

    def _free(self) -> int:
        return self._conf.max_concurrent_turns - len(self._leased) - self._reserved

    # running turns

    async def _run(self, claimed: Claimed, seq: int, caller: str) -> None:
        try:
            if await run_turn(self._live, claimed, seq, self.model):
                self.request_turn(claimed.session_id, caller)
        except Exception:
            log.exception("turn broke off", turn=str(claimed.turn_id))
        finally:
            if self._leased.get(claimed.turn_id, (0, 0))[0] == claimed.attempt:
                del self._leased[claimed.turn_id]
            self._room.set()

    async def claim_wanted(self) -> None:
        """Claim wanted turns while there is room, one caller after the other."""
        await self._room.wait()
        self._room.clear()
        while self._wanted and self._free() > 0 and not self.draining:
            caller, waiting = self._wanted.popitem(last=False)
            session_id = waiting.popleft()
            if waiting:
                self._wanted[caller] = waiting  # last: other callers come first
            await self._claim(session_id, caller)

    async def _claim(self, session_id: UUID, caller: str, *, skip_locked: bool = False) -> None:
        self._reserved += 1
        try:
            claimed, change = await db.transact(
                turn_queue.claim,
                session_id,
                self._lease,
                leased={turn_id: attempt for turn_id, (attempt, _) in self._leased.items()},
                doubtful=session_id in self._doubtful,
                skip_locked=skip_locked,
            )
        except DATABASE_ERRORS:
            self._doubt(session_id, caller)
            raise
        finally:
            self._reserved -= 1
            self._room.set()
        self._doubtful.discard(session_id)
        self._live.publish(change)
        if claimed:
            self.start(claimed, change.seq, caller)

    # the loops

    async def poll(self) -> None:
        """Claim turns that waited too long, or whose process died."""
        await asyncio.sleep(POLL_SECONDS)
        if self._free() > 0 and not self.draining:
            for session_id in await db.read(turn_queue.due, self._free()):
                if self._free() > 0:
                    await self._claim(session_id, f"session:{session_id}", skip_locked=True)

    async def renew(self) -> None:
        """Renew the leases; cancel turns that another process asked to stop or took over."""
        await asyncio.sleep(self._lease.seconds / 5)
        asked_at = time.monotonic()
        leased = {turn_id: attempt for turn_id, (attempt, _) in self._leased.items()}
        if not leased:
            return
        try:
            async with asyncio.timeout(self._lease.seconds / 3):
                kept = await db.transact_apart(turn_queue.renew, self._lease, leased)
        except (TimeoutError, *DATABASE_ERRORS) as error:
            log.warning("leases were not renewed", error=type(error).__name__)
            self._stop_overdue()
            return
        for turn_id, attempt in leased.items():
            if turn_id not in self._leased or self._leased[turn_id][0] != attempt:
                continue  # ended meanwhile
            if turn_id not in kept:
                self._cancel(turn_id, LEASE_LOST)
            elif reason := kept[turn_id]:
                self._cancel(turn_id, reason)
            if turn_id in kept:
                self._leased[turn_id] = (attempt, asked_at + self._lease.seconds)

    def _stop_overdue(self) -> None:
        """Cancel turns whose leases ended while the database was unreachable."""
        now = time.monotonic()
        for turn_id, (_, until) in list(self._leased.items()):
            if now > until:
                self._cancel(turn_id, LEASE_LOST)

    # draining

    async def drain(self, grace_seconds: float) -> None:
        """Wait a while for running turns to end, and hand the rest back; `draining` is set before.

        Args:
            grace_seconds: how long to wait for turns to end.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        try:  # the turns of a claim that is under way are handed back too
            async with asyncio.timeout(_END_SECONDS):
                await db.transact_apart(turn_queue.hand_back, self._lease.worker)
        except (TimeoutError, *DATABASE_ERRORS) as error:  # their leases expire anyway
            log.warning("turns were not handed back", error=type(error).__name__)
        for turn_id in list(self._leased):
            self._cancel(turn_id, LEASE_LOST)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_SECONDS)
