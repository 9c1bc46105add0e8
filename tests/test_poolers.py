"""PostgreSQL's timeouts by purpose, directly and behind pgbouncer in transaction mode."""

import itertools
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import ProgrammingError
from django.db.utils import ConnectionHandler

from agentsite import databases
from agentsite.postgresql import timeouts
from tests.servers import Server, plain_environment
from tests.services import Pgbouncer

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
NONE = dict.fromkeys(NAMES, 0)

pytestmark = pytest.mark.postgres
pytest_plugins = ["tests.servers"]
_aliases = itertools.count()


@pytest.fixture(scope="module")
def pgbouncer(postgres_server):
    # one connection to the server: whatever one client leaves behind, the next one finds
    with Pgbouncer(postgres_server, settings="default_pool_size = 1") as pooler:
        pooler.start()
        yield pooler


@pytest.fixture
def connect(monkeypatch, django_db_blocker):
    """Makes connections of Django to an address, each by an alias of its own."""
    opened = []

    def open_one(url, command="serve"):
        monkeypatch.setattr(timeouts, "_present", timeouts.SERVER)
        timeouts.choose(command)
        alias = f"trial-{next(_aliases)}"
        handler = ConnectionHandler(
            {"default": {}, alias: databases.database(url, ROOT)},
        )
        opened.append(handler[alias])
        return handler[alias]

    with django_db_blocker.unblock():
        yield open_one
        for connection in opened:
            connection.close()
            connection.close_pool()


def in_force(connection):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, setting::int FROM pg_settings WHERE name = ANY(%s)", [list(NAMES)]
        )
        return dict(cursor.fetchall())


@contextmanager
def atomic(connection):
    """Django's `atomic` for a connection that Django's own handler does not know."""
    connection.set_autocommit(False)
    yield
    connection.commit()
    connection.set_autocommit(True)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("serve", timeouts.SERVER),
        ("runserver", timeouts.SERVER),
        ("migrate", timeouts.MIGRATIONS),
        ("clear_expired_sessions", timeouts.MAINTENANCE),
        ("loaddata", timeouts.MAINTENANCE),
    ],
)
def test_each_purpose_has_its_timeouts(connect, postgres_url, command, expected):
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        name = owner.info.dbname
        owner.execute(f"ALTER DATABASE {name} SET statement_timeout = '1s'")
    connection = connect(postgres_url, command)
    assert in_force(connection) == expected
    assert timeouts.MIGRATIONS["statement_timeout"] == 0
    assert timeouts.SERVER["idle_in_transaction_session_timeout"] == 5000


def test_options_of_the_address_count_more(connect, postgres_url, caplog):
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute("CREATE SCHEMA mine")
    options = (
        "-c search_path=mine -c statement_timeout=90s -c idle_in_transaction_session_timeout=0"
    )
    connection = connect(f"{postgres_url}?options={options.replace(' ', '%20')}")
    assert in_force(connection) == {
        "statement_timeout": 90_000,
        "lock_timeout": 4_000,
        "idle_in_transaction_session_timeout": 0,
    }
    with connection.cursor() as cursor:
        cursor.execute("SHOW search_path")
        assert cursor.fetchone() == ("mine",)
    (line,) = [one.message for one in caplog.records if "timeouts are not" in one.message]
    assert "idle_in_transaction_session_timeout" in line and "lock_timeout" not in line


def test_options_of_the_environment_count_more(connect, postgres_url, monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=0")
    assert in_force(connect(postgres_url))["statement_timeout"] == 0


def test_behind_a_pooler_each_transaction_has_them_and_no_other_client(
    connect, postgres_url, pgbouncer, caplog
):
    through = pgbouncer.url_of(postgres_url)
    connection = connect(through)
    assert in_force(connection) == NONE
    with atomic(connection):
        assert in_force(connection) == timeouts.SERVER
    assert in_force(connection) == NONE
    with psycopg.connect(through, autocommit=True) as other:
        assert other.execute("SHOW statement_timeout").fetchone() == ("0",)
        assert other.execute("SHOW lock_timeout").fetchone() == ("0",)
    lines = [one.message for one in caplog.records if "timeouts are not" in one.message]
    assert len(lines) == 1 and all(name in lines[0] for name in NAMES)


def test_behind_a_pooler_the_role_gives_the_rest_of_them(connect, postgres_url, pgbouncer, caplog):
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        for name, ms in timeouts.SERVER.items():
            owner.execute(f"ALTER DATABASE {owner.info.dbname} SET {name} = {ms}")
    connection = connect(pgbouncer.url_of(postgres_url))
    assert in_force(connection) == timeouts.SERVER
    with atomic(connection):
        assert in_force(connection) == timeouts.SERVER
    assert not [one for one in caplog.records if "timeouts are not" in one.message]


def test_behind_a_pooler_rows_are_read_in_pieces_within_a_transaction_alone(
    connect, postgres_url, pgbouncer
):
    connection = connect(pgbouncer.url_of(postgres_url))
    with connection.chunked_cursor() as cursor:
        cursor.execute("SELECT generate_series(1, 3)")
        assert cursor.fetchmany(2) == [(1,), (2,)]
        assert cursor.fetchmany(2) == [(3,)]
        assert not getattr(cursor, "name", None)
    with atomic(connection), connection.chunked_cursor() as cursor:
        assert cursor.name


def test_a_transaction_that_cannot_begin_leaves_the_connection_usable(
    connect, postgres_url, pgbouncer, monkeypatch
):
    connection = connect(pgbouncer.url_of(postgres_url))
    connection.ensure_connection()
    with monkeypatch.context() as patch:
        patch.setitem(connection._of_transactions, connection.alias, {"no_such_timeout": 1})
        with pytest.raises(ProgrammingError):
            connection.set_autocommit(False)
    with atomic(connection):
        assert in_force(connection) == timeouts.SERVER
    assert in_force(connection) == NONE


@pytest.mark.parametrize("way", ["directly", "pooled"])
def test_a_migration_may_take_longer_than_other_statements(connect, postgres_url, pgbouncer, way):
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {owner.info.dbname} SET statement_timeout = '2s'")
    url = postgres_url if way == "directly" else pgbouncer.url_of(postgres_url)
    connection = connect(url, "migrate")
    with atomic(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(2.5)")


def migrate(url):
    """What `manage.py migrate` has to say."""
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    done = subprocess.run(
        command, cwd=ROOT, env=plain_environment(url), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.server
async def test_a_server_lives_behind_a_pooler_and_says_what_is_not_in_force(
    postgres_url, pgbouncer, provider
):
    url = pgbouncer.url_of(postgres_url)
    assert "not in force" not in migrate(url)
    with Server(provider.base_url, environment={"DATABASE_URL": url}) as server:
        for _ in range(3):
            async with server.connect() as client:
                answer = await client.end(await client.ask("say: pooled"))
                assert answer["content"] == "pooled"
        assert "pooled" in server.manage("dumpdata", "agent.message")
        server.stop()
        assert server.log.count("database timeouts are not in force") == 1
        assert "behind a pooler" in server.log
        server.assert_nothing_broke()
