"""Fixtures for every test: servers that start with the first test that asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from hypothesis import settings

from tests.services import Postgres, Redis, start_postgres, start_redis

settings.register_profile("untimed", deadline=None)  # a busy machine is no defect of ours
settings.load_profile("untimed")

pytest.register_assert_rewrite("tests.browser", "tests.client", "tests.servers")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests marked `transports` under each server that the application is used with."""
    if "server_command" in metafunc.fixturenames and metafunc.definition.get_closest_marker(
        "transports"
    ):
        metafunc.parametrize("server_command", ["serve", "daphne"], scope="session")


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
