"""Real server processes for tests, each with a database file of its own.

`manage.py serve` by default; a bare `uvicorn` or `daphne agentsite.asgi:application` with
`Server(..., command=...)`. They see no environment but ours, and are ended by their process id when
their `with` block or the test run ends. The conftest of a layer imports the fixtures at the end;
tests share one server process, and those marked `transports` run once more on a bare daphne.
"""

from __future__ import annotations

import atexit
import http.client
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

import pytest

from tests.support import ROOT
from tests.support.client import Client, connect
from tests.support.programs import Program
from tests.support.scripted_provider import ScriptedProcess, scripted_process
from tests.support.services import HOST, free_port

#: `manage.py serve`, or the application under a server that was started by its own command.
Command = Literal["serve", "uvicorn", "daphne"]

_START_SECONDS = 60
_STOP_SECONDS = 60
#: So high that no test meets them by accident; a test of a limit sets its own.
_LIMITS = {
    "MAX_CONNECTIONS_PER_USER": "10000",
    "MAX_CONNECTS_PER_MINUTE": "1000000",
    "MAX_QUERIES_PER_MINUTE": "1000000",
    "MAX_FRAMES_PER_SECOND": "1000000",
    "MAX_CONNECTIONS_PER_ADDRESS": "10000",
    "MAX_REQUESTS_PER_USER": "10000",
    "MAX_REQUESTS_PER_ADDRESS": "10000",
    "MAX_WRITES_PER_MINUTE": "1000000",
    "MAX_ANONYMOUS_WRITES_PER_HOUR": "1000000",
    "MAX_SIGN_INS_PER_MINUTE": "1000000",
}


class ServerFailed(Exception):
    """A server did not start or end; the message ends with its last log lines."""


class Server:
    """A server process, which can be ended, killed and started again on its port.

    Args:
        provider_url: OPENROUTER_BASE_URL; empty: the demo model answers.
        command: what starts it.
        environment: further variables, which win.
    """

    def __init__(
        self,
        provider_url: str = "",
        *,
        command: Command = "serve",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = command
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"test-{command}-"))
        self.database = self.directory / "db.sqlite3"
        self.environment = {
            **plain_environment(f"sqlite:///{self.database}"),
            "OPENROUTER_BASE_URL": provider_url,
            **_LIMITS,
            **(environment or {}),
        }
        self._process: Program | subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    # where it is

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All that it has printed and logged, also before it was started again."""
        with suppress(FileNotFoundError):
            return (self.directory / "log").read_text(errors="replace")
        return ""

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.splitlines()[-lines:])

    # its life

    def start(self) -> None:
        """Start it on its port, and wait until it takes connections."""
        if not self.database.exists():
            shutil.copy(migrated_database(), self.database)
        self._process = self._launch()
        self._wait(self._takes_connections, _START_SECONDS, "take connections")

    def stop(self) -> int:
        """End it with SIGTERM and wait; returns its exit status."""
        self.terminate()
        return self.wait()

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end; returns its exit status."""
        assert self._process is not None, "the server was never started"
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"{self.command} did not end\n{self.log_tail()}") from None

    def kill(self) -> None:
        """End it with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        """Stop it where it stands (SIGSTOP), until `thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """End it in order and start it again on the same port, with the same database."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and delete its directory; harmless when repeated."""
        atexit.unregister(self.close)
        if self.running:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _launch(self) -> Program | subprocess.Popen[bytes]:
        python, *arguments = self._arguments()
        log = self.directory / "log"
        if python == sys.executable and self.command == "serve":
            return Program(arguments, self.environment, log)
        with log.open("ab") as file:
            return subprocess.Popen(
                [python, *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl+C is for the tests, which end it in order
            )

    def _arguments(self) -> list[str]:
        python, application = sys.executable, "agentsite.asgi:application"
        port = str(self.port)
        match self.command:
            case "uvicorn":
                return [python, "-m", "uvicorn", "--host", HOST, "--port", port, application]
            case "daphne":
                return [python, "-m", "daphne", "-b", HOST, "-p", port, application]
            case _:
                return [python, "manage.py", "serve", "--host", HOST, "--port", port]

    def _takes_connections(self) -> bool:
        with suppress(OSError):
            socket.create_connection((HOST, self.port), timeout=1).close()
            return True
        return False

    def _wait(self, ready: Callable[[], object], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running or time.monotonic() > deadline:
                raise ServerFailed(f"{self.command} did not {what}\n{self.log_tail()}")
            time.sleep(0.02)

    # using it

    def connect(
        self, path: str = "/ws/agent/", **options: Any
    ) -> AbstractAsyncContextManager[Client]:
        """A WebSocket; the options are those of `client.connect`."""
        return connect(f"ws://{HOST}:{self.port}{path}", log=self.log_tail, **options)

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What a query finds in its database; ids are hexadecimal there, without dashes."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, dict[str, str], str]:
        """A plain HTTP request, blocking; returns status, headers (in lower case) and body."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            connection.request(method, path, body, headers=dict(headers or {}))
            response = connection.getresponse()
            text = response.read().decode()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, text
        finally:
            connection.close()

    def manage(self, *arguments: str) -> str:
        """Run a command of manage.py on its database; returns what it printed."""
        return manage(arguments, self.environment)

    def assert_nothing_broke(self, since: int = 0) -> None:
        """Nothing that nobody expected stands in its log after the first `since` characters."""
        log = self.log[since:]
        for trouble in (
            "Traceback (most recent call last)",
            "never retrieved",
            "never awaited",
            "could not be written",
        ):
            assert trouble not in log, f"{trouble!r} in the log of {self.command}\n{log}"


def manage(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a command of manage.py in this environment; returns what it printed.

    Raises:
        ServerFailed: it ended with an error.
    """
    with TemporaryDirectory() as directory:
        output, errors = Path(directory, "output"), Path(directory, "errors")
        status = Program(["manage.py", *arguments], environment, output, errors).wait()
        printed = output.read_text()
        if status:
            raise ServerFailed(f"manage.py {arguments[0]}\n{printed}{errors.read_text()}")
        return printed


_PRODUCTION_SETTINGS = """\
from agentsite.settings import *
STATIC_ROOT = {root!r}
"""


def production_server(provider_url: str, directory: Path, **environment: str) -> Server:
    """A server without DEBUG, not started yet, with its static files collected.

    Args:
        provider_url: OPENROUTER_BASE_URL.
        directory: for those files.
        environment: further variables.
    """
    settings = _PRODUCTION_SETTINGS.format(root=str(directory / "static"))
    (directory / "production_settings.py").write_text(settings)
    production = {
        "DEBUG": "0",
        "DJANGO_SETTINGS_MODULE": "production_settings",
        "PYTHONPATH": str(directory),
        **environment,
    }
    server = Server(provider_url, environment=production)
    server.manage("collectstatic", "--noinput", "--verbosity", "0")
    return server


def plain_environment(database_url: str) -> dict[str, str]:
    """An environment of which the caller's settings are no part."""
    mine = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **mine,
        "PYTHONUNBUFFERED": "1",
        "ENV_FILE": "",
        "DEBUG": "1",
        "SECRET_KEY": "of-tests-only-" + "0123456789" * 5,
        "DATABASE_URL": database_url,
    }


@cache
def migrated_database() -> Path:
    """An empty SQLite file with all tables, made once, to be copied."""
    directory = Path(tempfile.mkdtemp(prefix="test-database-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    file = directory / "db.sqlite3"
    manage(["migrate", "--verbosity", "0"], plain_environment(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def provider() -> Iterator[ScriptedProcess]:
    """The provider of the shared servers."""
    with scripted_process() as process:
        yield process


@pytest.fixture(scope="session")
def server_command(request: pytest.FixtureRequest) -> Command:
    """How shared servers are started; each way in turn for tests marked `transports`."""
    return getattr(request, "param", None) or "serve"


@pytest.fixture(scope="session")
def server(server_command: Command, provider: ScriptedProcess) -> Iterator[Server]:
    """A server that all tests share, with the default settings; no test may end it."""
    with Server(provider.base_url, command=server_command) as shared:
        yield shared
        shared.stop()
        shared.assert_nothing_broke()


@pytest.fixture
def start_server(
    server_command: Command, provider: ScriptedProcess
) -> Iterator[Callable[..., Server]]:
    """Starts servers of this test alone, with the variables that it is called with."""
    started: list[Server] = []

    def start(command: Command = server_command, **environment: str) -> Server:
        one = Server(provider.base_url, command=command, environment=environment)
        started.append(one)
        one.start()
        return one

    yield start
    for one in started:
        one.close()


@pytest.fixture
def processes(provider: ScriptedProcess) -> Iterator[tuple[Server, Server]]:
    """Two server processes on one database; nothing but the rows is between them."""
    with Server(provider.base_url) as one:
        shared = {"DATABASE_URL": f"sqlite:///{one.database}"}
        with Server(provider.base_url, environment=shared) as two:
            yield one, two
            one.assert_nothing_broke()
            two.assert_nothing_broke()
