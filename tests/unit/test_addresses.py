"""Addresses and paths of variables: what can never work is refused with the reason."""

import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest

from agentsite import addresses, databases
from agentsite.environment import Unusable

HERE = Path("/srv/agent")


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("https://example.org", "https://example.org"),
        ("https://Example.ORG/", "https://example.org"),
        ("HTTPS://example.org:443", "https://example.org"),
        ("http://example.org:80", "http://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(raw, found):
    assert addresses.origins(raw) == (found,)


@pytest.mark.parametrize(
    "raw",
    [
        "*",
        "null",
        "example.org",
        "//example.org",
        "https://",
        "https:///",
        "file:///x",
        "https://*.example.org",
        "https://example.org/path",
        "https://example.org?x=1",
        "https://example.org#x",
        "https://example.org?",
        "https://example.org#",
        "https://ann@example.org",
        "https://ann:pw@example.org",
        "ws://example.org",
        "https://example.org:0",
        "https://example.org:",
        "https://example.org:99999",
        *(
            "https://example.org:port",
            "https://exa mple.org",
            "https://[::1",
            "https://exa_mple!.org",
        ),
        "https://ok.example https://two.example",
        "chrome-extension://abc",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_with_the_reason(raw):
    with pytest.raises(Unusable) as refusal:
        addresses.origins(f"https://good.example, {raw}")
    assert str(refusal.value)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("localhost, 127.0.0.1,[::1]", ("localhost", "127.0.0.1", "[::1]")),
        ("Chat.Example.ORG", ("chat.example.org",)),
        (".example.org", (".example.org",)),
        ("*", ("*",)),
        ("::1", ("[::1]",)),
        ("my_machine", ("my_machine",)),
        ("bücher.example", ("xn--bcher-kva.example",)),
    ],
)
def test_hosts_are_written_as_they_are_compared(raw, found):
    assert addresses.hosts(raw) == found


@pytest.mark.parametrize(
    "raw",
    [
        "https://example.org",
        "example.org/",
        "example.org:443",
        "localhost:8000",
        "[::1]:8000",
        "*.example.org",
        "exa mple.org",
        "ann@example.org",
        "..example.org",
        ".",
    ],
)
def test_a_host_that_never_matches_is_refused_with_the_reason(raw):
    with pytest.raises(Unusable):
        addresses.hosts(f"localhost,{raw}")


@pytest.mark.parametrize("raw", ["0.0.0.0/0", "::/0", "10.0.0.0/8,0.0.0.0/0", "10.0.0.300", "*"])
def test_proxies_are_not_everybody(raw):
    with pytest.raises(ValueError):
        addresses.networks(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "redis://127.0.0.1",
        "redis://127.0.0.1:6379/3",
        "redis://:p%40ss@[::1]:6379/0",
        "rediss://ann:pw@redis.example:6380/0?ssl_cert_reqs=none",
        "unix:///run/redis/redis.sock",
        "unix:///run/redis/redis.sock?db=2&password=x",
        "unix://ann:pw@/run/redis/redis.sock?db=2",
    ],
)
def test_an_address_of_redis_is_taken_as_it_is(raw):
    assert addresses.redis(raw) == raw


@pytest.mark.parametrize(
    "raw",
    [
        "http://127.0.0.1",
        "redis://",
        "redis://127.0.0.1:0",
        "redis://127.0.0.1:port/0",
        "redis://127.0.0.1/name",
        "redis://127.0.0.1/0/1",
        "redis://127.0.0.1/0?db=x",
        "redis://127.0.0.1/0?nonsense=1",
        "unix://",
        "unix:///",
        "unix://run/redis.sock",
        "redis+unix:///run/redis.sock",
        "unix:///run/my redis.sock",
        "unix:///x.sock?db=one",
    ],
)
def test_an_address_of_redis_that_cannot_work_is_refused(raw):
    with pytest.raises(ValueError):
        addresses.redis(raw)


@pytest.mark.parametrize(
    ("raw", "path"),
    [("/", ""), ("/chat", "/chat"), ("/chat/", "/chat"), ("/a/b-c_d.e~1", "/a/b-c_d.e~1")],
)
def test_a_base_path_has_no_slash_at_its_end(raw, path):
    assert addresses.base_path(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "chat",
            "//",
            "//chat",
            "/chat//x",
            "/a b",
            "/é",
            "/a?b",
            "/a#b",
            "/../x",
            "/a/..",
            "/./a",
        ),
        "https://example.org/chat",
        "/api",
        "/admin/x",
        "/static",
        "/ws",
        "/login",
        "/healthz",
    ],
)
def test_a_base_path_that_cannot_work_is_refused(raw):
    if raw == "//":
        assert addresses.base_path(raw) == ""
        return
    with pytest.raises(ValueError):
        addresses.base_path(raw)


# databases


@pytest.mark.parametrize(
    "name", ["plain", "#1", "q?x", "p%20q", "a+b", "a b", "é", "100%", "a:b@c", "😀", "a\\b"]
)
def test_a_quoted_path_of_sqlite_names_the_very_file(tmp_path, name):
    path = tmp_path / name / "db.sqlite3"
    path.parent.mkdir()
    config = databases.database(f"sqlite:///{quote(str(path))}", HERE)
    assert config["NAME"] == str(path) == databases.sqlite(path)["NAME"]
    sqlite3.connect(config["NAME"]).close()
    assert path.exists()


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("sqlite:////var/lib/a.sqlite3", "/var/lib/a.sqlite3"),
        ("sqlite:////var/a+b é/db", "/var/a+b é/db"),
        ("sqlite:///db.sqlite3", "/srv/agent/db.sqlite3"),
        ("sqlite:///data/db.sqlite3", "/srv/agent/data/db.sqlite3"),
    ],
)
def test_a_path_that_begins_nowhere_begins_beside_manage_py(raw, path):
    assert databases.database(raw, HERE)["NAME"] == path


@pytest.mark.parametrize(
    "raw",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite://:memory:",
        "sqlite:///:memory:",
        "sqlite://db.sqlite3",
        "sqlite:////srv/#1/db",
        "sqlite:////srv/q?x/db",
        "sqlite:////srv/db?mode=ro",
        "sqlite:////srv/directory/",
        "sqlite:////srv/a%00b",
    ],
)
def test_an_address_of_sqlite_that_is_no_file_is_refused_with_the_reason(raw):
    with pytest.raises(Unusable):
        databases.database(raw, HERE)


@pytest.mark.parametrize(
    "raw",
    [
        "mysql://a:hunter2@h/n",
        "psql+x://a:hunter2@h/n",
        "postgres://h",
        "postgres://h/",
        "postgres://h/n?conn_max_age=60",
        "postgres://h/n?nonsense=1",
        "postgis://h/n",
        "n",
        "",
    ],
)
def test_an_address_that_is_no_database_of_ours_is_refused_without_a_word_of_it(raw, recwarn):
    with pytest.raises(ValueError) as refusal:
        databases.database(raw, HERE)
    assert "hunter2" not in str(refusal.value)
    assert not list(recwarn)


def test_options_of_the_address_count_and_ours_add_to_them():
    raw = "postgres://u:p%40@h/n?options=-c%20search_path%3Dmine&sslmode=require&connect_timeout=2"
    config = databases.database(raw, HERE)
    options = config["OPTIONS"]
    assert options["options"] == "-c search_path=mine"
    assert (options["sslmode"], options["connect_timeout"]) == ("require", 2)
    assert options["keepalives_idle"] == 10
    assert (config["USER"], config["PASSWORD"]) == ("u", "p@")
    assert "options" not in databases.database("postgres://u@h/n", HERE)["OPTIONS"]
