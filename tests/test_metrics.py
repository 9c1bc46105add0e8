"""Metrics: who may read them, and that they count what happens without naming anybody."""

import re

import pytest
from django.test import Client

from agent import metrics
from agent.store.sequence import Change

pytest_plugins = ["tests.servers"]

TOKEN = "metrics-token-of-tests"


@pytest.fixture
def with_token(settings):
    settings.AGENT = {**settings.AGENT, "metrics_token": TOKEN}


def status(address="127.0.0.1", **headers):
    response = Client().get("/metrics", headers=headers, REMOTE_ADDR=address)
    assert (response.status_code == 200) is (b"agent_build_info" in response.content)
    return response.status_code


def value(text, name):
    """The sample of this name and these labels, as a number; 0 when there is none."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_without_a_token_this_machine_may_read_them(address):
    assert status(address) == 200


@pytest.mark.parametrize("address", ["10.0.0.1", "203.0.113.5", "::2", "", "localhost"])
def test_without_a_token_nobody_else_may(address):
    assert status(address) == 403


@pytest.mark.parametrize("header", ["x-forwarded-for", "x-real-ip", "forwarded"])
def test_what_came_through_a_proxy_of_this_machine_is_not_of_this_machine(header):
    assert status(**{header: "127.0.0.1"}) == 403


@pytest.mark.django_db(transaction=True)
def test_with_a_token_it_counts_and_nothing_else(with_token):
    assert status("203.0.113.5", authorization=f"Bearer {TOKEN}") == 200
    for wrong in (f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer ä"):
        assert status(authorization=wrong) == 403
    assert status() == 403


def test_a_commit_counts_its_frames_and_the_turns_that_it_ends():
    before = metrics.page().decode()
    response = {"type": "response", "finish_reason": "stop", "seq": 2}
    error = {"type": "error", "code": "provider_timeout", "seq": 3}
    metrics.committed(Change(None, 3, [{"type": "query", "seq": 1}, response, error]).frames)
    after = metrics.page().decode()
    for sample in (
        'agent_frames_stored_total{type="query"}',
        'agent_turns_ended_total{outcome="stop"}',
        'agent_turns_ended_total{outcome="provider_timeout"}',
    ):
        assert value(after, sample) == value(before, sample) + 1


@pytest.mark.server
async def test_a_server_counts_what_its_clients_do(start_server, provider):
    server = start_server(METRICS_TOKEN=TOKEN)

    def page():
        code, headers, text = server.request(
            "GET", "/metrics", {"Authorization": f"Bearer {TOKEN}"}
        )
        assert code == 200 and headers["content-type"].startswith("text/plain")
        return text

    assert server.request("GET", "/metrics")[0] == 403
    async with server.connect() as client:
        assert (await client.end(await client.ask("say: a canary sings")))["content"]
        held = page()
        assert value(held, "agent_connections") == value(held, "agent_sessions") == 1
        await client.send_raw("no json")
        await client.expect("error")
        back = client.back()
    async with server.connect(session=client.transcript.session, **back) as client:
        await client.ready()
        await client.end(await client.ask("mode=status status=400"))
    text = page()
    assert value(text, 'agent_connects_total{resumed="false"}') == 1
    assert value(text, 'agent_connects_total{resumed="true"}') == 1
    assert value(text, 'agent_frames_received_total{type="query"}') == 2
    assert value(text, 'agent_frames_stored_total{type="query"}') == 2
    assert value(text, 'agent_turns_ended_total{outcome="stop"}') >= 1
    assert value(text, 'agent_errors_sent_total{code="invalid_json"}') == 1
    assert value(text, "agent_turn_seconds_count") == 2
    assert value(text, "agent_first_token_seconds_count") >= 1
    assert value(text, "agent_deltas_sent_total") >= 1
    assert value(text, "agent_turns_running") == 0
    assert value(text, 'agent_turns_unfinished{state="queued"}') == 0
    assert value(text, "agent_turn_places") == 200
    assert client.transcript.session not in text and "canary" not in text
