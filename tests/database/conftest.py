"""Rows of one test are gone before the next, in less time than Django takes for it."""

from django.core.management.color import no_style
from django.db import connection, transaction
from django.test import TransactionTestCase

#: What migrations have written, and no test changes.
_KEPT = {"auth_permission", "django_content_type", "django_migrations"}


def _empty_tables(_: TransactionTestCase) -> None:
    """Instead of a flush, which writes all permissions anew: most of the time of a short test."""
    tables = set(connection.introspection.django_table_names(only_existing=True)) - _KEPT
    with transaction.atomic():
        connection.ops.execute_sql_flush(
            connection.ops.sql_flush(no_style(), sorted(tables), allow_cascade=False)
        )


TransactionTestCase._fixture_teardown = _empty_tables  # type: ignore[attr-defined]
