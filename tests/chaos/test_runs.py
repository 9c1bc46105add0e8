"""Two short chaos runs; `make soak` has the long ones, and those with faults of one kind."""

import pytest

from .run import Plan, run

pytestmark = pytest.mark.timeout(600)


async def assert_green(plan):
    report = await run(plan)
    assert report.problems == [], report.as_text()
    assert report.counts["queries received"] > plan.people, report.as_text()


@pytest.mark.redis
@pytest.mark.postgres
async def test_two_processes_keep_every_promise_while_everything_fails():
    await assert_green(Plan(seconds=20, seed=20, people=6))


async def test_one_process_with_sqlite_keeps_every_promise_while_everything_fails():
    await assert_green(Plan(seconds=12, seed=21, database="sqlite", processes=1, people=6))
