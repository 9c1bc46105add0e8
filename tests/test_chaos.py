"""A short chaos run on each kind of deployment; `make chaos` has the long ones."""

import pytest

from .chaos.run import Plan, run

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.mark.redis
@pytest.mark.postgres
async def test_two_processes_keep_every_promise_while_everything_fails():
    report = await run(Plan(seconds=30, seed=20, people=6))
    assert report.problems == [], report.as_text()
    assert report.counts["queries received"] > 20, report.as_text()


async def test_one_process_with_sqlite_keeps_every_promise_while_everything_fails():
    report = await run(Plan(seconds=30, seed=21, database="sqlite", processes=1, people=6))
    assert report.problems == [], report.as_text()
    assert report.counts["queries received"] > 20, report.as_text()
