"""Marks each test with its layer, and has the services that start with the first test to use them.

The layer is the folder: `unit`, `database`, `server`, `browser` or `chaos`. See docs/testing.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.db import connection

from agent.access.password_hashing import Pbkdf2
from tests.support.services import Postgres, Redis, start_postgres, start_redis

hypothesis.settings.register_profile(
    "untimed", deadline=None
)  # a busy machine is no defect of ours
hypothesis.settings.load_profile("untimed")
# What a test of a view would spend most of its time on: finding every static file, for each client
# that is made, and hashing passwords. Servers that tests start find files as in production.
settings.SERVESTATIC_USE_FINDERS = False
Pbkdf2.iterations = 1000

pytest.register_assert_rewrite(
    "tests.support.browser", "tests.support.client", "tests.support.servers"
)
_TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its layer."""
    for item in items:
        item.add_marker(item.path.relative_to(_TESTS).parts[0])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests marked `transports` under each server that the application is used with."""
    if "server_command" in metafunc.fixturenames and metafunc.definition.get_closest_marker(
        "transports"
    ):
        # Through the fixture, so that a server which depends on it is started anew. None is what a
        # test without the mark has: the two share a server.
        commands = {"serve": None, "daphne": "daphne"}
        metafunc.parametrize(
            "server_command", commands.values(), ids=commands, indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Ends the connections of other threads: PostgreSQL drops no database that is in use."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis that the tests of this process share; who kills one calls `start_redis()`."""
    with start_redis() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: Redis) -> str:
    """The address of that Redis."""
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL that the tests of this process share; who kills one calls `start_postgres()`."""
    with start_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """The address of an empty database, dropped after the test."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)
