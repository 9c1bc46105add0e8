"""Converts DATABASE_URL to an entry of Django's `DATABASES`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import environ
from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

from agent.store.lanes import POOL_SIZE

from .environment import Unusable

_POSTGRES = ("postgres", "postgresql", "psql", "pgsql")
#: Options that Django accepts and libpq does not know.
_OF_DJANGO = {"assume_role", "isolation_level", "prepare_threshold", "server_side_binding"}


def database(raw: str, directory: Path) -> dict[str, Any]:
    """Return the settings of the database at an address.

    Args:
        raw: the address. The path of a SQLite file is quoted as in every URL: `%23` for `#`.
        directory: the start of a SQLite path that does not begin with a slash.

    Raises:
        ValueError: the address is of no database that we support; `Unusable` says why.
    """
    scheme = raw.partition("://")[0]
    if scheme == "sqlite":
        return sqlite(_path(raw, directory))
    if scheme not in _POSTGRES:
        raise ValueError
    return _postgres(raw)


def sqlite(path: Path) -> dict[str, Any]:
    """Return the settings of a SQLite file, whatever characters its path has."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        # IMMEDIATE: so that a transaction that reads before it writes does not fail half-way
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        "TEST": {"NAME": f"{path}.test"},
    }


def _path(raw: str, directory: Path) -> Path:
    rest = raw.removeprefix("sqlite://")
    if rest.strip("/") in ("", ":memory:"):
        raise Unusable("each thread would have a database in memory of its own; name a file")
    if "?" in rest or "#" in rest:
        raise Unusable("write ? in the path as %3F, and # as %23; there are no options")
    if not rest.startswith("/"):
        raise Unusable(
            "the path follows sqlite:///, and an absolute path begins with a slash of its own"
        )
    path = unquote(rest[1:], errors="strict")
    if "\0" in path or path.endswith("/"):
        raise Unusable("the path is not one of a file")
    return directory / path


def _postgres(raw: str) -> dict[str, Any]:
    config: dict[str, Any] = environ.Env.db_url_config(raw)
    if not config["NAME"]:
        raise ValueError
    given = config.get("OPTIONS", {})
    if config.get("CONN_MAX_AGE"):
        raise Unusable("connections are pooled, so conn_max_age has no effect")
    try:
        make_conninfo(**{name: given[name] for name in given.keys() - _OF_DJANGO})
    except ProgrammingError:
        raise Unusable("libpq does not know one of its ?options") from None
    config["ENGINE"] = "agentsite.postgresql"
    config["OPTIONS"] = {
        "connect_timeout": 5,
        # A server that vanished closes no connection.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15000,
        **given,
        # Short series of attempts, one after the other: within a series, the waits grow.
        "pool": {"min_size": 1, "max_size": POOL_SIZE, "timeout": 10, "reconnect_timeout": 5},
    }
    config["CONN_HEALTH_CHECKS"] = True
    return config
