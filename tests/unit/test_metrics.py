"""Metrics: who may read them, and that they count what happens without naming anybody."""

import re

import pytest
from django.test import Client

from agent import metrics
from agent.store.sequence import Change


def status(address="127.0.0.1", **headers):
    response = Client().get("/metrics", headers=headers, REMOTE_ADDR=address)
    assert (response.status_code == 200) is (b"agent_build_info" in response.content)
    return response.status_code


def value(text, name):
    """The sample of this name and these labels, as a number; 0 when there is none."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("address", ["10.0.0.1", "203.0.113.5", "::2", "", "localhost"])
def test_without_a_token_nobody_else_may(address):
    assert status(address) == 403


@pytest.mark.parametrize("header", ["x-forwarded-for", "x-real-ip", "forwarded"])
def test_what_came_through_a_proxy_of_this_machine_is_not_of_this_machine(header):
    assert status(**{header: "127.0.0.1"}) == 403


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
