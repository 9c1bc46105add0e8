"""The database's clock, which all processes share."""

from __future__ import annotations

from typing import Any

from django.db.models import functions

#: On SQLite, where moments are texts, with as many digits as those that Django writes itself: else
#: equal moments compare as different ones, and a page may begin with the row that ended the last.
_SQLITE = "STRFTIME('%Y-%m-%d %H:%M:%f000', 'NOW')"

#: The SQL of the present moment by database, with percent signs doubled for the parameters.
NOW_SQL = {"postgresql": "STATEMENT_TIMESTAMP()", "sqlite": _SQLITE.replace("%", "%%")}


class Now(functions.Now):
    """The present moment, in queries of the ORM."""

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template=_SQLITE.replace("%", "%%%%"))
