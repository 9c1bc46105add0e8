"""The servers that are measured: each a process of its own, in front of one provider."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT
from tests.support.servers import Server
from tests.support.services import HOST, free_port, start_postgres, start_redis

_TICKS = os.sysconf("SC_CLK_TCK")
#: Without the limits that a load from one address would meet.
_PRODUCTION = {
    "DEBUG": "0",
    "HTTPS_ONLY": "0",
    "ALLOW_ANONYMOUS": "1",
    "MAX_CONNECTIONS_PER_USER": "100000",
    "MAX_CONNECTIONS_PER_ADDRESS": "100000",
    "MAX_CONCURRENT_TURNS": "5000",
    "MAX_ANONYMOUS_WRITES_PER_HOUR": "100000000",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A server under load.

    Args:
        name: in the table.
        addresses: of its WebSockets, one for each process.
        pids: of its processes.
        is_ours: it stores sessions, and says when a connection is ready.
    """

    name: str
    addresses: tuple[str, ...]
    pids: tuple[int, ...]
    is_ours: bool

    def cpu_seconds(self) -> float:
        """CPU time that its processes have used, in user and system mode."""
        return sum(map(_cpu_seconds, self.pids))

    def kilobytes(self) -> float:
        """Memory that its processes have for themselves."""
        return sum(map(_kilobytes, self.pids))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _kilobytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("Private_"))


def _baseline(name: str, module: str, provider: str) -> Iterator[Target]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--host", HOST, "--port", str(port)]
    options = ["--log-level", "warning", "--ws-per-message-deflate", "false", "--backlog", "4096"]
    process = subprocess.Popen(
        [*command, *options, f"bench.baselines.{module}:application"],
        cwd=ROOT,
        env={**os.environ, "PROVIDER": provider},
    )
    try:
        _wait_for(port)
        yield Target(name, (f"ws://{HOST}:{port}/",), (process.pid,), is_ours=False)
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def starlette(provider: str) -> Iterator[Target]:
    """Starlette by hand: the measure of all others."""
    yield from _baseline("Starlette by hand", "by_hand", provider)


@contextlib.contextmanager
def channels(provider: str) -> Iterator[Target]:
    """A minimal Channels consumer."""
    yield from _baseline("Channels, in memory", "channels_consumer", provider)


@contextlib.contextmanager
def embedded(provider: str) -> Iterator[Target]:
    """Agent WebSocket on SQLite, without Redis."""
    with Server(provider, environment=_PRODUCTION) as server:
        yield _ours("embedded", [server])


@contextlib.contextmanager
def shared(provider: str, processes: int = 1) -> Iterator[Target]:
    """Agent WebSocket on PostgreSQL and Redis."""
    with contextlib.ExitStack() as stack:
        services = {
            "DATABASE_URL": stack.enter_context(start_postgres()).url,
            "REDIS_URL": stack.enter_context(start_redis()).url,
        }
        environment = {**_PRODUCTION, **services}
        Server(environment=environment).manage("migrate", "--verbosity", "0")
        servers = [
            stack.enter_context(Server(provider, environment=environment)) for _ in range(processes)
        ]
        name = "PostgreSQL, Redis" + (f", {processes} processes" if processes > 1 else "")
        yield _ours(name, servers)


@contextlib.contextmanager
def shared_by_two(provider: str) -> Iterator[Target]:
    """Two processes on PostgreSQL and Redis."""
    with shared(provider, processes=2) as target:
        yield target


def _ours(name: str, servers: list[Server]) -> Target:
    addresses = tuple(f"ws://{HOST}:{server.port}/ws/agent/" for server in servers)
    pids = tuple(server.pid for server in servers)
    return Target(name, addresses, pids, is_ours=True)


@contextlib.contextmanager
def provider() -> Iterator[str]:
    """The address of a provider that costs little."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.provider", str(port)], cwd=ROOT)
    try:
        _wait_for(port)
        yield f"http://{HOST}:{port}/api/v1"
    finally:
        process.terminate()
        process.wait(20)


def raise_limits() -> None:
    """Let this process, and those that it starts, open as many descriptors as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")
