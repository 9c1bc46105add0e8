"""PostgreSQL's timeouts for each kind of process. Pure: used before Django is set up."""

from __future__ import annotations

from collections.abc import Mapping

#: Names of PostgreSQL's settings, and milliseconds; 0 is no limit.
Timeouts = Mapping[str, int]

_STATEMENT, _LOCK = "statement_timeout", "lock_timeout"
_IDLE = "idle_in_transaction_session_timeout"

#: Chats, pages and the admin. A process that freezes within a transaction blocks others for less
#: time than a lease.
SERVER: Timeouts = {_STATEMENT: 30_000, _LOCK: 4_000, _IDLE: 5_000}
#: Commands: one statement may be large, and a fixture is read within its transaction.
MAINTENANCE: Timeouts = {_STATEMENT: 900_000, _LOCK: 30_000, _IDLE: 60_000}
#: A table may be rewritten. A statement that waits for a lock blocks all statements after it.
MIGRATIONS: Timeouts = {_STATEMENT: 0, _LOCK: 60_000, _IDLE: 0}

_OF_COMMANDS = {"serve": SERVER, "runserver": SERVER, "migrate": MIGRATIONS}

_present = SERVER


def present() -> Timeouts:
    """Return the timeouts of this process."""
    return _present


def choose(command: str) -> None:
    """Choose the timeouts of a command of manage.py; by default a process is a server."""
    global _present
    _present = _OF_COMMANDS.get(command, MAINTENANCE)
