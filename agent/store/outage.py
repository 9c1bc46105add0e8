"""The state of the database, as errors tell it: why it failed, and whether it takes writes."""

from __future__ import annotations

import time

import structlog
from django.db import InterfaceError, OperationalError, connection

log = structlog.get_logger(__name__)

#: The exceptions of a lost, restarting or overloaded database.
DATABASE_ERRORS = (OperationalError, InterfaceError)

#: States of the database that psycopg and Django file under defects of the caller: it ended the
#: connection because this process was frozen within a transaction; it takes no writes; it has no
#: such table or column (yet).
STATES = {
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


def reason(error: BaseException) -> str:
    """Why the database failed, without any text of a caller: its code and the code's name."""
    cause = error.__cause__
    if state := getattr(cause, "sqlstate", None):
        return f"{state} {type(cause).__name__}"
    if name := getattr(cause, "sqlite_errorname", None):
        text = _SQLITE_REASONS.get(name.split("_")[1], "")
        if str(cause).startswith("no such table"):
            text = "a table is missing"
        return f"{name} {text}".rstrip()
    return type(error).__name__


#: SQLite's own texts by the kind of error; they are always these.
_SQLITE_REASONS = {
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


def note_refusal(error: Exception) -> None:
    """Remember an error if it says that the database refuses writes."""
    global _refused
    if (why := reason(error)).startswith(_REFUSALS):
        _refused = time.monotonic(), why


def refused() -> str:
    """Why a write was refused within the last seconds; empty when none was."""
    if _refused and time.monotonic() - _refused[0] < REFUSED_SECONDS:
        return _refused[1]
    return ""


def answers() -> bool:
    """Whether the database answers a trivial query; raises when it does not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return True
