"""Settings come from the environment; a bad value stops the start and names its variable."""

import json
import os
import shutil
import subprocess
import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from unittest.mock import patch

import pytest
from django.core.exceptions import ImproperlyConfigured

from agentsite import environment
from tests.support import ROOT
from tests.support.plugin import EXAMPLE

PRODUCTION = {"SECRET_KEY": "k" * 60, "DEBUG": "0"}


def load(file=ROOT / "agentsite" / "settings.py", **variables):
    """Execute the settings once more, beside those of the tests, with these variables alone."""
    spec = spec_from_file_location("agentsite.settings", file)
    module = module_from_spec(spec)
    with (
        patch.dict(os.environ, {"ENV_FILE": "", **variables}, clear=True),
        patch.multiple(environment, _locations={}, _read=set()),
    ):
        spec.loader.exec_module(module)
    values = {name: value for name, value in vars(module).items() if name.isupper()}
    return json.loads(json.dumps(values, default=str))


def refusal(**variables):
    """The traceback that a start with these variables ends in."""
    with pytest.raises(ImproperlyConfigured) as caught:
        load(**variables)
    return "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "maybe"),
        ("PORT", "http"),
        ("PORT", "70000"),
        ("SESSION_TIMEOUT", "0"),
        ("SESSION_TIMEOUT", "soon"),
        ("SESSION_TIMEOUT", "nan"),
        ("TEMPERATURE", "2.5"),
        ("TEMPERATURE", "-1"),
        ("MAX_TOKENS", "1.5"),
        ("MAX_TOKENS", "0"),
        ("MAX_HISTORY", "many"),
        ("MAX_FRAME_BYTES", "10"),
        ("MAX_FRAMES_PER_SECOND", "0"),
        ("MAX_CONNECTIONS_PER_USER", "many"),
        ("OPENROUTER_BASE_URL", "openrouter.ai/api"),
        ("OPENROUTER_BASE_URL", "ftp://openrouter.ai"),
        ("DATABASE_URL", "mysql://host/name"),
        ("DATABASE_URL", "nonsense"),
        ("REDIS_URL", "http://127.0.0.1"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "example.org"),
        ("ALLOWED_ORIGINS", "https://example.org/path"),
        ("ALLOWED_ORIGINS", "https://*.example.org"),
        ("DATABASE_URL", "nonsense://agent:hunter2@db/agent"),
        ("SECRET_KEY_FALLBACKS", "short"),
        ("BASE_PATH", "chat"),
        ("SECRET_KEY", "k" * 49),
        ("TRUSTED_PROXIES", "proxy"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("LEASE_SECONDS", "inf"),
        ("RETENTION_DAYS", "1000000"),
        ("OPENROUTER_API_KEY", "ключ"),
        ("METRICS_TOKEN", "two\nlines"),
        ("OPENROUTER_BASE_URL", "http://127.0.0.1:99999/v1"),
        ("OPENROUTER_BASE_URL", "http://an example/v1"),
        ("REDIS_URL", "redis://127.0.0.1:port/0"),
        ("DATABASE_URL", "postgres://"),
    ],
)
def test_a_bad_value_stops_the_start_with_its_name_and_not_with_itself(name, value):
    message = refusal(**{**PRODUCTION, name: value}).strip().splitlines()[-1]
    assert f"{name}: expected" in message
    assert value not in message.split("expected")[0]


def test_a_password_in_a_bad_address_is_not_shown():
    assert "hunter2" not in refusal(**PRODUCTION, DATABASE_URL="mysql://agent:hunter2@db/agent")


def test_a_process_without_debug_and_key_does_not_start():
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENV_FILE": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "SECRET_KEY: expected" in done.stderr


def test_defaults_are_those_of_the_original():
    agent = load(**PRODUCTION)["AGENT"]
    assert agent["model"] == "openai/gpt-4-turbo"
    assert agent["agent_name"] == "agent_websocket"
    assert agent["session_timeout"] == 30
    assert agent["max_history"] == 50
    assert agent["temperature"] == 0.7
    assert agent["max_tokens"] == 1500
    assert agent["openrouter_base_url"] == "https://openrouter.ai/api/v1"


def test_an_empty_variable_counts_as_absent():
    found = load(**PRODUCTION, MODEL="", PORT="", REDIS_URL="", ALLOWED_HOSTS="")
    assert found["AGENT"]["model"] == "openai/gpt-4-turbo"
    assert found["PORT"] == 8000
    assert found["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]


@pytest.mark.parametrize(
    ("environment", "demo"),
    [
        ({}, True),
        ({"OPENROUTER_API_KEY": "sk-1"}, False),
        ({"OPENROUTER_BASE_URL": "http://127.0.0.1:11434/v1"}, False),
        ({"OPENROUTER_BASE_URL": "https://openrouter.ai/api/v1/"}, True),
    ],
)
def test_the_demo_model_answers_when_neither_key_nor_server_is_named(environment, demo):
    assert load(**PRODUCTION, **environment)["AGENT"]["demo"] is demo


def test_production_is_safe_and_debug_is_convenient():
    production = load(**PRODUCTION)
    assert production["SECURE_SSL_REDIRECT"] is True
    assert production["SESSION_COOKIE_SECURE"] is True
    assert production["AGENT"]["allow_anonymous"] is False
    debug = load(DEBUG="1", SECRET_KEY="k" * 60)
    assert debug["SECURE_SSL_REDIRECT"] is False
    assert debug["AGENT"]["allow_anonymous"] is True


def test_redis_is_reached_by_the_layer_that_does_not_drop():
    layers = load(**PRODUCTION, REDIS_URL="redis://127.0.0.1:6379/1")["CHANNEL_LAYERS"]
    assert layers["default"]["BACKEND"].endswith("RedisPubSubChannelLayer")


def test_numbers_and_lists_are_read(tmp_path):
    found = load(
        **PRODUCTION,
        SESSION_TIMEOUT="0.5",
        FALLBACK_MODELS="a/b, c/d",
        ALLOWED_ORIGINS="https://Example.org, http://x.test:8080/",
        TRUSTED_PROXIES="10.0.0.0/8,::1",
        TEMPERATURE="0",
    )
    assert found["AGENT"]["session_timeout"] == 0.5
    assert found["AGENT"]["fallback_models"] == ["a/b", "c/d"]
    assert found["AGENT"]["allowed_origins"] == ["https://example.org", "http://x.test:8080"]
    assert found["TRUSTED_PROXIES"] == ["10.0.0.0/8", "::1/128"]
    assert found["AGENT"]["temperature"] == 0


def test_a_secret_may_begin_with_a_dollar_sign(tmp_path):
    file = tmp_path / "env"
    file.write_text("METRICS_TOKEN=$of-the-file\n")
    secret = "$ecret" + "k" * 60
    found = load(
        SECRET_KEY=secret, OPENROUTER_API_KEY="$sk-1", ENV_FILE=str(file), **{"of-the-file": "x"}
    )
    assert found["SECRET_KEY"] == secret
    agent = found["AGENT"]
    assert (agent["openrouter_api_key"], agent["metrics_token"]) == ("$sk-1", "$of-the-file")


def test_a_file_gives_what_the_environment_does_not(tmp_path):
    file = tmp_path / "env"
    file.write_text("MODEL=from/file\nPORT=1234\n")
    found = load(**{**PRODUCTION, "ENV_FILE": str(file), "PORT": "4321"})
    assert (found["AGENT"]["model"], found["PORT"]) == ("from/file", 4321)


def test_an_error_about_a_value_of_a_file_names_its_line_and_never_the_value(tmp_path):
    file = tmp_path / "env"
    file.write_text("# mine\nDATABASE_URL = canary://agent:hunter2@db/agent\n")
    message = refusal(**{**PRODUCTION, "ENV_FILE": str(file)})
    assert "DATABASE_URL: expected postgres://user:password@host" in message
    assert f"({file}, line 2)" in message
    assert "hunter2" not in message and "canary" not in message


@pytest.mark.parametrize("what", ["missing", "a directory", "a bad line"])
def test_a_named_file_that_cannot_be_read_stops_the_start(tmp_path, what):
    file = tmp_path / "env"
    if what == "a directory":
        file.mkdir()
    elif what == "a bad line":
        file.write_text("MODEL=x\nOPENROUTER_API_KEY sk-or-v1-CANARY\n")
    message = refusal(**{**PRODUCTION, "ENV_FILE": str(file)})
    last_line = message.splitlines()[-1]
    assert str(file) in last_line
    assert ("line 2" in last_line) == (what == "a bad line")
    assert "CANARY" not in message


def test_a_file_of_notepad_is_read(tmp_path):
    file = tmp_path / "env"
    file.write_bytes(
        b"\xef\xbb\xbfMODEL = from/notepad\r\nexport AGENT_NAME='Ann #1' # she\r\n"
        b"OPENROUTER_APIKEY=x\r\nopenrouter_base_url=y\r\nUNRELATED=z\r\n"
    )
    found = load(**{**PRODUCTION, "ENV_FILE": str(file)})
    assert (found["AGENT"]["model"], found["AGENT"]["agent_name"]) == ("from/notepad", "Ann #1")
    assert found["MISSPELT_VARIABLES"] == [
        [f"{file}, line 3", "OPENROUTER_APIKEY", "OPENROUTER_API_KEY"],
        [f"{file}, line 4", "openrouter_base_url", "OPENROUTER_BASE_URL"],
    ]


def test_former_keys_are_accepted_and_secret():
    keys = ["f" * 60, "g" * 50]
    found = load(**PRODUCTION, SECRET_KEY_FALLBACKS=", ".join(keys))
    assert found["SECRET_KEY_FALLBACKS"] == keys
    assert set(keys) <= set(found["LOGGING"]["secrets"])


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, {"__Host-sessionid", "__Host-csrftoken", "__Host-agent_visitor"}),
        ({"SECURE_COOKIES": "0"}, {"sessionid", "csrftoken", "agent_visitor"}),
        (
            {"BASE_PATH": "/chat/"},
            {"__Secure-sessionid", "__Secure-csrftoken", "__Secure-agent_visitor"},
        ),
    ],
)
def test_cookies_say_by_their_names_that_they_are_of_this_host(environment, names):
    found = load(**PRODUCTION, **environment)
    kinds = ("SESSION", "CSRF", "VISITOR")
    assert {found[f"{kind}_COOKIE_NAME"] for kind in kinds} == names
    path = "/chat/" if environment.get("BASE_PATH") else "/"
    assert (found["SESSION_COOKIE_PATH"], found["CSRF_COOKIE_PATH"]) == (path, path)


@pytest.mark.parametrize("name", ["#1", "q?x", "p%20q", "a+b", "a b", "é"])
def test_a_directory_may_have_any_name(tmp_path, name):
    """The default file, its key and static files are paths, and never go through an address."""
    root = tmp_path / name
    (root / "agentsite").mkdir(parents=True)
    file = shutil.copy(ROOT / "agentsite" / "settings.py", root / "agentsite")
    found = load(Path(file), DEBUG="1")
    assert found["DATABASES"]["default"]["NAME"] == str(root / "db.sqlite3")
    assert found["STATIC_ROOT"] == str(root / "staticfiles")
    assert (root / ".secret_key").exists()


def test_the_example_shows_the_defaults():
    names = ("AGENT", "HOST", "PORT", "ALLOWED_HOSTS", "HTTPS_ONLY", "SECURE_COOKIES", "LOGGING")
    example = dict(EXAMPLE.findall((ROOT / ".env.example").read_text()))
    needed = {"SECRET_KEY": "x" * 64, "ENV_FILE": ""}
    as_shown, by_default = load(**example | needed), load(**needed)
    assert {name: as_shown[name] for name in names} == {name: by_default[name] for name in names}
