"""What goes wrong, and when: a schedule out of a seed, and the storm that carries it out."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from tests.support.servers import ServerFailed

from .world import LEASE_SECONDS, World


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Args:
        at: seconds after the storm's beginning.
        kind: a method of `Storm`.
        target: number of the server, or of the proxy before it.
        seconds: how long it lasts, or how long what was ended stays away.
    """

    at: float
    kind: str
    target: int
    seconds: float


#: Kind to (weight, shortest, longest) in seconds.
_OF_PROCESSES = {
    "kill": (4, 0.0, 2.0),
    "freeze": (3, LEASE_SECONDS + 1.0, LEASE_SECONDS + 3.0),
    "terminate": (2, 0.0, 1.0),
    "roll": (1, 0.0, 1.0),
    "cut": (3, 0.0, 0.0),
    "delay": (2, 1.0, 4.0),
    "stall": (2, 2.0, 6.0),
}
_OF_SERVICES = {
    "redis_crash": (2, 0.0, 2.0),
    "redis_freeze": (2, 3.0, 3.0),
    "redis_flush": (1, 0.0, 0.0),
    "postgres_crash": (2, 0.0, 0.0),
}


#: What can go wrong.
KINDS = (*_OF_PROCESSES, *_OF_SERVICES)


def schedule(
    rng: random.Random,
    seconds: float,
    *,
    processes: int,
    services: bool,
    only: Collection[str] = KINDS,
    between: tuple[float, float] = (1.0, 4.0),
) -> list[Fault]:
    """The faults of a run; the same for the same arguments.

    Args:
        rng: where chance comes from.
        seconds: length of the storm.
        processes: how many servers there are.
        services: whether Redis and PostgreSQL suffer too.
        only: the kinds of faults that happen.
        between: shortest and longest time between two faults, in seconds.
    """
    kinds = _OF_PROCESSES | (_OF_SERVICES if services else {})
    kinds = {kind: value for kind, value in kinds.items() if kind in only}
    weights = [weight for weight, _, _ in kinds.values()]
    faults: list[Fault] = []
    at = rng.uniform(*between)
    while at < seconds:
        (kind,) = rng.choices(list(kinds), weights)
        _, shortest, longest = kinds[kind]
        target, lasting = rng.randrange(processes), rng.uniform(shortest, longest)
        faults.append(Fault(round(at, 2), kind, target, round(lasting, 2)))
        at += rng.uniform(*between)
    return faults


class Storm:
    """Carries faults out. A fault whose target suffers another one already is left out.

    Attributes:
        counts: of the faults that were carried out, by kind; and `left out`.
        troubles: servers that did not end or start.
    """

    def __init__(self, world: World, faults: list[Fault]) -> None:
        self.world, self.faults = world, faults
        self.counts: Counter[str] = Counter()
        self.troubles: list[str] = []
        self._suffering: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def rage(self) -> None:
        """Carry everything out, and wait until the last fault is over."""
        began = time.monotonic()
        raging: list[asyncio.Task[None]] = []
        for fault in self.faults:
            await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
            raging.append(asyncio.create_task(self._carry_out(fault)))
        for task in raging:
            await task

    async def _carry_out(self, fault: Fault) -> None:
        lock = self._suffering[_place(fault)]
        if lock.locked():
            self.counts["left out"] += 1
            return
        async with lock:
            try:
                await getattr(self, fault.kind)(fault)
            except ServerFailed as failure:
                self.troubles.append(f"{fault.kind} of server {fault.target}: {failure}")
                await self.world.heal()
            self.counts[fault.kind] += 1

    # processes

    async def kill(self, fault: Fault) -> None:
        server = self.world.servers[fault.target]
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(server.start)

    async def freeze(self, fault: Fault) -> None:
        server = self.world.servers[fault.target]
        server.freeze()
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            server.thaw()

    async def terminate(self, fault: Fault) -> None:
        await self._restart(fault.target, fault.seconds)

    async def roll(self, fault: Fault) -> None:
        """A deployment: one server after the other."""
        for number in range(len(self.world.servers)):
            async with self._suffering[f"server{number}"]:
                await self._restart(number, fault.seconds)

    async def _restart(self, number: int, seconds: float) -> None:
        server = self.world.servers[number]
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(server.start)

    # the network

    async def cut(self, fault: Fault) -> None:
        self.world.doors[fault.target].cut()

    async def delay(self, fault: Fault) -> None:
        door = self.world.doors[fault.target]
        door.delay_seconds = fault.seconds / 10
        await asyncio.sleep(fault.seconds)
        door.delay_seconds = 0.0

    async def stall(self, fault: Fault) -> None:
        door = self.world.doors[fault.target]
        door.stall()
        await asyncio.sleep(fault.seconds)
        door.flow()

    # services

    async def redis_crash(self, fault: Fault) -> None:
        redis = self.world.redis
        assert redis
        await asyncio.to_thread(redis.kill)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(redis.start)

    async def redis_freeze(self, fault: Fault) -> None:
        redis = self.world.redis
        assert redis
        redis.stop()
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            redis.cont()

    async def redis_flush(self, fault: Fault) -> None:
        await asyncio.to_thread(self.world.flush_redis)

    async def postgres_crash(self, fault: Fault) -> None:
        postgres = self.world.postgres
        assert postgres
        await asyncio.to_thread(lambda: postgres.restart(crash=True))


def _place(fault: Fault) -> str:
    """What suffers."""
    service = fault.kind.partition("_")[0]
    if service in ("redis", "postgres", "roll"):
        return service
    return f"{'server' if fault.kind in ('kill', 'freeze', 'terminate') else 'door'}{fault.target}"
