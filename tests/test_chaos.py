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
    await assert_green(Plan(seconds=30, seed=21, database="sqlite", processes=1, people=6))


@pytest.mark.redis
@pytest.mark.postgres
async def test_a_process_that_is_killed_again_and_again_leaves_no_turn_behind():
    await assert_green(Plan(seconds=15, seed=22, people=6, only=("kill",), between=(2, 4)))


@pytest.mark.redis
@pytest.mark.postgres
async def test_restarts_under_load_lose_and_double_nothing():
    plan = Plan(seconds=15, seed=23, people=20, tabs=1, only=("terminate", "roll"), between=(3, 5))
    await assert_green(plan)


async def test_daphne_restarted_and_killed_under_load_loses_and_doubles_nothing():
    only = ("terminate", "kill", "cut")
    plan = Plan(
        seconds=15, seed=24, database="sqlite", processes=1, people=6, only=only, backend="daphne"
    )
    await assert_green(plan)


@pytest.mark.redis
@pytest.mark.postgres
async def test_turns_survive_restarts_of_postgresql():
    only = ("postgres_crash",)
    await assert_green(Plan(seconds=15, seed=25, people=6, only=only, between=(1, 2)))


@pytest.mark.redis
@pytest.mark.postgres
async def test_clients_converge_while_redis_dies_freezes_and_forgets():
    only = ("redis_crash", "redis_freeze", "redis_flush")
    await assert_green(Plan(seconds=15, seed=26, people=6, only=only, between=(1, 3)))


@pytest.mark.redis
@pytest.mark.postgres
async def test_what_is_dropped_doubled_and_shuffled_between_processes_is_healed():
    only = ("cut",)
    await assert_green(Plan(seconds=12, seed=27, people=6, only=only, faulty_layer=True))


async def test_several_processes_share_a_sqlite_file_without_a_lock_error():
    plan = Plan(seconds=12, seed=28, database="sqlite", processes=4, people=8, only=("cut",))
    await assert_green(plan)
