"""A fuzz run against one live server, beside a healthy client.

Each message is followed by a ping of ours, and nothing more is sent before its pong: so the server
has really handled every one, and no answer can be mistaken for another's.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from statistics import quantiles
from typing import Any

from tests.chaos.world import rss_bytes
from tests.raw import CLOSE, TEXT, Dropped, Raw, raw
from tests.servers import Server

from .cases import Broken, broken, message

_ANSWER_SECONDS = 30
#: How many messages go over one connection, between all ways to break one.
_MESSAGES_PER_CONNECTION = 400


class Failure(Exception):
    """The server did what it must not; the words hold what was sent."""


@dataclass
class Report:
    """What happened in a run."""

    seed: int
    messages: int = 0
    broken: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    rss_mb: dict[str, float] = field(default_factory=dict)
    healthy_ms: dict[str, float] = field(default_factory=dict)
    seconds: float = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("seed", "messages", "broken")},
            "answers": dict(self.answers.most_common()),
            "ended": dict(self.ended.most_common()),
            "rss_mb": self.rss_mb,
            "healthy_ms": self.healthy_ms,
            "seconds": round(self.seconds, 1),
        }


async def run(server: Server, seed: int, *, seconds: float, messages: int) -> Report:
    """Fuzz until the time is over or so many messages were sent.

    Raises:
        Failure: with the message that was sent last.
    """
    report, dice = Report(seed), Random(seed)
    began = time.monotonic()
    async with server.connect() as client:  # what is loaded once is loaded now
        await client.end(await client.ask("say: hello"))
    latencies: list[float] = []
    healthy = asyncio.create_task(_live(server, latencies))
    report.rss_mb["before"] = _rss_mb(server)
    try:
        while time.monotonic() - began < seconds and report.messages < messages:
            for case in broken(dice):
                await _break(server, case, report)
            await _messages(
                server, dice, report, min(_MESSAGES_PER_CONNECTION, messages - report.messages)
            )
            if healthy.done():
                raise Failure(f"the healthy client is gone: {healthy.exception()!r}")
    finally:
        healthy.cancel()
        with suppress(asyncio.CancelledError):
            await healthy
    async with server.connect() as client:
        await client.end(await client.ask("say: still here"))
    report.rss_mb["after"] = _rss_mb(server)
    report.healthy_ms = {
        "p50": round(quantiles(latencies, n=100)[49] * 1000, 1),
        "p99": round(quantiles(latencies, n=100)[98] * 1000, 1),
    }
    report.seconds = time.monotonic() - began
    return report


async def _messages(server: Server, dice: Random, report: Report, number: int) -> None:
    """So many messages on one connection."""
    async with raw(server.port) as peer:
        for count in range(number):
            opcode, payload = message(dice)
            report.messages += 1
            try:
                await peer.send(opcode, payload)
                await _answered(peer, f"fuzz{count}", report)
            except (Dropped, TimeoutError) as error:
                raise Failure(f"{error!r} after {payload[:500]!r}") from None


async def _answered(peer: Raw, ref: str, report: Report) -> None:
    """Wait until all before is handled."""
    await peer.send(TEXT, json.dumps({"type": "ping", "id": ref}).encode())
    async with asyncio.timeout(_ANSWER_SECONDS):
        while True:
            opcode, payload = await peer.read()
            if opcode == CLOSE:
                raise Dropped(f"close {int.from_bytes(payload[:2], 'big')}")
            if opcode != TEXT:
                continue
            got = json.loads(payload)
            if got.get("ref") == ref:
                return
            if got.get("code") == "internal_error":
                raise Failure(f"{got}")
            if got["type"] not in ("delta", "reasoning", "ping"):
                report.answers[got.get("code") or got.get("status") or got["type"]] += 1


async def _break(server: Server, case: Broken, report: Report) -> None:
    """A connection of its own for what breaks it: it has to end, or to live."""
    report.broken += 1
    async with raw(server.port) as peer:
        try:
            await peer.write(case.data)
            if case.is_the_end:
                await peer.end(_ANSWER_SECONDS)
                report.ended["as they must"] += 1
                return
            async with asyncio.timeout(2):
                await _answered(peer, "fuzz", report)
        except Dropped:
            report.ended["as they may" if not case.is_the_end else "as they must"] += 1
        except TimeoutError:
            if case.is_the_end:
                raise Failure(f"{case.name}: the connection stands") from None
            report.ended["waits for more"] += 1


async def _live(server: Server, latencies: list[float]) -> None:
    """A client that does nothing wrong."""
    async with server.connect() as client:
        await client.ready()
        while True:
            began = time.perf_counter()
            await client.quiet()
            latencies.append(time.perf_counter() - began)
            await asyncio.sleep(0.05)


def _rss_mb(server: Server) -> float:
    return round(rss_bytes(server.pid) / 2**20, 1)
