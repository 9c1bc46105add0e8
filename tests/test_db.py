"""Database work of the event loop."""

import pytest
from django.db import connection

from agent import db

pytestmark = pytest.mark.django_db(transaction=True)


async def test_the_texts_of_queries_are_not_kept_in_debug_either(settings):
    settings.DEBUG = True
    for _ in range(3):
        await db.read(db.answers)
    assert await db.read(lambda: list(connection.queries_log)) == []
