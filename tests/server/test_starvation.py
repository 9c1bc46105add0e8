"""What strangers and staff do delays no chat and costs no process its turns: on real PostgreSQL."""

import asyncio
import threading
import time
from contextlib import suppress

import httpx
import psycopg
import pytest

from agent.store.lanes import POOL_SIZE
from tests.support.people import make, signed_in
from tests.support.servers import Server

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]


@pytest.fixture
def site(provider, postgres_url):
    """A server on PostgreSQL, and how to look into its database."""
    limits = {"MAX_WRONG_PASSWORDS_PER_MINUTE": "100000"}
    environment = {"DATABASE_URL": postgres_url, "SLOW_PASSWORDS": "1", **limits}
    server = Server(provider.base_url, environment=environment)
    server.manage("migrate", "--verbosity", "0")
    make(server, people={"boss": {"is_staff": True, "is_superuser": True}})
    with server, psycopg.connect(postgres_url, autocommit=True) as database:
        yield server, database


async def beside(server, trouble):
    """A long answer and a healthy client beside some trouble: both live as if there were none."""
    async with server.connect() as asker, server.connect() as healthy:
        long = await asker.ask("mode=slow tokens=100000 delay=0.05")
        await asker.expect("delta")
        troubling = asyncio.create_task(asyncio.to_thread(trouble))
        answered = 0
        while not troubling.done():
            await healthy.quiet()
            assert (await healthy.end(await healthy.ask("say: fine")))["type"] == "response"
            answered += 1
            await asyncio.sleep(0.2)
        await troubling
        assert answered > 1
        await asker.command("cancel")
        await asker.end(long)
        for client in (asker, healthy):
            assert not [frame for frame in client.frames if frame["type"] == "error"]
            attempts = {frame.get("attempt", 1) for frame in client.frames}
            assert attempts == {1}, "an answer was begun anew"


def attempts(database):
    return database.execute("SELECT max(attempt) FROM agent_turn").fetchone()[0]


async def test_a_flood_of_sign_ins(site):
    server, database = site
    most = []

    def flood():
        statuses = []

        def guess(number):
            with httpx.Client(base_url=server.url, timeout=120) as http:
                http.get("/login/")
                token = http.cookies["csrftoken"]
                fields = {"username": ("boss", f"nobody{number}")[number % 2], "password": "guess"}
                fields["csrfmiddlewaretoken"] = token
                path = ("/login/", "/admin/login/")[number // 2 % 2]
                statuses.append(http.post(path, data=fields).status_code)

        guesses = [threading.Thread(target=guess, args=[number]) for number in range(2 * POOL_SIZE)]
        for one in guesses:
            one.start()
        while any(one.is_alive() for one in guesses):
            name = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            most.append(database.execute(name).fetchone()[0])
            time.sleep(0.1)
        assert len(statuses) == len(guesses)
        assert set(statuses) <= {200, 503}, "each was answered: a wrong password, or come later"
        assert 200 in statuses

    await beside(server, flood)
    assert attempts(database) == 1
    assert max(most) <= POOL_SIZE + 1, "the pool, and this test"


async def test_slow_pages_of_staff(site):
    server, database = site
    boss = signed_in(server, "boss")

    def crowd():
        statuses = []

        def look():
            with suppress(httpx.ReadTimeout), httpx.Client(base_url=server.url, timeout=60) as http:
                statuses.append(http.get("/admin/", headers=boss.cookies).status_code)

        with database.transaction():
            database.execute("LOCK TABLE django_admin_log IN ACCESS EXCLUSIVE MODE")
            looks = [threading.Thread(target=look) for _ in range(2 * POOL_SIZE)]
            for one in looks:
                one.start()
            for one in looks:
                one.join()
        assert 503 in statuses, "they wait for each other"
        with httpx.Client(base_url=server.url) as http:
            assert http.get("/login/").status_code == 200

    await beside(server, crowd)
    assert attempts(database) == 1
    assert server.request("GET", "/admin/", boss.cookies)[0] == 200
    boss.http.close()
