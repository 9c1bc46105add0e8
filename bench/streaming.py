"""What a streamed answer costs the server, beside a server that only passes tokens on.

    python -m bench.streaming [--streams 100] [--turns 3] [--tokens 100] [--delay 0.02]

Each client asks, reads its answer to the end, and asks again. Printed for each server: CPU time of
the server process per turn and per token, the frames that a turn took, the time to the first delta,
and how much longer than the provider's own pace the whole answer took. The last column is the CPU
per turn as a share of the baseline's, the one figure that can be compared between machines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from websockets.asyncio.client import connect

from tests.scripted_provider import scripted_process
from tests.servers import Server
from tests.services import HOST, free_port, start_postgres, start_redis

ROOT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Seen:
    """What the clients of one server saw."""

    first_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    frames: int = 0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def talk(url: str, prompt: str, turns: int, seen: Seen) -> None:
    async with connect(url, compression=None, proxy=None, max_size=None) as socket:
        for turn in range(turns):
            began, first = time.monotonic(), 0.0
            await socket.send(json.dumps({"type": "query", "content": prompt, "id": f"q{turn}"}))
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "error":
                    raise RuntimeError(text)
                seen.frames += 1
                if frame["type"] == "delta" and not first:
                    first = time.monotonic()
                if frame["type"] == "response":
                    break
            seen.first_ms.append((first - began) * 1000)
            seen.total_ms.append((time.monotonic() - began) * 1000)


async def measure(url: str, pid: int, options: argparse.Namespace) -> dict[str, float]:
    prompt = f"mode=slow tokens={options.tokens} delay={options.delay}"
    await talk(url, "say: warm up", 1, Seen())
    seen, before = Seen(), cpu_seconds(pid)
    await asyncio.gather(*(talk(url, prompt, options.turns, seen) for _ in range(options.streams)))
    turns = options.streams * options.turns
    cpu_ms = (cpu_seconds(pid) - before) * 1000 / turns
    pace_ms = options.delay * (options.tokens - 1) * 1000
    return {
        "cpu ms/turn": cpu_ms,
        "cpu us/token": cpu_ms * 1000 / options.tokens,
        "frames/turn": seen.frames / turns,
        "first delta p50 ms": median(seen.first_ms),
        "first delta p99 ms": quantiles(seen.first_ms, n=100)[98],
        "over pace p50 ms": median(seen.total_ms) - pace_ms,
        "over pace p99 ms": quantiles(seen.total_ms, n=100)[98] - pace_ms,
    }


@contextlib.contextmanager
def baseline(provider_url: str) -> Iterator[tuple[str, int]]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(
        [*command, "bench.baseline:application"],
        cwd=ROOT,
        env={**os.environ, "PROVIDER": provider_url},
    )
    try:
        time.sleep(3)
        yield f"ws://{HOST}:{port}/", process.pid
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def ours(provider_url: str, **services: str) -> Iterator[tuple[str, int]]:
    production = {"DEBUG": "0", "HTTPS_ONLY": "0", "ALLOW_ANONYMOUS": "1"}
    with Server(provider_url, environment={**production, **services}) as server:
        yield f"ws://{HOST}:{server.port}/ws/agent/", server.pid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--delay", type=float, default=0.02)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(scripted_process()).base_url
        postgres = stack.enter_context(start_postgres())
        redis = stack.enter_context(start_redis())
        shared = {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url}
        Server(environment=shared).manage("migrate", "--verbosity", "0")
        servers = {
            "baseline": baseline(provider),
            "SQLite": ours(provider),
            "PostgreSQL, Redis": ours(provider, **shared),
        }
        found = {}
        for name, server in servers.items():
            with server as (url, pid):
                found[name] = asyncio.run(measure(url, pid, options))
    columns = list(found["baseline"])
    print("| server | " + " | ".join(columns) + " | share of baseline |")
    print("|---" * (len(columns) + 2) + "|")
    for name, figures in found.items():
        cells = " | ".join(f"{figures[column]:.1f}" for column in columns)
        share = figures["cpu ms/turn"] / found["baseline"]["cpu ms/turn"]
        print(f"| {name} | {cells} | {share:.2f} |")


if __name__ == "__main__":
    main()
