"""Database work: in bounded pools of threads, a pool for each kind of work, one hop per step.

Django's default would put everything on the one thread that all of `sync_to_async` shares, where
one slow query holds up every socket. A cancelled await does not stop its function, nor roll its
transaction back: whatever runs here may be repeated.

Each kind of work is a lane (`lanes`) with connections of its own. What an HTTP request does runs in
the lane that `lane` sets for it; Django's synchronous views, which have a thread per request, hold
one of the lane's slots while they run (`slot`), and none while they hash (`without_connection`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import structlog
from asgiref.sync import sync_to_async
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

from agent import metrics
from agent.errors import Overloaded

from .lanes import CHAT, CONNECTIONS, KEEP, REMOVAL, SEARCH, WAIT_SECONDS, WAITING

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: What a lost, restarting or overloaded database raises.
DATABASE_ERRORS = (OperationalError, InterfaceError)

#: What psycopg and Django file under defects of the caller, and is the state of the database: it
#: ended the connection because this process was frozen within a transaction; it takes no writes;
#: it has no such table or column (yet).
_STATES = {
    "25P03": "terminated while this process was frozen",
    "25006": "read-only",
    "42P01": "a table is missing",
    "42703": "a column is missing",
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


_lane: ContextVar[str] = ContextVar("lane", default=CHAT)


@contextmanager
def lane(name: str) -> Iterator[None]:
    """Let the database work of this context run in that lane."""
    token = _lane.set(name)
    try:
        yield
    finally:
        _lane.reset(token)


async def transact(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync function in one transaction, off the event loop.

    Raises:
        DATABASE_ERRORS: nothing was written, or (a connection lost during the commit) all of it.
        Overloaded: nothing was done; see `lanes.WAITING`.
    """
    return await _run(_lane.get(), transaction.atomic(partial(function, *args, **kwargs)), _writers)


async def transact_apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`transact` for what keeps this process's turns: it waits behind nobody else's work."""
    return await _run(KEEP, transaction.atomic(partial(function, *args, **kwargs)), _writers)


async def read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync function that only reads, off the event loop and without a transaction.

    Raises:
        DATABASE_ERRORS: the database did not answer.
        Overloaded: nothing was done; see `lanes.WAITING`.
    """
    return await _run(_lane.get(), partial(function, *args, **kwargs), _threads)


async def search(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`read` for what may take long: it holds up nobody but its like."""
    return await _run(SEARCH, partial(function, *args, **kwargs), _threads)


async def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync function that makes its own transactions, on a thread that is for that alone."""
    return await _run(REMOVAL, partial(function, *args, **kwargs), _threads)


async def repeated(step: Callable[[], Awaitable[T]]) -> T:
    """Repeat a step until the database answers it; it must be one that may be repeated."""
    while True:
        try:
            return await step()
        except DATABASE_ERRORS as error:
            log_failure(error)
            await asyncio.sleep(0.5)


async def _run(
    name: str, function: Callable[[], T], threads: Callable[[str], ThreadPoolExecutor]
) -> T:
    if name not in WAITING:
        running = threads(name).submit(_with_connection, function)
        return await asyncio.wrap_future(running)
    place = _Slot(name)
    await place.take()
    running = threads(name).submit(_with_connection, function)
    running.add_done_callback(lambda _: place.give())  # when it has ended, awaited or not
    return await asyncio.wrap_future(running)


def _with_connection(function: Callable[[], T]) -> T:
    _keep_open()
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
        _keep_open()
        close_old_connections()
        # Django keeps the error of a failed transaction, and its traceback would keep the caller
        connection.rollback_exc = None  # type: ignore[attr-defined]


def _keep_open() -> None:
    """Of SQLite, our few threads keep their connections; PostgreSQL's go back to the pool."""
    if connection.vendor == "sqlite":
        connection.close_at = None


def _writers(name: str) -> ThreadPoolExecutor:
    # SQLite has one writer at a time: one thread waits in order, where several would poll a lock.
    return _threads("write" if connection.vendor == "sqlite" else name)


@cache
def _threads(name: str) -> ThreadPoolExecutor:
    number = CONNECTIONS.get(name, 1)
    if connection.vendor == "sqlite":
        number = min(number, 2)
    return ThreadPoolExecutor(number, thread_name_prefix=f"db-{name}")


# slots


class _Slot:
    """One of a lane's connections, as somebody takes it, gives it back and takes it again.

    Taken on the event loop or in a thread, given back anywhere; giving back twice is harmless.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        lanes = _free.setdefault(self._loop, {})
        self._free = lanes.setdefault(name, asyncio.Semaphore(CONNECTIONS[name]))
        self._taken = False

    async def take(self) -> None:
        """Wait for one.

        Raises:
            Overloaded: none was given back in time.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            metrics.overloads.inc()
            raise Overloaded(retry_after=WAIT_SECONDS) from None
        self._taken = True

    def take_again(self) -> None:
        """`take` in a thread that is not the event loop's."""
        asyncio.run_coroutine_threadsafe(self.take(), self._loop).result()

    def give(self) -> None:
        if self._taken:
            self._taken = False
            with suppress(RuntimeError):  # the event loop is closed, and nobody waits any more
                self._loop.call_soon_threadsafe(self._free.release)


_free: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = (
    WeakKeyDictionary()
)
_held: ContextVar[_Slot | None] = ContextVar("held", default=None)


@asynccontextmanager
async def slot() -> AsyncIterator[None]:
    """Hold a connection of this context's lane for Django's synchronous code, in its own thread.

    At the end the connection is given back, before the response is sent: a client that reads slowly
    holds none. A request that is cancelled holds its slot until its thread has ended.

    Raises:
        Overloaded: none was given back in time.
    """
    place = _Slot(_lane.get())
    await place.take()
    token = _held.set(place)
    try:
        yield
    finally:
        _held.reset(token)
        try:
            await sync_to_async(_give_back)()  # after whatever runs in that thread
        finally:
            place.give()


def _give_back() -> None:
    if not connection.in_atomic_block:  # as the tests' client may have it
        close_old_connections()


@contextmanager
def without_connection() -> Iterator[None]:
    """Hold neither connection nor slot for a while; within a transaction, which needs them, both.

    Raises:
        Overloaded: afterwards there was no slot in time.
    """
    if connection.in_atomic_block:
        yield
        return
    connection.close()
    place = _held.get()
    if place is None:
        yield
        return
    place.give()
    try:
        yield
    finally:
        place.take_again()


# the database itself


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
