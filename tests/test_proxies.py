"""`docs/nginx.conf` and `docs/Caddyfile`, run by real proxies in front of real servers."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from .people import PASSWORD, make
from .proxies import ENVIRONMENT, NAME, Caddy, Nginx
from .servers import Server, production_server
from .services import HOST

pytest_plugins = ["tests.servers"]
pytestmark = [pytest.mark.server, pytest.mark.slow]

_FAST = "PASSWORD_HASHERS = ['django.contrib.auth.hashers.MD5PasswordHasher']\n"


@pytest.fixture(scope="module")
def site(provider, tmp_path_factory):
    """Two processes on one database."""
    directory = tmp_path_factory.mktemp("site")
    settings = {**ENVIRONMENT, "ALLOW_ANONYMOUS": "1"}
    one = production_server(provider.base_url, directory, **settings)
    with (directory / "production_settings.py").open("a") as file:
        file.write(_FAST)
    with one:
        make(one, {"ada": {}})
        with Server(provider.base_url, environment=one.environment) as two:
            yield one, two
            for server in (one, two):
                server.stop()
                server.assert_nothing_broke()


@pytest.fixture(scope="module")
def nginx(site):
    with Nginx(*site) as proxy:
        proxy.start()
        yield proxy


@pytest.fixture(scope="module")
def caddy(site):
    with Caddy(*site) as proxy:
        proxy.start()
        yield proxy


@pytest.fixture(params=["nginx", "caddy"])
def proxy(request):
    return request.getfixturevalue(request.param)


def test_ten_browsers_of_one_address_that_were_never_here_all_get_the_whole_page(proxy):
    with ExitStack() as stack, ThreadPoolExecutor(10) as pool:
        browsers = [stack.enter_context(proxy.browser()) for _ in range(10)]
        loads = list(pool.map(lambda browser: browser.load(), browsers))
    assert len(loads[0]) > 50
    for load in loads:
        assert set(load.values()) == {200}, load
        assert load.keys() == loads[0].keys()


async def test_a_turn_goes_through_it(proxy):
    async with proxy.connect() as client:
        await client.ready()
        answer = await client.end(await client.ask("hello"))
        assert answer["type"] == "response"


async def test_nobody_sees_a_rolling_restart_of_two_processes(site, nginx, caddy):
    over, statuses, connects = asyncio.Event(), [], []
    here = asyncio.Barrier(3)  # both clients have an answer, and the restarts may begin

    async def look(proxy):
        while not over.is_set():
            with proxy.browser() as browser:
                statuses.append((await asyncio.to_thread(browser.get, "/")).status_code)
            await asyncio.sleep(0.1)  # below what nginx lets one address ask for

    async def stay(proxy):
        """Come back with what was seen, whenever the connection ends."""
        end, options, came = asyncio.create_task(over.wait()), {}, 0
        while not over.is_set():
            async with proxy.connect(**options) as client:
                if (await client.next()).get("event") != "connected":
                    continue  # a process that goes down says so to whom its proxy still sends there
                await client.ready()
                came += 1
                if came == 1:
                    await client.end(await client.ask("hello"))
                    await here.wait()
                options = client.back()
                await asyncio.wait({client.reading, end}, return_when=asyncio.FIRST_COMPLETED)
        connects.append(came)

    everybody = [
        asyncio.create_task(one(proxy)) for one in (look, stay) for proxy in (nginx, caddy)
    ]
    await here.wait()
    for server in site:
        await asyncio.to_thread(server.restart)
    over.set()
    await asyncio.gather(*everybody)
    assert set(statuses) == {200}
    assert min(connects) >= 2


def test_plain_http_is_led_to_https(proxy):
    answer = httpx.get(f"http://{HOST}:{proxy.plain_port}/login/?next=/", headers={"Host": NAME})
    assert answer.status_code in (301, 308)
    location = answer.headers["location"].replace(f":{proxy.port}", "")
    assert location == f"https://{NAME}/login/?next=/"


def test_ipv6_is_served_like_ipv4(nginx):
    with nginx.browser("[::1]") as browser:
        assert browser.get("/healthz").status_code == 200
    answer = httpx.get(f"http://[::1]:{nginx.plain_port}/", headers={"Host": NAME})
    assert answer.status_code == 301


def test_twenty_people_of_one_address_sign_in_within_a_minute(proxy):
    for _ in range(20):
        with proxy.browser(**{"X-Comes-From": "192.0.2.20"}) as browser:
            assert browser.sign_in("ada", PASSWORD) == 302


def test_to_look_at_the_form_is_no_try(nginx):
    with nginx.browser(**{"X-Comes-From": "192.0.2.21"}) as browser:
        for _ in range(50):
            assert browser.get("/login/").status_code == 200
        assert browser.sign_in("ada", PASSWORD) == 302


def refused(answer):
    """Whether nginx itself did."""
    return answer.status_code == 429 and "<center>nginx" in answer.text


@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_who_guesses_is_stopped_and_others_are_not(nginx, path):
    stranger, other = f"192.0.2.{len(path)}", "192.0.2.99"
    with nginx.browser(**{"X-Comes-From": stranger}) as browser:
        tries = [refused(browser.post(path, {})) for _ in range(160)]
        assert any(tries) and not any(tries[:60])
        assert browser.get("/").status_code == 200
    with nginx.browser(**{"X-Comes-From": other}) as browser:
        assert not refused(browser.post(path, {}))


@pytest.mark.parametrize(
    ("addresses", "together"),
    [
        (["2001:db8:1:2::{}", "2001:db8:1:2:a:b:c:{}"], True),
        (["2001:db8::{}", "2001:db8::a:b:c:{}"], True),
        (["2001:db8:1::{}", "2001:db8:1::a:{}"], True),
        (["2001:db8:1:3::{}", "2001:db8:1:4::{}", "2001:db8:5::{}", "192.0.3.{}"], False),
    ],
)
def test_of_ipv6_a_network_is_one_caller(nginx, addresses, together):
    answers = []
    with nginx.browser() as browser:
        for number in range(160):
            address = addresses[number % len(addresses)].format(number % 7 + 1)
            browser.http.headers["X-Comes-From"] = address
            answers.append(refused(browser.post("/login/", {})))
    assert any(answers) is together
