"""Limits over processes: who is counted as whom, what Redis holds, and what holds without it."""

import asyncio
import time
from dataclasses import replace
from uuid import UUID

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from structlog.testing import capture_logs

from agent.access.connection_slots import LEASE_SECONDS
from agent.access.limit_table import table
from agent.access.limits import SHARED_SECONDS, Limits, address_of, caller_of
from agent.actor import Actor
from agent.conf import conf
from agent.errors import RateLimited
from agentsite import addresses

from .services import Redis, free_port, start_redis

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


# who is counted as whom


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("203.0.113.9", 5000), "203.0.113.9"),
        (("2001:db8:1:2:3:4:5:6", 5000), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::", 5000), "2001:db8:1:2::/64"),
        (("::ffff:203.0.113.9", 5000), "203.0.113.9"),
        (("fe80::1%eth0", 5000), "fe80::/64"),
        (None, ""),
        (("unknown", 0), "unknown"),
        (("x" * 5000, 0), "x" * 64),
    ],
)
def test_an_address_is_counted_by_what_one_subscriber_has(client, address):
    assert address_of({"client": client}) == address


def test_a_program_of_nobody_is_counted_by_its_address_also_with_a_resume_token():
    here = "203.0.113.9"
    assert caller_of(Actor(), here) == "address:203.0.113.9"
    assert caller_of(Actor(session_id=UUID(int=1)), here) == "address:203.0.113.9"
    assert caller_of(Actor(user_id=7), here) == "user:7"
    assert caller_of(Actor(visitor="abc"), here) == "visitor:abc"


# one process


async def test_connections_are_refused_above_the_limit_and_given_back(process):
    limits = process()
    one, _ = await limits.open("user:1"), await limits.open("user:1")
    await refused(limits.open("user:1"))
    await limits.open("user:2")
    await limits.close(one)
    await limits.close(one)
    await limits.open("user:1")
    await refused(limits.open("user:1"))


async def test_queries_in_a_minute_are_refused_above_the_limit_with_the_time_to_wait(process):
    limits = process()
    for _ in range(3):
        await limits.query("user:1")
    error = await refused(limits.query("user:1"))
    assert 55 < error.retry_after <= 60
    await limits.query("user:2")


async def test_visitors_of_an_address_may_ask_ten_times_as_often_as_one_of_them(process):
    limits = process(max_queries_per_minute=2)
    for n in range(20):
        await limits.query(f"visitor:{n}", "203.0.113.9")
    await refused(limits.query("visitor:20", "203.0.113.9"))
    await limits.query("visitor:20", "203.0.113.10")
    await limits.query("user:1")


async def test_connects_in_a_minute_are_counted_by_address(process):
    limits = process()
    for _ in range(3):
        await limits.connecting("203.0.113.9")
    await refused(limits.connecting("203.0.113.9"))
    await limits.connecting("203.0.113.10")


async def test_connections_count_by_address_too_and_a_refused_one_takes_no_place(process):
    limits = process(max_connections_per_address=3)
    places = [await limits.open(f"visitor:{n}", "203.0.113.9") for n in range(3)]
    await refused(limits.open("visitor:3", "203.0.113.9"))
    await limits.open("visitor:3", "203.0.113.10")
    await limits.open("visitor:3", "203.0.113.10")
    await refused(limits.open("visitor:3", "203.0.113.10"))
    await limits.open("visitor:4", "203.0.113.10")
    await limits.close(places[0])
    await limits.open("visitor:5", "203.0.113.9")


async def test_changes_count_by_caller_and_by_address(process):
    limits = process(max_writes_per_minute=2)
    for _ in range(2):
        await limits.write("user:1", "203.0.113.9")
    error = await refused(limits.write("user:1", "203.0.113.9"))
    assert 50 < error.retry_after <= 60
    for n in range(18):
        await limits.write(f"visitor:{n}", "203.0.113.9", "203.0.113.9")
    await refused(limits.write("visitor:20", "203.0.113.9", "203.0.113.9"))
    await limits.write("visitor:20", "203.0.113.10", "203.0.113.10")


@pytest.mark.parametrize(
    ("caller", "crowd"), [("visitor:a", "203.0.113.9"), ("address:203.0.113.9", "")]
)
async def test_anonymous_callers_of_an_address_have_a_bound_for_an_hour(process, caller, crowd):
    limits = process(max_anonymous_writes_per_hour=3, max_queries_per_minute=100)
    for _ in range(2):
        await limits.query(caller, crowd)
    await limits.write("visitor:b", "203.0.113.9", "203.0.113.9")
    error = await refused(limits.query(caller, crowd))
    assert 60 < error.retry_after <= 3600
    await limits.query("user:1")


async def test_notifications_have_a_limit_of_their_own(process):
    limits = process(max_writes_per_minute=1)
    for _ in range(10):
        await limits.notification("token:1")
    await refused(limits.notification("token:1"))
    await limits.write("token:1")


async def test_after_bad_tokens_an_address_is_refused_before_any_look_up(process):
    limits = process()
    for _ in range(3):
        await limits.trying_token("203.0.113.9")
        await limits.bad_token("203.0.113.9")
    await refused(limits.trying_token("203.0.113.9"))
    await limits.trying_token("203.0.113.10")
    await limits.connecting("203.0.113.9")


async def test_unfinished_requests_wait_for_each_other_and_not_for_ever(process):
    limits = process(max_requests_per_address=2)
    one, _ = [await limits.request("address", "203.0.113.9", 1) for _ in range(2)]
    await limits.request("address", "203.0.113.10", 1)
    await refused(limits.request("address", "203.0.113.9", 0.01))
    waiting = asyncio.create_task(limits.request("address", "203.0.113.9", 30))
    await asyncio.sleep(0)
    await limits.end_request(one)
    await waiting
    await refused(limits.request("address", "203.0.113.9", 0.01))


def test_the_table_has_every_limit_once():
    limits = table(conf())
    assert len({(limit.what, limit.who) for limit in limits}) == len(limits)
    assert all(limit.most > 0 and limit.words for limit in limits)


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
    refusals = []

    async def flood(limits):
        until = time.monotonic() + 7
        while time.monotonic() < until and not refusals:
            try:
                limits.frame("user:1")
            except RateLimited as error:
                refusals.append(error)
            await asyncio.sleep(1 / 9)  # below the limit of each, and above it together

    async def keep(limits):
        while True:
            await limits.share_frames()

    keepers = [asyncio.create_task(keep(limits)) for limits in (a, b)]
    await asyncio.gather(flood(a), flood(b))
    for keeper in keepers:
        keeper.cancel()
    assert refusals and refusals[0].retry_after > 0


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
    for part in a._places.parts():
        await a.close(places.pop())  # meanwhile
        await a._places.renew(part)
    assert await client.zcard(places[0].key) == len(places) == 248
    for _ in range(300 - len(places)):
        await b.open("user:1")
    await refused(b.open("user:1"))


# without Redis, though there should be one


async def timed(awaitable):
    began = time.monotonic()
    result = await awaitable
    return result, time.monotonic() - began


async def answers_soon(limits):
    """Each of the limits once, at the same time; then again, which must wait for nothing."""
    _, first = await timed(
        asyncio.gather(
            limits.open("user:1"), limits.query("user:1"), limits.connecting("203.0.113.9")
        )
    )
    assert first < 10 * SHARED_SECONDS
    loop_turns = 0

    async def count():
        nonlocal loop_turns
        while True:
            loop_turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.gather(limits.query("user:1"), limits.connecting("203.0.113.9"))
    counting.cancel()
    assert loop_turns < 200, "it waited for Redis again"


@pytest.mark.redis
async def test_a_dead_redis_leaves_the_limits_of_the_process(process):
    limits = process(f"redis://127.0.0.1:{free_port()}/0")
    await answers_soon(limits)
    await limits.open("user:1")
    await refused(limits.open("user:1"))
    await limits.query("user:1")
    await refused(limits.query("user:1"))


@pytest.mark.redis
async def test_a_frozen_redis_holds_nothing_up_and_counts_again_when_it_is_back(process):
    with start_redis() as server:
        a, b = process(server.url), process(server.url)
        await a.query("user:0")
        server.stop()
        try:
            await answers_soon(a)
        finally:
            server.cont()
        a._shared._left_alone_until = 0.0
        for part in a._places.parts():
            await a._places.renew(part)
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
