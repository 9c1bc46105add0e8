"""Two processes, one of which dies or sleeps: who goes on with its turns, how soon, and how often.

The deadlines are those of docs/protocol.md, doubled; nothing else runs on these servers.
"""

import asyncio
import uuid

import pytest
import pytest_asyncio

from tests.chaos.world import LEASE_SECONDS, World
from tests.support.client import Transcript, assert_same
from tests.support.scripted_provider import expected_text

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.redis, pytest.mark.postgres]

#: After the end of its lease, a turn is taken over within 2 s; a durable frame comes within 5 s.
TAKEOVER_SECONDS, DURABLE_SECONDS = 2 * 2, 2 * 5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world():
    async with World("postgres", 2) as world:
        yield world


def again(client):
    """The options of another tab, in a world in which processes die."""
    transcript = Transcript(holes=True, crashes=True)
    return {"headers": client.credentials, "transcript": transcript}


def fresh():
    return {"transcript": Transcript(holes=True, crashes=True)}


def calls(world, canary):
    return [each for each in world.provider.requests() if canary in each["prompt"]]


def ends(world, session):
    return world.rows(
        "SELECT content FROM agent_message WHERE type IN ('response', 'error')"
        f" AND session_id = '{session}'"
    )


async def test_the_turn_of_a_killed_process_is_taken_over_in_time(world):
    one, two = world.servers
    prompt = "mode=slow tokens=60 delay=0.05"
    async with one.connect(**fresh()) as asking:
        ref = await asking.ask(prompt)
        await asking.expect("delta")
        async with two.connect(**again(asking)) as listening:
            await listening.ready()
            await asyncio.to_thread(one.kill)
            try:
                async with asyncio.timeout(LEASE_SECONDS + TAKEOVER_SECONDS):
                    await listening.expect("status", status="restarted", attempt=2)
                end = await listening.end(ref)
            finally:
                await asyncio.to_thread(one.start)
    assert (end["finish_reason"], end["content"]) == ("stop", expected_text(prompt))
    async with one.connect(**asking.back()) as back:
        await back.ready()
        back.transcript.assert_complete()
        assert_same(back.transcript, listening.transcript)


@pytest.mark.parametrize("tokens", [30, 2000], ids=["that_can_finish", "that_goes_on"])
async def test_a_process_that_slept_through_its_lease_changes_nothing_and_stops(world, tokens):
    """Its answer is either buffered to its end when it wakes, or still streams."""
    one, two = world.servers
    prompt = f"mode=slow tokens={tokens} delay=0.02 canary={uuid.uuid4().hex}"
    async with one.connect(**fresh()) as asking:
        ref = await asking.ask(prompt)
        await asking.expect("delta")
        one.freeze()
        try:
            async with two.connect(**again(asking)) as listening:
                await listening.expect("status", status="thinking", attempt=2)
                if tokens > 100:
                    await listening.expect("delta", attempt=2)
                else:
                    await listening.end(ref)
                one.thaw()
                if tokens > 100:
                    await hung_up(world, prompt)
                    await listening.command("cancel")
                end = await listening.end(ref)
                assert await asking.end(ref) == end
        finally:
            one.thaw()
    assert [row["content"] for row in ends(world, asking.transcript.session)] == [end["content"]]
    assert expected_text(prompt).startswith(end["content"])
    assert_same(asking.transcript, listening.transcript)


async def hung_up(world, prompt):
    """Wait until the first attempt's stream was closed, while the second one's goes on."""
    async with asyncio.timeout(30):
        while True:
            first, second = await asyncio.to_thread(calls, world, prompt)
            assert not second["disconnected"]
            if first["disconnected"]:
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_what_is_lost_between_processes_comes_in_time(world, fault):
    one, two = world.servers
    async with one.connect() as asking:
        await asking.end(await asking.ask("say: before"))
        async with two.connect(**again(asking)) as listening:
            await listening.ready()
            await asyncio.to_thread(world.redis.kill if fault == "killed" else world.redis.stop)
            try:
                end = await asking.end(await asking.ask("say: the last one"))
                async with asyncio.timeout(DURABLE_SECONDS):
                    await listening.expect("response", seq=end["seq"])
            finally:
                if fault == "killed":
                    await asyncio.to_thread(world.redis.start)
                else:
                    world.redis.cont()


async def test_a_cancel_reaches_the_process_that_runs_the_turn(world):
    one, two = world.servers
    async with one.connect() as asking:
        ref = await asking.ask("mode=slow tokens=3000 delay=0.02")
        await asking.expect("delta")
        async with two.connect(**again(asking)) as other:
            await other.ready()
            await other.command("cancel")
            end = await other.end(ref)
        assert (end["finish_reason"], await asking.end(ref)) == ("cancelled", end)
        assert end["content"]


async def test_the_same_query_sent_to_both_processes_at_once_is_asked_once(world):
    one, two = world.servers
    prompt = f"say: once {uuid.uuid4().hex}"
    async with one.connect() as first:
        await first.end(await first.ask("say: hello"))
        async with two.connect(**again(first)) as second:
            await second.ready()
            sends = (tab.ask(prompt, id="same") for tab in (first, second) * 10)
            await asyncio.gather(*sends)
            assert await first.end("same") == await second.end("same")
    assert len(calls(world, prompt)) == 1
    stored = ends(world, first.transcript.session)
    assert len(stored) == 2


async def test_what_waits_in_a_process_that_goes_down_is_answered_by_the_other(world):
    one, two = world.servers
    async with one.connect(**fresh()) as asking:
        refs = [await asking.ask(f"mode=slow delay=0.3 say: answer number {n}") for n in range(4)]
        await asking.reply(refs[-1])
        stopping = asyncio.create_task(asyncio.to_thread(one.stop))
        try:
            assert (await asking.expect("notification", event="draining"))["retry_after"] > 0
            assert (await asking.closed())[0] == 4503
            async with two.connect(**asking.back()) as back:
                texts = [(await back.end(ref))["content"] for ref in refs]
        finally:
            await stopping
            await asyncio.to_thread(one.start)
    assert texts == [f"answer number {n}" for n in range(4)]
    back.transcript.assert_complete()


@pytest.mark.timeout(300)
async def test_a_process_goes_down_in_order_though_the_database_is_away(world):
    one, two = world.servers
    async with one.connect(**fresh()) as asking:
        ref = await asking.ask("mode=slow tokens=400 delay=0.05")
        await asking.expect("delta")
        logged = len(one.log)
        await asyncio.to_thread(world.postgres.kill)
        try:
            await asyncio.to_thread(one.stop)
        finally:
            await asyncio.to_thread(world.postgres.start)
            await asyncio.to_thread(one.start)
        one.assert_nothing_broke(since=logged)
        async with two.connect(**asking.back()) as back:
            await back.expect("status", status="thinking", attempt=2)
            await back.command("cancel")
            assert (await back.end(ref))["finish_reason"] == "cancelled"
