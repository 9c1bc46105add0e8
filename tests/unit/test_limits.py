"""Limits over processes: who is counted as whom, what Redis holds, and what holds without it."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from agent.access.limit_table import table
from agent.access.limits import Limits, address_of, caller_of
from agent.actor import Actor
from agent.conf import conf
from agent.errors import RateLimited

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
    assert all(limit.most > 0 and limit.message for limit in limits)
