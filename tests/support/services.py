"""Redis, PostgreSQL and pgbouncer for tests: own processes on loopback, each in a directory.

Each is ended by its process id, when its `with` block or the test run ends. They can be killed,
frozen and restarted on the same port in between, which is what the chaos tests do.
"""

from __future__ import annotations

import atexit
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

HOST = "127.0.0.1"
#: Below the ports that systems give to outgoing connections: a client that tries again and again
#: to reach a stopped server must not end up connected to itself, on that server's port.
_PORTS = range(20000, 32000)
#: So many in a row belong to one process of the tests, which holds the first of them open.
_BLOCK = 200
_START_SECONDS = 30
_STOP_SECONDS = 15


class ServiceFailed(Exception):
    """A server did not start; the message ends with its last log lines."""


class Service:
    """A server process; subclasses say how it is set up, started and asked whether it is ready."""

    name: str
    #: The signal after which it ends in order, and the one after which it just ends.
    _end, _crash = signal.SIGTERM, signal.SIGKILL
    _refuses_root = False

    def __init__(self) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"test-{self.name}-"))
        self.user: int | None = None
        self.group: int | None = None
        if self._refuses_root and os.geteuid() == 0:
            account = _unprivileged_account()
            self.user, self.group = account.pw_uid, account.pw_gid
            os.chown(self.directory, self.user, self.group)
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    @property
    def url(self) -> str:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _ready(self) -> bool:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        if self._process is None:
            raise ServiceFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server on its port and wait until it answers."""
        deadline = time.monotonic() + _START_SECONDS
        self._launch()
        while not (self.running and self._ready()):
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceFailed(f"{self.name} does not answer\n{self._log_tail()}")
            if not self.running:
                # after a kill, what is left of the old processes may still hold the port
                time.sleep(0.2)
                self._launch()
            time.sleep(0.02)

    def stop(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing is answered. See `cont`."""
        for pid in self._processes():
            _send(pid, signal.SIGSTOP)

    def cont(self) -> None:
        """Let a frozen server go on."""
        for pid in self._processes():
            _send(pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it with SIGKILL, every process of it, and wait until they are gone."""
        self.stop()  # so that none is born meanwhile
        for pid in list(self._processes()):
            _send(pid, signal.SIGKILL)
        self._reap()

    def restart(self, *, crash: bool = False) -> None:
        """End it and start it again on the same port, with the data that it keeps.

        Args:
            crash: end it without its ordinary shutdown.
        """
        self._finish(self._crash if crash else self._end)
        self.start()

    def close(self) -> None:
        """End the server and delete its directory; harmless when repeated."""
        atexit.unregister(self.close)
        self._finish(self._end)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _launch(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl+C is for the tests, which end it in order
                cwd=self.directory,
                user=self.user,
                group=self.group,
                extra_groups=None if self.user is None else [],
            )

    def _finish(self, how: signal.Signals) -> None:
        if not self.running:
            return
        _send(self.pid, how)
        self.cont()  # a frozen one would not notice
        try:
            self._reap()
        except subprocess.TimeoutExpired:
            self.kill()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(_STOP_SECONDS)

    def _processes(self) -> Iterator[int]:
        """The first process, then its children at the time when they are asked for."""
        if self.running:
            yield self.pid
            yield from _children(self.pid)

    def _log_tail(self) -> str:
        with suppress(OSError):
            lines = (self.directory / "log").read_text(errors="replace").splitlines()
            return "\n".join(lines[-15:])
        return ""


class Redis(Service):
    """A Redis server that keeps nothing: a restart empties it.

    Args:
        password: that it wants; it must be one word.
    """

    name = "redis"

    def __init__(self, password: str = "") -> None:
        super().__init__()
        self._password = password

    @property
    def socket(self) -> Path:
        """The Unix socket on which it listens as well."""
        return self.directory / "redis.sock"

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def _command(self) -> list[str]:
        options = {"bind": HOST, "port": str(self.port), "dir": str(self.directory)}
        options |= {"save": "", "appendonly": "no", "daemonize": "no"}
        options |= {"unixsocket": str(self.socket), "requirepass": self._password}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [binary("redis-server"), *words]

    def _ready(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class Postgres(Service):
    """A PostgreSQL cluster with one database, `agent`.

    It does not wait for the disk. What is committed survives the end of its processes, also by
    `kill`, though not that of the machine.
    """

    name = "postgres"
    _refuses_root = True
    _end, _crash = signal.SIGINT, signal.SIGQUIT

    def __init__(self) -> None:
        super().__init__()
        self._password = secrets.token_urlsafe(16)
        self._initialise()

    @property
    def url(self) -> str:
        return self.url_of("agent")

    def url_of(self, database: str) -> str:
        return f"postgres://agent:{self._password}@{HOST}:{self.port}/{database}"

    def create_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"agent_{secrets.token_hex(4)}"
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` made, whoever is connected to it."""
        name = urlsplit(url).path.removeprefix("/")
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} (FORCE)").format(sql.Identifier(name)))

    def start(self) -> None:
        super().start()
        with suppress(psycopg.errors.DuplicateDatabase):
            self._execute(sql.SQL("CREATE DATABASE agent"))

    def _initialise(self) -> None:
        password_file = self.directory / "password"
        password_file.write_text(self._password)
        password_file.chmod(0o644)  # within a directory that only its owner enters
        command = [binary("initdb"), "--pgdata", str(self.directory / "data")]
        command += ["--username=agent", f"--pwfile={password_file}", "--auth=scram-sha-256"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=self.directory,
            user=self.user,
            group=self.group,
            extra_groups=None if self.user is None else [],
        )
        if done.returncode:
            self.close()
            raise ServiceFailed(f"initdb failed\n{done.stdout.decode(errors='replace')}")

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "off",
            "full_page_writes": "off",
        }
        words = [word for item in settings.items() for word in ("-c", "=".join(item))]
        return [binary("postgres"), "-D", str(self.directory / "data"), *words]

    def _ready(self) -> bool:
        try:
            self._execute(sql.SQL("SELECT 1"))
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(
            self.url_of("postgres"), autocommit=True, connect_timeout=2
        ) as connection:
            connection.execute(statement)


class Pgbouncer(Service):
    """A pgbouncer in front of a cluster, with its defaults but for the mode.

    Args:
        postgres: the cluster.
        pool_mode: "session", "transaction" or "statement".
        settings: further lines of its section `[pgbouncer]`.
    """

    name = "pgbouncer"
    _refuses_root = True
    _end = signal.SIGINT

    def __init__(
        self, postgres: Postgres, pool_mode: str = "transaction", settings: str = ""
    ) -> None:
        super().__init__()
        parts = urlsplit(postgres.url)
        users = self.directory / "users"
        users.write_text(f'"{parts.username}" "{parts.password}"\n')
        users.chmod(0o644)  # within a directory that only its owner enters
        configuration = self.directory / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host={HOST} port={parts.port}\n"
            f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n"
            f"pool_mode = {pool_mode}\n{settings}\n"
        )
        configuration.chmod(0o644)

    def url_of(self, url: str) -> str:
        """The address by which a database of the cluster is reached through this."""
        parts = urlsplit(url)
        place = f"{parts.username}:{parts.password}@{HOST}:{self.port}"
        return parts._replace(netloc=place).geturl()

    def _command(self) -> list[str]:
        return [binary("pgbouncer"), str(self.directory / "pgbouncer.ini")]

    def _ready(self) -> bool:
        with suppress(OSError):
            socket.create_connection((HOST, self.port), timeout=1).close()
            return True
        return False


@contextmanager
def start_redis() -> Iterator[Redis]:
    """A running Redis server, ended with the block."""
    with Redis() as redis:
        redis.start()
        yield redis


@contextmanager
def start_postgres() -> Iterator[Postgres]:
    """A running PostgreSQL cluster, ended with the block."""
    with Postgres() as postgres:
        postgres.start()
        yield postgres


def free_port() -> int:
    """A port of the loopback address on which nothing listens, and which no other test is given.

    A server that is stopped and started again keeps its port meanwhile: each process of the tests
    takes ports from a block of its own, in turn.
    """
    ports = _own_ports()
    for _ in range(_BLOCK):
        port = next(ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise ServiceFailed("no free port on the loopback address")


@cache
def _own_ports() -> Iterator[int]:
    """The ports of this process, round and round; the block is free again when the process ends."""
    for first in random.sample(_PORTS[::_BLOCK], len(_PORTS) // _BLOCK):
        guard = socket.socket()
        try:
            guard.bind((HOST, first))
        except OSError:
            guard.close()
            continue
        atexit.register(guard.close)  # and keeps it open until then
        return cycle(range(first + 1, first + _BLOCK))
    raise ServiceFailed("other processes of tests have all ports")


def binary(name: str) -> str:
    """The path of a program; Debian keeps some outside the PATH of ordinary users."""
    newest_first = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
        key=lambda path: int(path.parts[4].split(".")[0]),
        reverse=True,
    )
    if newest_first:
        return str(newest_first[0])
    if found := shutil.which(name) or shutil.which(name, path="/usr/sbin"):
        return found
    raise ServiceFailed(f"{name} is not installed; `.ci/packages` installs what the tests need")


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _children(pid: int) -> list[int]:
    return [child for child, parent in _parents() if parent == pid]


def _parents() -> Iterator[tuple[int, int]]:
    """(process, its parent) of every process."""
    if not Path("/proc/self/stat").exists():  # macOS
        command = ["ps", "-A", "-o", "pid=,ppid="]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            child, parent = line.split()
            yield int(child), int(parent)
        return
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # "pid (name) state ppid ...", and the name may hold anything
            yield int(stat.parts[2]), int(stat.read_text().rpartition(")")[2].split()[1])


def _unprivileged_account() -> pwd.struct_passwd:
    """The user that runs PostgreSQL for root, whom it refuses."""
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServiceFailed("PostgreSQL does not run as root, and there is no user postgres or nobody")
