"""DATABASE_URL as Django's `DATABASES` has it."""

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
#: Options that Django takes and libpq does not know.
_OF_DJANGO = {"assume_role", "isolation_level", "prepare_threshold", "server_side_binding"}


def database(raw: str, directory: Path) -> dict[str, Any]:
    """The database at an address.

    Args:
        raw: the address. Of a SQLite file, its path is quoted as in every URL: `%23` for `#`.
        directory: where the path of a SQLite file begins that does not begin with a slash.

    Raises:
        ValueError: no address of a database that we run on; `Unusable` says why.
    """
    scheme = raw.partition("://")[0]
    if scheme == "sqlite":
        return sqlite(_path(raw, directory))
    if scheme not in _POSTGRES:
        raise ValueError
    return _postgres(raw)


def sqlite(path: Path) -> dict[str, Any]:
    """A SQLite file, whatever characters its path has."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        # IMMEDIATE: a transaction that reads before it writes must not fail half-way
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        "TEST": {"NAME": f"{path}.test"},
    }


def _path(raw: str, directory: Path) -> Path:
    rest = raw.removeprefix("sqlite://")
    if rest.strip("/") in ("", ":memory:"):
        raise Unusable("a database in memory is one for each thread; name a file")
    if "?" in rest or "#" in rest:
        raise Unusable("a ? in the path is written %3F, a # %23; there are no options")
    if not rest.startswith("/"):
        raise Unusable("a path has three slashes before it, an absolute one is the fourth")
    path = unquote(rest[1:], errors="strict")
    if "\0" in path or path.endswith("/"):
        raise Unusable("it names no file")
    return directory / path


def _postgres(raw: str) -> dict[str, Any]:
    config: dict[str, Any] = environ.Env.db_url_config(raw)
    if not config["NAME"]:
        raise ValueError
    given = config.get("OPTIONS", {})
    if config.get("CONN_MAX_AGE"):
        raise Unusable("connections are pooled, so that conn_max_age has no use")
    try:
        make_conninfo(**{name: given[name] for name in given.keys() - _OF_DJANGO})
    except ProgrammingError:
        raise Unusable("one of its ?options is not known to libpq") from None
    config["ENGINE"] = "agentsite.postgresql"
    config["OPTIONS"] = {
        "connect_timeout": 5,
        # A server that vanished does not say so.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15000,
        **given,
        # A short series of tries, begun anew: one series waits ever longer between its tries.
        "pool": {"min_size": 1, "max_size": POOL_SIZE, "timeout": 10, "reconnect_timeout": 5},
    }
    config["CONN_HEALTH_CHECKS"] = True
    return config
