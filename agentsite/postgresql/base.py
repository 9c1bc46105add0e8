"""PostgreSQL with timeouts. Django loads `DatabaseWrapper` by this package's name in `ENGINE`.

Timeouts are set after connecting: poolers refuse or ignore parameters at the start of a connection.
Timeouts in the address or in PGOPTIONS take precedence. Behind a pooler, the settings of a session
would affect other clients. So there each transaction sets its own timeouts, and statements outside
of transactions have those of the role (`ALTER ROLE ... SET`); the log says so if it has none.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.db.backends.postgresql import base

from . import timeouts

log = structlog.get_logger(__name__)

_FACTS = (
    "SELECT name, setting::bigint, source, pg_backend_pid() FROM pg_settings WHERE name = ANY(%s)"
)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that knows whether a pooler is between it and the server."""

    #: By alias, like Django's pools: the timeouts that each transaction sets behind a pooler.
    _of_transactions: dict[str, timeouts.Timeouts] = {}
    _warned: set[str] = set()  # aliases

    def _configure_connection(self, connection: Any) -> bool:
        changed: bool = super()._configure_connection(connection)  # type: ignore[misc]
        wanted = timeouts.present()
        with connection.cursor() as cursor:
            facts = cursor.execute(_FACTS, [list(wanted)]).fetchall()
            # A pooler invents the process id that it sends when a connection starts.
            is_pooled = facts[0][3] != connection.info.backend_pid
            ours = {
                name: wanted[name]
                for name, present, source, _ in facts
                if source != "client" and present != wanted[name]
            }
            if ours and not is_pooled:
                cursor.execute(*_set(ours, within_transaction=False))
        if is_pooled:
            self._of_transactions[self.alias] = ours
        else:
            self._of_transactions.pop(self.alias, None)
        self._warn_once(
            is_pooled,
            [
                name
                for name, present, _, _ in facts
                if (is_pooled or name not in ours) and not 0 < present <= wanted[name]
            ],
        )
        return changed or bool(ours)

    def _warn_once(self, is_pooled: bool, missing: list[str]) -> None:
        """Log once which timeouts are not in force in a server."""
        if not missing or timeouts.present() is not timeouts.SERVER or self.alias in self._warned:
            return
        self._warned.add(self.alias)
        where = (
            "outside of transactions, behind a pooler"
            if is_pooled
            else "by DATABASE_URL or PGOPTIONS"
        )
        log.warning("database timeouts are not in force", where=where, names=sorted(missing))

    def _set_autocommit(self, autocommit: bool) -> None:
        super()._set_autocommit(autocommit)  # type: ignore[misc]
        ours = self._of_transactions.get(self.alias)
        if autocommit or not ours:
            return
        with self.wrap_database_errors:
            try:
                with self.connection.cursor() as cursor:
                    cursor.execute(*_set(ours, within_transaction=True))
            except self.Database.Error:
                if not self.connection.closed:
                    self.connection.rollback()
                    self.connection.autocommit = True
                raise

    def chunked_cursor(self) -> Any:
        """Return a cursor that is read in pieces; behind a pooler, only within a transaction."""
        if self.get_autocommit() and self.alias in self._of_transactions:
            return self.cursor()
        return super().chunked_cursor()


def _set(values: timeouts.Timeouts, *, within_transaction: bool) -> tuple[str, list[Any]]:
    calls = ", ".join(["set_config(%s, %s, %s)"] * len(values))
    arguments = [
        part for name, ms in values.items() for part in (name, str(ms), within_transaction)
    ]
    return f"SELECT {calls}", arguments
