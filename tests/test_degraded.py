"""A database that answers and takes no writes is told, named and forgiven; a frozen one too."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from uuid import uuid4

import psycopg
import pytest
from django.db import OperationalError, connection

from agent.api.http import answer_exception
from agent.errors import InternalError
from agent.live import publish
from agent.store import db
from agent.worker import maintenance

from .servers import Server, migrated_database
from .services import Postgres

pytest_plugins = ["tests.servers"]

LONG = "mode=slow tokens=2000 delay=0.05"


# in this process


@pytest.fixture
def healthy():
    yield
    publish._failing.discard("database")
    db._refused = None
    db.recovered()


@contextmanager
def read_only():
    """What the writers' connections do meanwhile is refused by the database itself."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET TRANSACTION READ ONLY")
            yield
        else:
            cursor.execute("PRAGMA query_only = ON")
            try:
                yield
            finally:
                cursor.execute("PRAGMA query_only = OFF")


_write = maintenance._write


def write_refused():
    with read_only():
        _write()


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
async def test_a_write_that_is_refused_is_the_databases_fault_and_has_its_reason(healthy):
    with pytest.raises(db.DATABASE_ERRORS) as caught:
        await db.transact(write_refused)
    code = "25006" if connection.vendor == "postgresql" else "SQLITE_READONLY"
    assert db.reason(caught.value).startswith(code)
    assert db.refused().startswith(code)
    await db.transact(maintenance._write)


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
async def test_connections_are_told_once_of_an_outage_and_once_of_its_end(healthy, monkeypatch):
    watch, told = maintenance.Watch(), []
    monkeypatch.setattr(publish, "degraded", lambda part, failing: told.append((part, failing)))
    monkeypatch.setattr(publish, "is_degraded", lambda part: told[-1:] == [(part, True)])
    monkeypatch.setattr(maintenance, "_write", write_refused)
    for _ in range(2):
        await watch.look()
    assert told == [("database", True)]
    monkeypatch.setattr(maintenance, "_write", _write)
    db._refused = None
    for _ in range(2):
        await watch.look()
    assert told == [("database", True), ("database", False)]


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["agent_session", "agent_message", "agent_turn"])
async def test_a_missing_table_is_the_databases_fault(table, healthy):
    def rename(*names):
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE {} RENAME TO {}".format(*names))

    await db.transact(rename, table, "elsewhere")
    try:
        with pytest.raises(db.DATABASE_ERRORS):
            await db.transact(maintenance._write)
    finally:
        await db.transact(rename, "elsewhere", table)


def test_a_reason_is_logged_once_in_an_outage(healthy, caplog):
    error = OperationalError("with the words of /a/path")
    for _ in range(3):
        db.log_failure(error)
    db.recovered()
    db.log_failure(error)
    assert len(caplog.records) == 2
    assert "path" not in caplog.text


def test_a_request_that_the_database_refuses_says_so_and_when_to_come_back():
    answer = answer_exception(None, OperationalError("secret"))
    body = json.loads(answer.content)["error"]
    assert (answer.status_code, body["code"]) == (503, InternalError.code)
    assert "cannot be stored" in body["message"] and int(answer["Retry-After"]) > 0


# a server


async def readiness(server, wanted, seconds=60):
    """Wait until `/readyz` names these parts."""
    async with asyncio.timeout(seconds):
        while True:
            with suppress(OSError):
                answer = await asyncio.to_thread(server.request, "GET", "/readyz")
                if json.loads(answer[2])["failing"] == wanted:
                    assert answer[0] == (503 if wanted else 200)
                    return
            await asyncio.sleep(0.2)


async def outage(server, begin, end, reason):
    """Ask, let the database refuse writes, ask again, let it take them again."""
    await readiness(server, [])
    async with server.connect() as client:
        ref = await client.ask("mode=slow tokens=40 delay=0.05")
        await client.expect("delta")
        begin()
        await client.expect("notification", event="degraded", part="database", level="warning")
        await readiness(server, ["database"])
        await client.send({"type": "query", "content": "now?", "id": "refused"})
        refusal = await client.expect("error", ref="refused")
        assert refusal["code"] == "internal_error" and refusal["retryable"]
        assert "cannot be stored" in refusal["content"] and refusal["retry_after"] > 0
        end()
        await client.expect("notification", event="degraded", part="database", level="success")
        await readiness(server, [])
        await client.end(ref)
        await client.end(await client.ask("say: again"))
    lines = [line for line in server.log.splitlines() if "degraded" in line]
    assert len(lines) == 1 and reason in lines[0], server.log


@pytest.fixture
def small_disk(tmp_path):
    """A directory that holds 3 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("this machine lets us mount no file system")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.server
@pytest.mark.timeout(300)
async def test_a_full_disk_is_told_and_recovers(provider, small_disk):
    shutil.copy(migrated_database(), small_disk / "db.sqlite3")
    environment = {"DATABASE_URL": f"sqlite:///{small_disk}/db.sqlite3"}
    filler = small_disk / "filler"

    def fill():
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    with Server(provider.base_url, environment=environment) as server:
        await outage(server, fill, filler.unlink, "database or disk is full")
        server.assert_nothing_broke()


def _sets(url, value):
    name = url.rpartition("/")[2]
    with psycopg.connect(url.rpartition("/")[0] + "/postgres", autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )


@pytest.mark.server
@pytest.mark.postgres
@pytest.mark.timeout(300)
async def test_a_read_only_postgresql_is_told_and_recovers(provider, postgres_url):
    environment = {"DATABASE_URL": postgres_url}
    server = Server(provider.base_url, environment=environment)
    server.manage("migrate", "--verbosity", "0")
    with server:
        await outage(
            server,
            lambda: _sets(postgres_url, "on"),
            lambda: _sets(postgres_url, "off"),
            "25006",
        )
        server.assert_nothing_broke()


@pytest.mark.server
@pytest.mark.postgres
@pytest.mark.timeout(300)
async def test_a_process_ends_by_itself_though_its_database_is_frozen(provider):
    with Postgres() as postgres:
        postgres.start()
        environment = {"DATABASE_URL": postgres.url, "DRAIN_SECONDS": "1"}
        server = Server(provider.base_url, environment=environment)
        server.manage("migrate", "--verbosity", "0")
        with server:
            async with server.connect() as client:
                await client.ask(LONG)
                await client.expect("delta")
                postgres.stop()
                try:
                    await asyncio.to_thread(time.sleep, 3)  # its threads hang
                    server.terminate()
                    await asyncio.to_thread(server.wait)  # raises when it does not end
                finally:
                    postgres.cont()


@pytest.mark.server
async def test_a_server_before_its_migrations_names_what_is_missing(provider, tmp_path):
    url = f"sqlite:///{tmp_path}/{uuid4().hex}.sqlite3"
    with Server(provider.base_url, environment={"DATABASE_URL": url}) as server:
        await readiness(server, ["database", "migrations"])
        server.manage("migrate", "--verbosity", "0")
        await readiness(server, [])
        assert not re.search("Traceback", server.log)
