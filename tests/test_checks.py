"""System checks say what is wrong with a set-up before it hurts."""

import pytest
from django.db import connection

from agent import checks


@pytest.fixture
def found(settings):
    """The ids of what the checks find, after changes to the settings."""

    def run(agent=None, **changes):
        good = {"generated_key": False, "demo": False, "redis_url": "redis://127.0.0.1/0"}
        settings.AGENT = {**settings.AGENT, **good, **(agent or {})}
        settings.DEBUG = False
        for name, value in changes.items():
            setattr(settings, name, value)
        return {message.id for message in [*checks.everywhere(), *checks.deployment()]}

    return run


def test_a_good_set_up_passes(found):
    assert found() == set()


def test_any_host_is_an_error(found):
    assert found(ALLOWED_HOSTS=["*"]) == {"agent.E001"}


@pytest.mark.parametrize("origin", ["*", "https://*", "https://*.example.org"])
def test_any_origin_is_an_error(found, origin):
    assert found({"allowed_origins": (origin,)}) == {"agent.E003"}


def test_a_generated_key_is_an_error(found):
    assert found({"generated_key": True}) == {"agent.E002"}


def test_the_demo_model_is_a_warning(found):
    assert found({"demo": True}) == {"agent.W002"}


@pytest.mark.database
def test_a_database_that_processes_share_without_redis_is_a_warning(found):
    shared = connection.vendor == "postgresql"
    assert found({"redis_url": ""}) == ({"agent.W003"} if shared else set())


def test_a_short_lease_is_a_warning(found):
    assert found({"lease_seconds": 2}) == {"agent.W004"}


def test_deadlines_that_contradict_each_other_are_a_warning(found):
    assert found({"provider_total_timeout": 5}) == {"agent.W001"}
