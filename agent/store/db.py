"""Database work: in bounded pools of threads, a pool for each kind of work, one hop per step.

Django's default would put everything on the one thread that all of `sync_to_async` shares, where
one slow query holds up every socket. A cancelled await does not stop its function, nor roll its
transaction back: whatever runs here may be repeated.

Each kind of work is a lane (`lanes`) with connections of its own. An HTTP request works in the lane
that `slots.lane` sets for it; Django's synchronous views, which have a thread per request, hold one
of the lane's slots while they run, and none while they hash passwords.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

import structlog
from django.db import (
    InternalError,
    OperationalError,
    ProgrammingError,
    close_old_connections,
    connection,
    connections,
    reset_queries,
    transaction,
)

from agent import metrics

from .lanes import CONNECTIONS, KEEP, REMOVAL, SEARCH, WAITING
from .outage import DATABASE_ERRORS, STATES, log_failure, note_refusal
from .slots import Slot, current_lane

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


async def transact(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync function in one transaction, off the event loop.

    Raises:
        DATABASE_ERRORS: nothing was written, or (a connection lost during the commit) all of it.
        Overloaded: nothing was done; see `lanes.WAITING`.
    """
    return await _run(
        current_lane.get(), transaction.atomic(partial(function, *args, **kwargs)), _writers
    )


async def transact_apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`transact` for the leases of this process's turns: it waits behind no other work."""
    return await _run(KEEP, transaction.atomic(partial(function, *args, **kwargs)), _writers)


async def read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync function that only reads, off the event loop and without a transaction.

    Raises:
        DATABASE_ERRORS: the database did not answer.
        Overloaded: nothing was done; see `lanes.WAITING`.
    """
    return await _run(current_lane.get(), partial(function, *args, **kwargs), _threads)


async def search(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`read` for searches, which may take long: they hold up other searches alone."""
    return await _run(SEARCH, partial(function, *args, **kwargs), _threads)


async def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync function that makes its own transactions, on the thread for removals."""
    return await _run(REMOVAL, partial(function, *args, **kwargs), _threads)


async def repeated(step: Callable[[], Awaitable[T]]) -> T:
    """Repeat a step until the database answers it; the step has to be repeatable."""
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
    slot = Slot(name)
    await slot.take()
    running = threads(name).submit(_with_connection, function)
    running.add_done_callback(lambda _: slot.give())  # when it has ended, awaited or not
    return await asyncio.wrap_future(running)


def _with_connection(function: Callable[[], T]) -> T:
    _keep_open()
    close_old_connections()
    reset_queries()  # with DEBUG, Django keeps them with their texts
    try:
        return function()
    except DATABASE_ERRORS as error:
        metrics.database_failures.inc()
        note_refusal(error)
        raise
    except (InternalError, ProgrammingError) as error:
        state = getattr(error.__cause__, "sqlstate", None)
        if state not in STATES:
            raise
        metrics.database_failures.inc()
        note_refusal(error)
        raise OperationalError(STATES[state]) from error.__cause__
    finally:
        _keep_open()
        close_old_connections()
        # Django keeps the error of a failed transaction, and its traceback would keep the caller
        connection.rollback_exc = None  # type: ignore[attr-defined]


def _keep_open() -> None:
    """Keep SQLite's connections, one per thread; PostgreSQL's go back to the pool."""
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


def use_write_ahead_log(using: str, **_: object) -> None:
    """Let readers of a SQLite file continue while another process writes. The file keeps this."""
    if connections[using].vendor == "sqlite":
        with connections[using].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
