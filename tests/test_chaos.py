"""Short chaos runs, each with faults of its own; `make chaos` has the long ones."""

import pytest

from .chaos.run import Plan, run

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]


async def assert_green(plan):
    report = await run(plan)
    assert report.problems == [], report.as_text()
    assert report.counts["queries received"] > plan.people, report.as_text()


@pytest.mark.redis
@pytest.mark.postgres
async def test_two_processes_keep_every_promise_while_everything_fails():
    await assert_green(Plan(seconds=30, seed=20, people=6))


async def test_one_process_with_sqlite_keeps_every_promise_while_everything_fails():
    await assert_green(Plan(seconds=20, seed=21, database="sqlite", processes=1, people=6))


@pytest.mark.redis
@pytest.mark.postgres
async def test_processes_killed_and_restarted_under_load_leave_no_turn_behind():
    only = ("kill", "terminate", "roll")
    await assert_green(Plan(seconds=20, seed=22, people=16, tabs=1, only=only, between=(2, 4)))


@pytest.mark.redis
@pytest.mark.postgres
async def test_turns_and_clients_survive_what_happens_to_postgresql_and_redis():
    only = ("postgres_crash", "redis_crash", "redis_freeze", "redis_flush")
    await assert_green(Plan(seconds=18, seed=25, people=6, only=only, between=(1, 2)))


@pytest.mark.redis
@pytest.mark.postgres
async def test_what_is_dropped_doubled_and_shuffled_between_processes_is_healed():
    only = ("cut",)
    await assert_green(Plan(seconds=12, seed=27, people=6, only=only, faulty_layer=True))


async def test_several_processes_share_a_sqlite_file_without_a_lock_error():
    plan = Plan(seconds=12, seed=28, database="sqlite", processes=4, people=8, only=("cut",))
    await assert_green(plan)
