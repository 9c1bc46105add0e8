"""Database work of the event loop: in a bounded pool of its own threads, one hop per step.

Django's default would put everything on the one thread that all of `sync_to_async` shares, where
one slow query holds up every socket. A cancelled await does not stop its function, nor roll its
transaction back: whatever runs here may be repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, ParamSpec, TypeVar

import structlog
from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    close_old_connections,
    connection,
    connections,
    reset_queries,
    transaction,
)
from django.db.models import functions

from . import metrics

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: What a lost, restarting or overloaded database raises.
DATABASE_ERRORS = (OperationalError, InterfaceError)

_THREADS = 8
#: What psycopg and Django file under defects of the caller, and is the state of the database: it
#: ended the connection because this process was frozen within a transaction; it takes no writes;
#: it has no such table (yet).
_STATES = {
    "25P03": "terminated while this process was frozen",
    "25006": "read-only",
    "42P01": "a table is missing",
}
#: Errors of SQLite and PostgreSQL by which a database that answers refuses to be written.
_REFUSALS = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "25006", "53100", "58030")
#: How long a refused write counts, where what is tried once more is another write.
REFUSED_SECONDS = 3.0

_refused: tuple[float, str] | None = None  # when a write was refused last, and why
_said: set[str] = set()  # reasons that the log has already, of this outage


class Now(functions.Now):
    """The database's clock.

    On SQLite, where moments are texts, with as many digits as those that Django writes itself: else
    equal moments compare as different ones, and a page may begin with the row that ended the last.
    """

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        text = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000', 'NOW')"
        return self.as_sql(compiler, connection, template=text, **context)


async def transact(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync function in one transaction, off the event loop.

    Raises:
        DATABASE_ERRORS: nothing was written, or (a connection lost during the commit) all of it.
    """
    return await _run(_writers(), transaction.atomic(partial(function, *args, **kwargs)))


async def transact_apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`transact` for what keeps this process's turns: it waits behind nobody else's work."""
    return await _run(_keeper(), transaction.atomic(partial(function, *args, **kwargs)))


async def read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync function that only reads, off the event loop and without a transaction."""
    return await _run(_readers(), partial(function, *args, **kwargs))


async def search(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`read` for what may take long: it holds up nobody but its like."""
    return await _run(_searchers(), partial(function, *args, **kwargs))


async def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync function that makes its own transactions, on a thread that is for that alone."""
    return await _run(_remover(), partial(function, *args, **kwargs))


async def repeated(step: Callable[[], Awaitable[T]]) -> T:
    """Repeat a step until the database answers it; it must be one that may be repeated."""
    while True:
        try:
            return await step()
        except DATABASE_ERRORS as error:
            log_failure(error)
            await asyncio.sleep(0.5)


async def _run(pool: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, _with_connection, function)


def _with_connection(function: Callable[[], T]) -> T:
    close_old_connections()
    reset_queries()  # with DEBUG, Django keeps them with their texts
    try:
        return function()
    except DATABASE_ERRORS as error:
        metrics.database_failures.inc()
        _note_refusal(error)
        raise
    except (InternalError, ProgrammingError) as error:
        state = getattr(error.__cause__, "sqlstate", None)
        if state not in _STATES:
            raise
        metrics.database_failures.inc()
        _note_refusal(error)
        raise OperationalError(_STATES[state]) from error.__cause__
    finally:
        close_old_connections()
        # Django keeps the error of a failed transaction, and its traceback would keep the caller
        connection.rollback_exc = None  # type: ignore[attr-defined]


@cache
def _writers() -> ThreadPoolExecutor:
    # SQLite has one writer at a time: one thread waits in order, where several would poll a lock.
    if connection.vendor == "sqlite":
        return ThreadPoolExecutor(1, thread_name_prefix="db-write")
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="db")


@cache
def _readers() -> ThreadPoolExecutor:
    if connection.vendor == "sqlite":
        return ThreadPoolExecutor(2, thread_name_prefix="db-read")
    return _writers()


@cache
def _keeper() -> ThreadPoolExecutor:
    if connection.vendor == "sqlite":
        return _writers()
    return ThreadPoolExecutor(1, thread_name_prefix="db-keep")


@cache
def _searchers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="db-search")


@cache
def _remover() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="db-remove")


def reason(error: BaseException) -> str:
    """Why the database failed, without anybody's words: its code and the code's name."""
    cause = error.__cause__
    if state := getattr(cause, "sqlstate", None):
        return f"{state} {type(cause).__name__}"
    if name := getattr(cause, "sqlite_errorname", None):
        words = _WORDS_OF_SQLITE.get(name.split("_")[1], "")
        if str(cause).startswith("no such table"):
            words = "a table is missing"
        return f"{name} {words}".rstrip()
    return type(error).__name__


#: SQLite's own words by the kind of error; they are always these.
_WORDS_OF_SQLITE = {
    "FULL": "database or disk is full",
    "READONLY": "attempt to write a readonly database",
    "IOERR": "disk I/O error",
    "CANTOPEN": "unable to open database file",
    "BUSY": "database is locked",
}


def log_failure(error: BaseException) -> None:
    """Log that the database fails; each reason once until `recovered`."""
    why = reason(error)
    if why not in _said:
        _said.add(why)
        log.warning("database unreachable", error=type(error).__name__, reason=why)


def recovered() -> None:
    """The database works: what fails from now on is another outage."""
    _said.clear()


def _note_refusal(error: Exception) -> None:
    global _refused
    if (why := reason(error)).startswith(_REFUSALS):
        _refused = time.monotonic(), why


def refused() -> str:
    """Why a write was refused within the last seconds; empty when none was."""
    if _refused and time.monotonic() - _refused[0] < REFUSED_SECONDS:
        return _refused[1]
    return ""


def answers() -> bool:
    """Ask the database for something that it always has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return True


def use_write_ahead_log(using: str, **_: object) -> None:
    """Let readers of a SQLite file go on while somebody writes. Kept in the file: done once."""
    if connections[using].vendor == "sqlite":
        with connections[using].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
