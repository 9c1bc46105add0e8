"""The worker of a server process: runs turns, keeps their leases, finds what others left behind.

One per event loop; `ensure_running` starts it. Turns belong to it and not to a connection. A turn
that could not start at once is remembered by its caller, and callers take turns when capacity is
short; the poll finds the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog

from agent import metrics
from agent.access.limits import limits
from agent.conf import Conf, conf
from agent.live import broker, cancellation, publish
from agent.provider.client import Provider
from agent.provider.demo import DemoProvider
from agent.store import db, turn_queue
from agent.store.turn_queue import Claimed, Lease

from . import maintenance
from .runner import Model, run_turn

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
#: How long each step of going down may take, whatever the database and the layer do.
_END_SECONDS = 5.0


class Worker:
    """Runs the turns of this process."""

    def __init__(self, conf: Conf) -> None:
        self._conf = conf
        self._lease = Lease(broker.PROCESS, conf.lease_seconds)
        self.model: Model = _model(conf)
        self._held: dict[UUID, tuple[int, float]] = {}  # turn to attempt and end of its lease
        self._tasks: set[asyncio.Task[None]] = set()
        self._reserved = 0
        self._wanted: OrderedDict[str, deque[UUID]] = OrderedDict()  # caller to sessions
        self._doubtful: set[UUID] = set()  # sessions in which a claim may have been committed
        self._room = asyncio.Event()
        self.stopping = False
        self._watch = maintenance.Watch()
        metrics.places.set(conf.max_concurrent_turns)

    # what the consumer uses

    @contextmanager
    def accepting(self, session_id: UUID, caller: str) -> Iterator[Lease | None]:
        """Keep a place for a turn that is accepted in the block; None: there is no room.

        When the connection to the database is lost in it, nobody knows whether the turn was
        committed as ours: it is looked for as soon as the database answers again.
        """
        lease = self._reserve()
        try:
            yield lease
        except db.DATABASE_ERRORS:
            if lease:
                self._doubt(session_id, caller)
            raise
        finally:
            if lease:
                self._reserved -= 1
                self._room.set()

    def _reserve(self) -> Lease | None:
        if self.stopping or self._wanted or self._free() <= 0:
            return None
        self._reserved += 1
        return self._lease

    def _doubt(self, session_id: UUID, caller: str) -> None:
        self._doubtful.add(session_id)
        self.want(session_id, caller)

    def start(self, claimed: Claimed, seq: int, caller: str) -> None:
        """Run a claimed turn; `seq` is its session's newest message at that time."""
        if claimed.turn_id in self._held:
            if self._held[claimed.turn_id][0] >= claimed.attempt:
                return  # it was looked for, and found, before this was said
            cancellation.stop_here(claimed.turn_id, cancellation.LOST)
        if claimed.attempt > 1:
            metrics.takeovers.inc()
        until = time.monotonic() + self._lease.seconds
        self._held[claimed.turn_id] = (claimed.attempt, until)
        task = asyncio.create_task(self._run(claimed, seq, caller))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def want(self, session_id: UUID, caller: str) -> None:
        """Remember that a turn of this session waits for this process."""
        waiting = self._wanted.setdefault(caller, deque())
        if session_id not in waiting:
            waiting.append(session_id)
        self._room.set()

    def _free(self) -> int:
        return self._conf.max_concurrent_turns - len(self._held) - self._reserved

    @property
    def is_ready(self) -> bool:
        """Whether it has looked at the parts that it needs, and does not go down."""
        return self._watch.looked and not self.stopping

    # running turns

    async def _run(self, claimed: Claimed, seq: int, caller: str) -> None:
        try:
            if await run_turn(claimed, seq, self.model):
                self.want(claimed.session_id, caller)
        except Exception:
            log.exception("turn broke off", turn=str(claimed.turn_id))
        finally:
            if self._held.get(claimed.turn_id, (0, 0))[0] == claimed.attempt:
                del self._held[claimed.turn_id]
            self._room.set()

    async def fill(self) -> None:
        """Claim wanted turns while there is room, one caller after the other."""
        await self._room.wait()
        self._room.clear()
        while self._wanted and self._free() > 0 and not self.stopping:
            caller, waiting = self._wanted.popitem(last=False)
            session_id = waiting.popleft()
            if waiting:
                self._wanted[caller] = waiting  # at the end: the others come first
            await self._claim(session_id, caller)

    async def _claim(self, session_id: UUID, caller: str, *, skip_locked: bool = False) -> None:
        self._reserved += 1
        try:
            claimed, change = await db.transact(
                turn_queue.claim,
                session_id,
                self._lease,
                held={turn_id: attempt for turn_id, (attempt, _) in self._held.items()},
                doubtful=session_id in self._doubtful,
                skip_locked=skip_locked,
            )
        except db.DATABASE_ERRORS:
            self._doubt(session_id, caller)
            raise
        finally:
            self._reserved -= 1
            self._room.set()
        self._doubtful.discard(session_id)
        publish.publish(change)
        if claimed:
            self.start(claimed, change.seq, caller)

    # the loops

    async def poll(self) -> None:
        """Take turns that wait too long or whose process is gone."""
        await asyncio.sleep(POLL_SECONDS)
        if self._free() > 0 and not self.stopping:
            for session_id in await db.read(turn_queue.due, self._free()):
                if self._free() > 0:
                    await self._claim(session_id, f"session:{session_id}", skip_locked=True)

    async def renew(self) -> None:
        """Keep the leases; stop what was asked to stop elsewhere, or is not ours any more."""
        await asyncio.sleep(self._lease.seconds / 5)
        asked_at = time.monotonic()
        held = {turn_id: attempt for turn_id, (attempt, _) in self._held.items()}
        if not held:
            return
        try:
            async with asyncio.timeout(self._lease.seconds / 3):
                kept = await db.transact_apart(turn_queue.renew, self._lease, held)
        except (TimeoutError, *db.DATABASE_ERRORS) as error:
            log.warning("leases were not renewed", error=type(error).__name__)
            self._stop_overdue()
            return
        for turn_id, attempt in held.items():
            if turn_id not in self._held or self._held[turn_id][0] != attempt:
                continue  # ended meanwhile
            if turn_id not in kept:
                cancellation.stop_here(turn_id, cancellation.LOST)
            elif reason := kept[turn_id]:
                cancellation.stop_here(turn_id, reason)
            if turn_id in kept:
                self._held[turn_id] = (attempt, asked_at + self._lease.seconds)

    def _stop_overdue(self) -> None:
        """Stop what another process may have taken, the database being out of reach."""
        now = time.monotonic()
        for turn_id, (_, until) in list(self._held.items()):
            if now > until:
                cancellation.stop_here(turn_id, cancellation.LOST)

    # life

    def begin(self) -> None:
        """Start the loops."""
        mine = broker.current()
        loops = [self.fill, self.poll, self.renew, *maintenance.steps(self._conf, self._watch)]
        if mine.shared:
            loops += [mine.run, mine.receive, mine.keep_joined]
        self._loops = [asyncio.create_task(maintenance.forever(step)) for step in loops]

    async def stop(self, grace_seconds: float) -> None:
        """Take no more turns, let the running ones end for a while, hand the rest back.

        Args:
            grace_seconds: how long to wait for turns to end.
        """
        if self.stopping:
            return
        self.stopping = True
        await publish.restarting()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        await self._hand_back()  # also what was claimed a moment ago and is not held yet
        await broker.current().flush()
        for loop in self._loops:
            loop.cancel()
        await asyncio.wait(self._loops, timeout=_END_SECONDS)
        await self.model.aclose()
        await limits().aclose()

    async def _hand_back(self) -> None:
        try:
            async with asyncio.timeout(_END_SECONDS):
                await db.transact_apart(turn_queue.hand_back, broker.PROCESS)
        except (TimeoutError, *db.DATABASE_ERRORS) as error:  # their leases end by themselves
            log.warning("turns were not handed back", error=type(error).__name__)
        for turn_id in list(self._held):
            cancellation.stop_here(turn_id, cancellation.LOST)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_SECONDS)


def _model(conf: Conf) -> Model:
    if conf.demo:
        return DemoProvider()
    return Provider(
        api_key=conf.openrouter_api_key,
        base_url=conf.openrouter_base_url,
        model=conf.model,
        fallback_models=conf.fallback_models,
        temperature=conf.temperature,
        max_tokens=conf.max_tokens,
        reasoning_effort=conf.reasoning_effort,
        connect_timeout=conf.provider_connect_timeout,
        first_token_timeout=conf.provider_first_token_timeout,
        token_timeout=conf.provider_token_timeout,
        total_timeout=conf.provider_total_timeout,
        max_connections=conf.max_concurrent_turns,
        title=conf.agent_name,
    )


_workers: WeakKeyDictionary[asyncio.AbstractEventLoop, Worker] = WeakKeyDictionary()


def ensure_running() -> Worker:
    """The worker of the running event loop, started when it is not yet."""
    loop = asyncio.get_running_loop()
    worker = _workers.get(loop)
    if worker is None:
        worker = _workers[loop] = Worker(conf())
        worker.begin()
    return worker


def is_ready() -> bool:
    """Whether the worker of this event loop, if it has one, has begun its work and not ended it."""
    worker = _workers.get(asyncio.get_running_loop())
    return worker is None or worker.is_ready


async def drain() -> None:
    """Before the server process ends: nothing of a client or a turn is lost or left hanging."""
    if worker := _workers.get(asyncio.get_running_loop()):
        await worker.stop(conf().drain_seconds)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI lifespan: the worker runs as long as the server does, where a server sends it."""
    await receive()  # lifespan.startup
    worker = ensure_running()
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    await worker.stop(grace_seconds=0)
    await send({"type": "lifespan.shutdown.complete"})
