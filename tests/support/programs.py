"""`manage.py` for tests, forked from a process that has imported the libraries and the site.

Importing packages takes most of the time in which `manage.py` starts. Each program makes the
settings from its own environment. When they differ in what modules look at while they are imported,
with `DEBUG=0` for example, the program imports everything anew: see `preloaded`.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import ROOT

#: None of them may look into Django's settings, or start a thread, when it is imported.
_LIBRARIES = [
    "aiohttp",
    "channels.layers",
    "channels_redis.pubsub",
    "django.core.management",
    "django.db.models",
    "environ",
    "httpx",
    "httpx_aiohttp",
    "httptools",
    "limits.aio.strategies",
    "markdown_it",
    "prometheus_client",
    "psycopg_pool",
    "pydantic",
    "redis.asyncio",
    "stamina",
    "structlog",
    "uvicorn",
    "uvloop",
    "websockets",
    "tests.support.preloaded",
]
_PR_SET_PDEATHSIG = 1
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(_LIBRARIES)
#: Starting a process looks whether others have ended, which must not be read twice.
_lock = threading.Lock()


class Program:
    """A running `manage.py`, in a session of its own.

    Args:
        arguments: of Python: `manage.py` and its own, or `-m`, a module and its own.
        environment: all that there is of it.
        output, errors: the files to which it appends what it prints; by default one for both.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
    ) -> None:
        files = (str(output), str(errors or output))
        self._process = _forks.Process(
            target=_main, args=(list(arguments), dict(environment), files)
        )
        with _lock:
            self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit status, as soon as it has ended."""
        with _lock:
            return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int:
        """Wait for its end; returns its exit status.

        Raises:
            subprocess.TimeoutExpired: it did not end.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while (status := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired("manage.py", seconds or 0)
            time.sleep(0.01)
        return status


def _main(arguments: list[str], environment: dict[str, str], files: tuple[str, str]) -> None:
    os.setsid()  # Ctrl+C is for the tests, which end it in order
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # with one of them it would keep its parent alive
    if sys.platform == "linux":  # tests that are killed leave nothing behind
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), number)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", 1, closefd=False) for n in (1, 2))
    os.chdir(ROOT)
    preloaded = sys.modules.get("tests.support.preloaded")
    if not (preloaded and preloaded.usable()):
        os.execv(sys.executable, [sys.executable, *arguments])
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
