"""System checks say what is wrong with a set-up before it hurts."""

import os
import subprocess
import sys

import pytest

from agent import checks
from tests.support import ROOT


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


def test_a_short_lease_is_a_warning(found):
    assert found({"lease_seconds": 2}) == {"agent.W004"}


def test_deadlines_that_contradict_each_other_are_a_warning(found):
    assert found({"provider_total_timeout": 5}) == {"agent.W001"}


@pytest.mark.parametrize("key", ["k" * 60, "ab" * 30, "django-insecure-" + "0123456789" * 5])
def test_a_key_that_can_be_guessed_is_an_error(found, key):
    assert found(SECRET_KEY=key) == {"agent.E004"}


def test_a_misspelt_variable_is_a_warning_that_holds_no_value(settings):
    settings.MISSPELT_VARIABLES = [("/srv/.env, line 3", "OPENROUTER_APIKEY", "OPENROUTER_API_KEY")]
    (warning,) = checks.everywhere()
    assert warning.id == "agent.W005"
    assert warning.msg.startswith("/srv/.env, line 3: OPENROUTER_APIKEY")
    assert "OPENROUTER_API_KEY?" in warning.hint


@pytest.mark.parametrize(
    ("https_only", "secure", "ids"),
    [(True, True, []), (False, True, []), (False, False, ["agent.I001"])],
)
def test_cookies_over_plain_http_are_told_once(settings, https_only, secure, ids):
    settings.HTTPS_ONLY, settings.SECURE_COOKIES = https_only, secure
    assert [message.id for message in checks.cookies()] == ids


def test_the_set_up_behind_a_proxy_that_redirects_passes_the_deployment_check():
    environment = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": "",
        "SECRET_KEY": "0123456789abcdef" * 4,
        "HTTPS_ONLY": "0",
        "OPENROUTER_API_KEY": "x",
        "ALLOWED_HOSTS": "chat.example.org",
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNINGS" not in done.stderr and "agent.I001" in done.stderr
