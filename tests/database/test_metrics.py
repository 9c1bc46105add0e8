"""Metrics: who may read them, and that they count what happens without naming anybody."""

import pytest
from django.test import Client

TOKEN = "metrics-token-of-tests"


@pytest.fixture
def with_token(settings):
    settings.AGENT = {**settings.AGENT, "metrics_token": TOKEN}


def status(address="127.0.0.1", **headers):
    response = Client().get("/metrics", headers=headers, REMOTE_ADDR=address)
    assert (response.status_code == 200) is (b"agent_build_info" in response.content)
    return response.status_code


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_without_a_token_this_machine_may_read_them(address):
    assert status(address) == 200


@pytest.mark.django_db(transaction=True)
def test_with_a_token_it_counts_and_nothing_else(with_token):
    assert status("203.0.113.5", authorization=f"Bearer {TOKEN}") == 200
    for wrong in (f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer ä"):
        assert status(authorization=wrong) == 403
    assert status() == 403
