"""Whatever a client sends, it gets an answer that the protocol knows; nothing else happens."""

from tests.fuzz.run import run


async def test_a_server_lives_through_a_run_and_serves_its_other_clients(server):
    report = await run(server, seed=20260101, seconds=60, messages=300)
    assert report.messages == 300
    assert report.answers["invalid_json"] > 50 and report.answers["response"] > 10
    assert report.ended["as they must"] > 30
    assert "internal_error" not in report.answers
    assert report.rss_mb["after"] - report.rss_mb["before"] < 30
