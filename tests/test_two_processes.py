"""One session over two server processes that share PostgreSQL, with and without Redis."""

from contextlib import contextmanager

import pytest

from .client import Transcript
from .servers import Server

pytestmark = [pytest.mark.server, pytest.mark.redis, pytest.mark.postgres]
pytest_plugins = ["tests.servers"]

STALLED = "mode=stall tokens=50 after=6"
STALLED_TEXT = "w0 w1 w2 w3 w4 w5 "
SLOW = "mode=slow tokens=60 delay=0.02"
SLOW_TEXT = "".join(f"w{n} " for n in range(60))


@contextmanager
def running_pair(provider, postgres, **services):
    """Two servers on one new database."""
    url = postgres.create_database()
    environment = {"DATABASE_URL": url, **services}
    servers = [Server(provider.base_url, environment=environment) for _ in range(2)]
    servers[0].manage("migrate", "--verbosity", "0")
    with servers[0], servers[1]:
        yield servers
        for server in servers:
            server.stop()
            server.assert_nothing_broke()
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def two_servers(provider, postgres_server, redis_url):
    with running_pair(provider, postgres_server, REDIS_URL=redis_url) as servers:
        yield servers


@pytest.fixture
def two_servers_without_redis(provider, postgres_server):
    with running_pair(provider, postgres_server) as servers:
        yield servers


async def test_an_answer_streams_to_the_connections_of_another_process(two_servers):
    here, there = two_servers
    async with here.connect() as asker:
        await asker.end(await asker.ask("say: first"))
        async with there.connect(headers=asker.credentials) as tab:
            await tab.ready()
            ref = await asker.ask(SLOW)
            thinking = await tab.expect("status", status="thinking", ref=ref)
            pieces = [await tab.expect("delta", turn=thinking["turn"]) for _ in range(3)]
            assert pieces[0]["first"] == 0
            assert (await tab.end(ref))["content"] == SLOW_TEXT


async def test_a_running_answer_is_found_from_another_process(two_servers):
    here, there = two_servers
    async with here.connect() as asker:
        ref = await asker.ask(STALLED)
        await asker.until(lambda f: f["type"] == "delta" and f["index"] + 1 == len(STALLED_TEXT))
        async with there.connect(headers=asker.credentials) as tab:
            await tab.ready()
            snapshot, ready = tab.frames[-2:]
            assert (snapshot["snapshot"], snapshot["content"]) == (True, STALLED_TEXT)
            assert ready["status"] == "ready"
            await tab.command("cancel")
            assert (await tab.end(ref))["finish_reason"] == "cancelled"
        assert (await asker.end(ref))["content"] == STALLED_TEXT


async def test_queries_from_two_processes_run_one_after_the_other(two_servers):
    here, there = two_servers
    async with here.connect() as one:
        await one.end(await one.ask("say: first"))
        async with there.connect(headers=one.credentials) as other:
            await other.ready()
            refs = []
            for number in range(6):
                asker = (one, other)[number % 2]
                refs.append(await asker.ask(f"say: {number}"))
                await asker.reply(refs[-1])
            ends = [await client.end(ref) for ref in refs for client in (one, other)]
            assert [end["content"] for end in ends[::2]] == [str(n) for n in range(6)]
            assert ends[::2] == ends[1::2]


async def test_the_same_query_sent_to_both_processes_at_once_runs_once(two_servers):
    here, there = two_servers
    async with here.connect() as one:
        await one.end(await one.ask("say: first"))
        async with there.connect(headers=one.credentials) as other:
            await other.ready()
            for number in range(10):
                ref = f"same{number}"
                for client in (one, other) * 2:
                    await client.ask("say: once", id=ref)
                ends = [await client.end(ref) for client in (one, other)]
                assert ends[0] == ends[1]
        turns = {end["turn"] for end in one.transcript.ends.values()}
        assert len(turns) == 11


async def test_close_ends_the_connections_of_every_process(two_servers):
    here, there = two_servers
    async with here.connect() as one:
        await one.ask(STALLED)
        await one.expect("delta")
        async with there.connect(headers=one.credentials) as other:
            await other.ready()
            await other.command("close")
            assert (await other.closed())[0] == 1000
        assert (await one.closed())[0] == 1000
        assert one.transcript.frames[3]["event"] == "closed"


async def test_without_redis_what_another_process_commits_arrives_all_the_same(
    two_servers_without_redis,
):
    here, there = two_servers_without_redis
    async with here.connect() as one:
        await one.end(await one.ask("say: first"))
        late = Transcript(crashes=True)  # it is told of the end alone
        async with there.connect(headers=one.credentials, transcript=late) as other:
            await other.ready()
            ref = await one.ask(STALLED)
            await one.until(lambda f: f["type"] == "delta" and f["index"] + 1 == len(STALLED_TEXT))
            await other.expect("query", ref=ref)
            await other.command("cancel", ref=ref)
            assert (await other.end(ref))["finish_reason"] == "cancelled"
            assert (await one.end(ref))["content"] == STALLED_TEXT
