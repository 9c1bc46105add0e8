"""The backend. Django loads `DatabaseWrapper` by the name of this package in `ENGINE`.

Timeouts are set after connecting: poolers refuse or ignore what is sent with the start of a
connection. What the address or PGOPTIONS say of them counts more. Behind a pooler a session's
settings would end up with other clients, so there each transaction sets its own, and single
statements have what the role has (`ALTER ROLE ... SET`); the log says so when that is nothing.
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
    """A connection that knows what stands between it and the server."""

    #: By alias, as Django's pools are: what each transaction sets, where there is a pooler.
    _of_transactions: dict[str, timeouts.Timeouts] = {}
    _told: set[str] = set()

    def _configure_connection(self, connection: Any) -> bool:
        changed: bool = super()._configure_connection(connection)  # type: ignore[misc]
        wanted = timeouts.present()
        with connection.cursor() as cursor:
            facts = cursor.execute(_FACTS, [list(wanted)]).fetchall()
            # A pooler makes up the process that it names when a connection starts.
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
        self._tell(
            is_pooled,
            [
                name
                for name, present, _, _ in facts
                if (is_pooled or name not in ours) and not 0 < present <= wanted[name]
            ],
        )
        return changed or bool(ours)

    def _tell(self, is_pooled: bool, missing: list[str]) -> None:
        """Say once what is not in force in a server."""
        if not missing or timeouts.present() is not timeouts.SERVER or self.alias in self._told:
            return
        self._told.add(self.alias)
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
        """A cursor that is read in pieces; behind a pooler only a transaction can have one."""
        if self.get_autocommit() and self.alias in self._of_transactions:
            return self.cursor()
        return super().chunked_cursor()


def _set(values: timeouts.Timeouts, *, within_transaction: bool) -> tuple[str, list[Any]]:
    calls = ", ".join(["set_config(%s, %s, %s)"] * len(values))
    arguments = [
        part for name, ms in values.items() for part in (name, str(ms), within_transaction)
    ]
    return f"SELECT {calls}", arguments
