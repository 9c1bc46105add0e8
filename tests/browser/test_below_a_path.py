"""A site below a path of its host: all of it, and whether the proxy takes the path away or not."""

import re

import pytest

from tests.support.people import PASSWORD, Person, make
from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOCKETS = ("/ws/agent/", "/functions/v1/agent_websocket")


@pytest.fixture(scope="module")
def below(provider):
    with Server(provider.base_url, environment={"BASE_PATH": "/chat/"}) as server:
        make(server, people={"ann": {"is_staff": True, "is_superuser": True}})
        yield server
        server.assert_nothing_broke()


async def test_the_page_lives_below_it(visitor, below):
    person = await visitor(below.url)
    chat = await person.chat("/chat")
    await chat.ready()
    await chat.ask("say: below")
    await chat.answered("below")
    session = await chat.session()
    await chat.page.get_by_role("link", name="Sign in").click()
    await chat.page.wait_for_url(re.compile(r"/chat/login/\?next="))
    await chat.page.get_by_label("Username").fill("ann")
    await chat.page.get_by_label("Password").fill(PASSWORD)
    await chat.page.get_by_role("button", name="Sign in").click()
    await chat.page.wait_for_url(re.compile(r"/chat/\?session="))  # back, to a visitor's session
    await chat.open("/chat/")
    await chat.ready()
    await chat.ask("say: signed in")
    await chat.answered("signed in")
    assert await chat.session() != session
    admin = await person.page("/chat/admin/agent/session/")
    assert "session" in await admin.title()
    cookies = await person.context.cookies()
    assert {cookie["path"] for cookie in cookies} == {"/chat/"}
    for address in person.requests:
        path = address.removeprefix(below.url).removeprefix(below.url.replace("http", "ws"))
        assert path.startswith("/chat") or address.startswith(("data:", "blob:")), address


@pytest.mark.parametrize("before", ["/chat", ""])
async def test_a_proxy_may_take_the_path_away(below, before):
    assert below.request("GET", f"{before}/")[2].count('"/chat/static/') > 5
    for path, status in {
        "/healthz": 200,
        "/readyz": 200,
        "/api/docs": 200,
        "/static/agent/page/page.js": 200,
        "/api/sessions/": 401,
        "/api/nowhere": 404,
        "/nowhere": 404,
        "/ws/agent/": 400,
    }.items():
        assert below.request("GET", before + path)[0] == status, path
    assert below.request("GET", f"{before}/admin/")[1]["location"] == (
        "/chat/admin/login/?next=/chat/admin/"
    )
    assert '"/chat/api/sessions/"' in below.request("GET", f"{before}/api/openapi.json")[2]
    for path in SOCKETS:
        async with below.connect(before + path) as client:
            answer = await client.end(await client.ask("say: hello"))
            assert answer["content"] == "hello"
    with Person(below).http as http:
        page = http.get(f"{before}/login/")
        fields = {
            "username": "ann",
            "password": PASSWORD,
            "csrfmiddlewaretoken": page.cookies["csrftoken"],
        }
        answer = http.post(
            f"{before}/login/",
            data=fields,
            headers={"Cookie": f"csrftoken={fields['csrfmiddlewaretoken']}"},
        )
        assert (answer.status_code, answer.headers["Location"]) == (302, "/chat/")
        assert "Path=/chat/" in answer.headers["Set-Cookie"]
