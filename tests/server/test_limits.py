"""Limits over processes: who is counted as whom, what Redis holds, and what holds without it."""

import asyncio
import math
import time
from dataclasses import replace

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from structlog.testing import capture_logs

from agent.access.connection_slots import LEASE_SECONDS
from agent.access.limits import Limits
from agent.conf import conf
from agent.errors import RateLimited
from agentsite import addresses
from tests.support.services import Redis, free_port, start_redis
from tests.support.waiting import SECONDS

DEFAULTS = {
    "max_connections_per_user": 2,
    "max_connects_per_minute": 3,
    "max_queries_per_minute": 3,
    "max_frames_per_second": 10,
}


@pytest.fixture
async def process():
    """Makes the limits of one process, which shares its Redis with others."""
    made = []

    def make(redis_url="", **limits):
        made.append(Limits(replace(conf(), redis_url=redis_url, **{**DEFAULTS, **limits})))
        return made[-1]

    yield make
    for limits in made:
        await limits.aclose()


@pytest.fixture
async def fresh_redis(redis_server):
    """The address of an empty Redis, and a client of it."""
    from redis.asyncio import Redis

    async with Redis.from_url(redis_server.url) as client:
        await client.flushall()
        yield redis_server.url, client


async def refused(awaitable):
    with pytest.raises(RateLimited) as caught:
        await awaitable
    assert caught.value.retry_after > 0
    return caught.value


# several processes


@pytest.mark.redis
async def test_connections_count_over_all_processes(process, fresh_redis):
    url, _ = fresh_redis
    a, b = process(url), process(url)
    place = await a.open("user:1")
    await b.open("user:1")
    await refused(a.open("user:1"))
    await refused(b.open("user:1"))
    await a.close(place)
    await b.open("user:1")


@pytest.mark.redis
async def test_queries_and_connects_count_over_all_processes(process, fresh_redis):
    url, _ = fresh_redis
    a, b = process(url), process(url)
    for limits in (a, b, a):
        await limits.query("user:1")
        await limits.connecting("203.0.113.9")
    error = await refused(b.query("user:1"))
    assert 55 < error.retry_after <= 60
    await refused(b.connecting("203.0.113.9"))


@pytest.mark.redis
async def test_wrong_passwords_count_over_all_processes_and_a_right_one_takes_them_back(
    process, fresh_redis
):
    url, _ = fresh_redis
    a, b = (process(url, max_wrong_passwords_per_minute=2) for _ in range(2))
    await a.guessing("203.0.113.1", "ann")
    await b.guessing("203.0.113.2", "ann")
    await refused(a.guessing("203.0.113.3", "ann"))
    await b.signed_in("203.0.113.2", "ann")
    await a.guessing("203.0.113.2", "ann")  # where the name signed in: a count of its own
    await a.guessing("203.0.113.2", "ann")
    await refused(b.guessing("203.0.113.2", "ann"))


@pytest.mark.redis
async def test_what_another_process_refused_does_not_count_in_this_one(process, fresh_redis):
    url, client = fresh_redis
    a, b = process(url), process(url)
    for _ in range(3):
        await a.query("user:1")
    for _ in range(5):
        await refused(b.query("user:1"))
    await client.flushall()  # as if the minute were over
    for _ in range(3):
        await b.query("user:1")


@pytest.mark.redis
async def test_frames_to_several_processes_are_added_up(process, fresh_redis):
    url, _ = fresh_redis
    a, b = process(url), process(url)
    others_saw_too_many = asyncio.Event()

    async def flood(limits):
        while not others_saw_too_many.is_set():
            try:
                limits.frame("user:1")
            except RateLimited as error:
                if error.retry_after > 1:  # a process refuses by itself for a second at most
                    others_saw_too_many.set()
            await asyncio.sleep(0.05)

    async def keep(limits):
        while True:
            await limits.share_frames()

    keepers = [asyncio.create_task(keep(limits)) for limits in (a, b)]
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(flood(a), flood(b))
    for keeper in keepers:
        keeper.cancel()


@pytest.mark.redis
async def test_the_places_of_a_process_that_died_end_by_themselves(process, fresh_redis):
    url, client = fresh_redis
    dead, alive = process(url), process(url)
    await dead.open("user:1")
    await dead.open("user:1")
    await refused(alive.open("user:1"))
    (key,) = [name async for name in client.scan_iter("agent.connections:*")]
    assert 0 < await client.ttl(key) <= LEASE_SECONDS
    for member in await client.zrange(key, 0, -1):  # as if the time were over
        await client.zadd(key, {member: time.time() - 1})
    await alive.open("user:1")


@pytest.mark.redis
async def test_a_renewal_restores_what_redis_lost_and_not_what_was_given_back(process, fresh_redis):
    url, client = fresh_redis
    a, b = process(url, max_connections_per_user=300), process(url, max_connections_per_user=300)
    places = [await a.open("user:1") for _ in range(250)]
    await client.flushall()
    for part in a._slots.parts():
        await a.close(places.pop())  # meanwhile
        await a._slots.renew(part)
    assert await client.zcard(places[0].key) == len(places) == 248
    for _ in range(300 - len(places)):
        await b.open("user:1")
    await refused(b.open("user:1"))


# without Redis, though there should be one


async def counts_alone(limits, error):
    """Each limit answers, though Redis does not; then Redis is left alone."""
    with capture_logs() as lines:
        await asyncio.gather(
            limits.open("user:1"), limits.query("user:1"), limits.connecting("203.0.113.9")
        )
    assert {line["error"] for line in lines} == {error}
    shared = limits._shared
    assert shared._left_alone_until > 0
    shared._left_alone_until = math.inf
    asked = []

    async def question():
        asked.append(True)

    assert await shared.ask(question) is None
    assert asked == []


@pytest.mark.redis
async def test_a_dead_redis_leaves_the_limits_of_the_process(process):
    limits = process(f"redis://127.0.0.1:{free_port()}/0")
    await counts_alone(limits, "ConnectionError")
    await limits.open("user:1")
    await refused(limits.open("user:1"))
    for _ in range(DEFAULTS["max_queries_per_minute"] - 1):
        await limits.query("user:1")
    await refused(limits.query("user:1"))


@pytest.mark.redis
async def test_a_frozen_redis_holds_nothing_up_and_counts_again_when_it_is_back(process):
    with start_redis() as server:
        a, b = process(server.url), process(server.url)
        # the client of Redis would wait for ever, so that nothing but the limits' own bound helps
        a._shared.redis.connection_pool.connection_kwargs["socket_timeout"] = None
        await a.query("user:0")
        server.stop()
        try:
            await counts_alone(a, "TimeoutError")
        finally:
            server.cont()
        a._shared._left_alone_until = 0.0
        for part in a._slots.parts():
            await a._slots.renew(part)
        await b.open("user:1")
        await refused(b.open("user:1"))


@pytest.mark.redis
@pytest.mark.parametrize("form", ["?db=2&password=word", ":word@?db=2"])
async def test_a_redis_on_a_socket_counts_and_carries(form):
    with Redis(password="word") as redis:
        redis.start()
        before, _, options = form.rpartition("?")
        url = f"unix://{before}{redis.socket}?{options}"
        assert addresses.redis(url) == url
        one, two = (Limits(replace(conf(), redis_url=url, **DEFAULTS)) for _ in range(2))
        layer = RedisPubSubChannelLayer(hosts=[{"address": url}])
        try:
            with capture_logs() as lines:
                for limits in (one, two, one):
                    await limits.query("ann")
            assert not lines
            assert await one._shared.redis.dbsize() > 0
            channel = await layer.new_channel()
            await layer.group_add("group", channel)
            await layer.group_send("group", {"type": "told"})
            assert await layer.receive(channel) == {"type": "told"}
        finally:
            await layer.flush()
            await one.aclose()
            await two.aclose()
