"""The headers of all that the site answers, as it is reached in production, behind a proxy."""

import re

import httpx
import pytest

from agentsite.headers import HEADERS

from .people import PASSWORD, Person, make
from .servers import Server, production_server
from .urls import addresses

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
pytest_plugins = ["tests.servers"]


@pytest.fixture(scope="module")
def site(provider, tmp_path_factory):
    with production_server(
        provider.base_url,
        tmp_path_factory.mktemp("headers"),
        ALLOWED_HOSTS="chat.example.org",
        ALLOW_ANONYMOUS="1",
        TRUSTED_PROXIES="127.0.0.1",
    ) as server:
        boss = {"is_staff": True, "is_superuser": True}
        make(server, people={"boss": boss, "new": {"is_staff": True}})
        yield server


def behind_the_proxy(server):
    """A browser that has reached the site over HTTPS."""
    person = Person(server)
    person.http.headers.update(
        {
            "Host": "chat.example.org",
            "X-Forwarded-Proto": "https",
            "Origin": "https://chat.example.org",
        }
    )
    return person


def signed_in(server, name):
    """Such a browser of somebody; the client would not send cookies that are for HTTPS alone."""
    person = behind_the_proxy(server)
    cookies = kept(person.http.get("/login/"))
    fields = {
        "csrfmiddlewaretoken": cookies["__Host-csrftoken"],
        "username": name,
        "password": PASSWORD,
    }
    person.http.headers["Cookie"] = line(cookies)
    cookies |= kept(person.http.post("/login/", data=fields))
    assert "__Host-sessionid" in cookies
    person.http.headers["Cookie"] = line(cookies)
    return person


def kept(answer):
    return {cookie.name: cookie.value for cookie in answer.cookies.jar}


def line(cookies):
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


#: A host that is not ours, asked for where the answer would be a redirect.
STRANGE = {"Host": "evil.test", "X-Forwarded-Proto": "http"}


def assert_safe(answer, what=""):
    what = f"{what} {answer.request.method} {answer.url} {answer.status_code}"
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value], f"{what}: {name}"
    (policy,) = answer.headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy, what
    assert "unsafe" not in policy, what
    assert not re.search(r"(?i)python|uvicorn|daphne|django", answer.headers.get("server", "")), (
        what
    )
    for cookie in answer.headers.get_list("set-cookie"):
        assert "Secure" in cookie and "SameSite=Lax" in cookie, f"{what}: {cookie}"
        assert cookie.startswith("__Host-") and "Path=/;" in f"{cookie};", f"{what}: {cookie}"
        assert "Domain" not in cookie, f"{what}: {cookie}"
        assert "HttpOnly" in cookie or cookie.startswith("__Host-csrf"), f"{what}: {cookie}"


def test_every_address_answers_with_them(site):
    everybody = {"nobody": behind_the_proxy(site), "boss": signed_in(site, "boss")}
    seen = {}
    for who, person in everybody.items():
        for address in addresses():
            for method in ("GET", "POST"):
                answer = person.http.request(method, address)
                assert_safe(answer, who)
                assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
                assert answer.status_code < 500
                seen.setdefault(who, set()).add(answer.status_code)
    assert len(list(addresses())) > 30
    assert seen["boss"] >= {200, 302, 400, 403, 404}


@pytest.mark.parametrize(
    ("status", "words", "ask"),
    [
        (404, "no such page", lambda person: person.http.get("/nowhere")),
        (403, "load the page again", lambda person: person.http.post("/login/")),
        (403, "may not see this", lambda person: person.http.get("/admin/agent/session/")),
        (400, "cannot be understood", lambda person: person.http.get("/", headers=STRANGE)),
    ],
    ids=["not found", "forged", "not allowed", "another host"],
)
def test_an_error_is_a_page_of_ours_with_them(site, status, words, ask):
    answer = ask(signed_in(site, "new"))
    assert answer.status_code == status
    assert words in answer.text
    assert "/static/agent/css/plain." in answer.text
    assert_safe(answer)


def test_an_error_of_ours_is_a_page_with_them_and_without_its_cause(site, tmp_path):
    """The static files were never collected, so no page finds its own."""
    environment = {
        "DEBUG": "0",
        "ALLOWED_HOSTS": "chat.example.org",
        "TRUSTED_PROXIES": "127.0.0.1",
        "DJANGO_SETTINGS_MODULE": "uncollected",
        "PYTHONPATH": str(tmp_path),
    }
    settings = f"from agentsite.settings import *\nSTATIC_ROOT = {str(tmp_path / 'none')!r}\n"
    (tmp_path / "uncollected.py").write_text(settings)
    with Server(environment=environment) as server:
        answer = behind_the_proxy(server).http.get("/login/")
        assert answer.status_code == 500
        assert "on our side" in answer.text
        assert "manifest" not in answer.text.lower() and "Error" not in answer.text
        assert_safe(answer)


def test_static_files_have_them_too(site):
    person = behind_the_proxy(site)
    page = person.http.get("/login/").text
    (sheet,) = re.findall(r'href="(/static/agent/css/plain\.[0-9a-f]+\.css)"', page)
    answer = person.http.get(sheet)
    assert answer.status_code == 200
    assert_safe(answer)
    assert_safe(person.http.get("/static/agent/nothing.css"))


def test_plain_http_is_sent_to_https_for_good(site):
    answer = httpx.get(f"{site.url}/?session=1", headers={"Host": "chat.example.org"})
    assert answer.status_code == 301
    assert answer.headers["location"] == "https://chat.example.org/?session=1"
    assert_safe(answer)
    assert "strict-transport-security" not in answer.headers  # it would not count
