"""What is measured. Each case asks one target and returns its figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median, quantiles

from .load import Client
from .targets import Target

Figures = dict[str, float]
Case = Callable[[Target], Awaitable[Figures]]

CLIENTS = 100
TOKENS = 100
DELAY = 0.02
#: How long the provider of these cases thinks.
FIRST = 0.2
#: The lag that a stream may have at its 95th percentile, in seconds.
MOST_LAG = 0.25


async def _connected(target: Target, number: int) -> list[Client]:
    """Clients, a few at a time, over all processes of a target."""
    clients: list[Client] = []
    for start in range(0, number, 50):
        some = range(start, min(start + 50, number))
        clients += await asyncio.gather(
            *(
                Client.connect(
                    target.addresses[n % len(target.addresses)], says_ready=target.is_ours
                )
                for n in some
            )
        )
    return clients


@dataclass(frozen=True, slots=True)
class Streams:
    """Clients ask and read, and ask again.

    Args:
        spread: whether they begin one after the other, or all at once.
        tokens, delay: of each answer; seconds between two tokens.
        turns: questions of each client.
    """

    spread: bool
    tokens: int = TOKENS
    delay: float = DELAY
    turns: int = 2

    async def __call__(self, target: Target) -> Figures:
        clients = await _connected(target, CLIENTS)
        question = f"tokens={self.tokens} delay={self.delay} first={FIRST}"
        firsts: list[float] = []
        length = FIRST + self.tokens * self.delay

        async def talk(client: Client, position: int) -> None:
            if self.spread:
                await asyncio.sleep(position * length / CLIENTS)
            for _ in range(self.turns if self.spread else 1):
                firsts.append(await client.ask(question) - FIRST)

        await asyncio.gather(*(client.ask("tokens=1") for client in clients))
        frames, size = _came(clients)
        began, cpu = time.monotonic(), target.cpu_seconds()
        for _ in range(1 if self.spread else self.turns):
            await asyncio.gather(*(talk(client, n) for n, client in enumerate(clients)))
        used, seconds = target.cpu_seconds() - cpu, time.monotonic() - began
        turns = CLIENTS * self.turns
        later_frames, later_size = _came(clients)
        for client in clients:
            client.close()
        return {
            "cpu ms/turn": used * 1000 / turns,
            "first p50 ms": median(firsts) * 1000,
            "first p95 ms": quantiles(firsts, n=20)[18] * 1000,
            "frames/turn": (later_frames - frames) / turns,
            "bytes/turn": (later_size - size) / turns,
            "seconds": seconds,
        }


def _came(clients: list[Client]) -> tuple[int, int]:
    return sum(c.frames for c in clients), sum(c.bytes_in for c in clients)


async def _stream(client: Client, wait: float) -> None:
    """Three seconds of tokens, after a wait."""
    await asyncio.sleep(wait)
    await client.ask(f"tokens={int(3 / DELAY)} delay={DELAY}", DELAY)


async def many(target: Target) -> Figures:
    """How many streams of 50 tokens a second one process holds with a small lag."""
    held, lag = 0, 0.0
    for number in (100, 150, 200, 300, 400, 600, 800, 1200, 1600):
        clients = await _connected(target, number)
        for client in clients[::10]:
            client.lags = []
        await asyncio.gather(*(_stream(client, n / number) for n, client in enumerate(clients)))
        lags = [lag for client in clients[::10] for lag in client.lags or []]
        lag = quantiles(lags, n=20)[18]
        for client in clients:
            client.close()
        if lag > MOST_LAG:
            break
        held = number
    return {"streams": held}


@dataclass(frozen=True, slots=True)
class Idle:
    """Many connections that say nothing, and fifty that talk among them."""

    number: int

    async def __call__(self, target: Target) -> Figures:
        warm = await _connected(target, 50)
        alone = await _talk(target, warm)
        memory, began, cpu = target.kilobytes(), time.monotonic(), target.cpu_seconds()
        clients = await _connected(target, self.number)
        seconds, connecting = time.monotonic() - began, target.cpu_seconds() - cpu
        await asyncio.sleep(1)
        grown = target.kilobytes() - memory
        among = await _talk(target, warm)
        for client in warm + clients:
            client.close()
        return {
            "kB each": grown / self.number,
            "connects/s": self.number / seconds,
            "cpu ms/connect": connecting * 1000 / self.number,
            "active, times": among / alone,
        }


async def _talk(target: Target, clients: list[Client]) -> float:
    """CPU seconds of a few turns of each client."""
    cpu = target.cpu_seconds()
    for _ in range(2):
        await asyncio.gather(*(client.ask(f"tokens=50 delay={DELAY}") for client in clients))
    return target.cpu_seconds() - cpu


CASES: dict[str, Case] = {
    "spread": Streams(spread=True),
    "burst": Streams(spread=False),
    "flood": Streams(spread=False, delay=0.0),
    "many": many,
    "idle": Idle(1000),
    "idle-5000": Idle(5000),
    "idle-10000": Idle(10_000),
}
