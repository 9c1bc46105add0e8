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


def test_a_database_that_processes_share_without_redis_is_a_warning(found):
    shared = connection.vendor == "postgresql"
    assert found({"redis_url": ""}) == ({"agent.W003"} if shared else set())
