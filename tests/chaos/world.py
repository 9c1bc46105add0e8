"""What runs in a chaos run: servers, their services, the provider, and a proxy before each server.

All of it on loopback, in own processes and directories, ended with the `async with` block.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from pathlib import Path
from shutil import copy, rmtree
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from tests.support.scripted_provider import ScriptedProcess, scripted_process
from tests.support.servers import Server, ServerFailed, migrated_database
from tests.support.services import HOST, Postgres, Redis, free_port, start_postgres, start_redis

from .proxy import Proxy

LEASE_SECONDS = 3
DRAIN_SECONDS = 2
HEARTBEAT_SECONDS = 2
#: A process's pool of PostgreSQL connections.
POOL_SIZE = 16

_SETTINGS = {
    "LEASE_SECONDS": str(LEASE_SECONDS),
    "DRAIN_SECONDS": str(DRAIN_SECONDS),
    "HEARTBEAT_INTERVAL": str(HEARTBEAT_SECONDS),
    "PROVIDER_FIRST_TOKEN_TIMEOUT": "4",
    "PROVIDER_TOKEN_TIMEOUT": "1.5",
    "PROVIDER_TOTAL_TIMEOUT": "30",
    "MAX_HISTORY": "8",
}
_TELL_SECONDS = 10
_STOP_SECONDS = 45


class Process(Server):
    """A server process started by `launch`, on a port that stays its own."""

    def __init__(
        self,
        provider_url: str = "",
        *,
        changes: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        super().__init__(provider_url, environment=environment)
        self.port = free_port()
        self.changes = changes

    def _arguments(self) -> list[str]:
        python, _, *arguments = super()._arguments()
        entry = [python, "-m", "tests.chaos.launch", str(self._told), ",".join(self.changes)]
        return [*entry, *arguments]

    def stop(self) -> int:
        """End it with SIGTERM; one that does not end tells what it still does."""
        self.terminate()
        until = time.monotonic() + _STOP_SECONDS
        while self.running and time.monotonic() < until:
            time.sleep(0.05)
        if self.running:
            doing = self.resources()
            self.kill()
            raise ServerFailed(f"does not end; it has {doing}")
        return self.wait()

    @property
    def _told(self) -> Path:
        return self.directory / "told.json"

    def resources(self) -> dict[str, Any]:
        """What it uses now: memory, descriptors, clients' connections, tasks, groups."""
        self._told.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        until = time.monotonic() + _TELL_SECONDS
        while not self._told.exists() and time.monotonic() < until:
            time.sleep(0.05)
        told = json.loads(self._told.read_text()) if self._told.exists() else {}
        return {
            "rss_mb": round(rss_bytes(self.pid) / 2**20, 1),
            "descriptors": len(os.listdir(f"/proc/{self.pid}/fd")),
            "clients": connections_on(self.port),
            **told,
        }


def rss_bytes(pid: int) -> int:
    """The memory that a process has in use."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def connections_on(port: int) -> int:
    """How many established TCP connections of this machine have their server's end on a port."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = [(row.split()[1], row.split()[3]) for row in rows]
    return sum(int(local.split(":")[1], 16) == port and state == "01" for local, state in ends)


class World:
    """What runs.

    Args:
        database: "postgres" (with Redis) or "sqlite".
        processes: how many servers.
        changes: what is different in them; see `launch`.
        environment: further variables of theirs, which win.
    """

    redis: Redis | None = None
    postgres: Postgres | None = None
    provider: ScriptedProcess

    def __init__(
        self,
        database: str,
        processes: int,
        changes: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.database, self.processes, self.changes = database, processes, changes
        self.environment = environment or {}
        self.servers: list[Process] = []
        self.doors: list[Proxy] = []
        self._directory = Path(tempfile.mkdtemp(prefix="chaos-"))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self._stack.callback(rmtree, self._directory, ignore_errors=True)
        enter = self._stack.enter_context
        self.provider = await asyncio.to_thread(enter, scripted_process())
        services = {}
        if self.database == "postgres":
            self.redis = await asyncio.to_thread(enter, start_redis())
            self.postgres = await asyncio.to_thread(enter, start_postgres())
            services = {"REDIS_URL": self.redis.url, "DATABASE_URL": self.postgres.url}
        else:
            await asyncio.to_thread(copy, migrated_database(), self._sqlite)
            services = {"DATABASE_URL": f"sqlite:///{self._sqlite}"}
        for _ in range(self.processes):
            server = Process(
                self.provider.base_url,
                changes=self.changes,
                environment={**_SETTINGS, **services, **self.environment},
            )
            self._stack.callback(server.close)
            self.servers.append(server)
        if self.postgres:
            await asyncio.to_thread(self.servers[0].manage, "migrate", "--verbosity", "0")
        if "fence" in self.changes:
            await asyncio.to_thread(self._drop_constraint)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in self.servers))
        for server in self.servers:
            door = Proxy(server.port)
            await door.start()
            self._stack.push_async_callback(door.close)
            self.doors.append(door)

    def _drop_constraint(self) -> None:
        with self._connection() as connection:
            connection.execute("DROP INDEX message_one_end_per_turn")

    # looking

    @property
    def _sqlite(self) -> Path:
        return self._directory / "db.sqlite3"

    @contextmanager
    def _connection(self) -> Any:
        if self.postgres:
            with psycopg.connect(self.postgres.url, autocommit=True, row_factory=dict_row) as one:
                yield one
            return
        with closing(sqlite3.connect(self._sqlite, timeout=20, isolation_level=None)) as other:
            other.row_factory = sqlite3.Row
            yield other

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """What the database answers, blocking."""
        with self._connection() as connection:
            return [dict(row) for row in connection.execute(sql).fetchall()]

    def database_connections(self) -> int:
        """How many connections the servers have to PostgreSQL."""
        if not self.postgres:
            return 0
        sql = (
            "SELECT count(*) AS n FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        )
        return int(self.rows(sql)[0]["n"])

    def resources(self) -> list[dict[str, Any]]:
        """What each server uses now, blocking."""
        return [server.resources() for server in self.servers]

    # healing

    async def heal(self) -> None:
        """Let everything run and flow again."""
        for door in self.doors:
            door.flow()
            door.delay_seconds = 0.0
        for service in (self.redis, self.postgres):
            if service:
                service.cont()
                if not service.running:
                    await asyncio.to_thread(service.start)
        for server in self.servers:
            if server.running:
                server.thaw()
            else:
                await asyncio.to_thread(server.start)

    def flush_redis(self) -> None:
        """Delete all that Redis holds, blocking."""
        assert self.redis
        with (
            suppress(OSError),
            socket.create_connection((HOST, self.redis.port), timeout=1) as peer,
        ):
            peer.sendall(b"FLUSHALL\r\n")
            peer.recv(100)
