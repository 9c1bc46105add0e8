"""Who is calling: tokens first and never passed over, cookies only from our own pages."""

import re

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.signing import Signer
from django.test import Client, RequestFactory

from agent.access import api_tokens, authentication
from agent.actor import CHAT, NOTIFY, Access, Actor
from agent.errors import Forbidden, Unauthenticated

HOST = "127.0.0.1:8000"


def scope(*, origin=None, host=HOST, scheme="ws", cookies="", bearer="", subprotocols=()):
    headers = [(b"host", host.encode())]
    headers += [(b"origin", origin.encode())] if origin is not None else []
    headers += [(b"cookie", cookies.encode())] if cookies else []
    headers += [(b"authorization", f"Bearer {bearer}".encode())] if bearer else []
    return {"scheme": scheme, "headers": headers, "subprotocols": list(subprotocols)}


def visitor_cookie(visitor="v1"):
    return f"{authentication.VISITOR_COOKIE}={Signer(salt='agent.visitor').sign(visitor)}"


@pytest.fixture
def agent_settings(settings):
    def change(**values):
        settings.AGENT = {**settings.AGENT, **values}

    return change


@pytest.mark.django_db(transaction=True)
async def test_a_visitor_cookie_counts_with_a_fitting_origin_alone():
    ours, cookie, actor = f"http://{HOST}", visitor_cookie(), Actor(visitor="v1")
    access = await authentication.authenticate(scope(origin=ours, cookies=cookie))
    assert (access.actor, access.credential, access.by_cookie) == (actor, "visitor", True)
    assert await authentication.authenticate(scope(cookies=cookie)) == Access()
    forged = f"{authentication.VISITOR_COOKIE}=v1:forged"
    assert await authentication.authenticate(scope(origin=ours, cookies=forged)) == Access()


@pytest.mark.django_db(transaction=True)
async def test_a_login_counts_before_the_visitor(agent_settings):
    agent_settings(allow_anonymous=False)
    user = await get_user_model().objects.acreate_user("ann")
    client = Client()
    await sync_to_async(client.force_login)(user)
    login = f"sessionid={client.cookies['sessionid'].value}; {visitor_cookie()}"
    ours = f"http://{HOST}"
    access = await authentication.authenticate(scope(origin=ours, cookies=login))
    assert access == Access(
        Actor(user_id=user.pk),
        "login",
        login=client.cookies["sessionid"].value,
        login_hash=user.get_session_auth_hash(),
    )
    with pytest.raises(Unauthenticated):
        await authentication.authenticate(scope(cookies=login))
    await get_user_model().objects.aupdate(is_active=False)
    with pytest.raises(Unauthenticated):
        await authentication.authenticate(scope(origin=ours, cookies=login))


BAD_TOKENS = [
    "x",
    "a.b",
    "." * 10,
    f"{'0' * 32}.AAAA",
    "ü",
    "awt_",
    "awt_0",
    f"awt_{'0' * 12}_{'0' * 43}",
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("token", BAD_TOKENS)
async def test_a_bad_token_is_refused_and_not_passed_over(token):
    cookie = visitor_cookie()
    with pytest.raises(Unauthenticated) as caught:
        await authentication.authenticate(
            scope(origin=f"http://{HOST}", cookies=cookie, bearer=token)
        )
    assert token not in caught.value.message


@pytest.mark.django_db(transaction=True)
async def test_a_token_acts_for_its_user_or_for_itself(agent_settings):
    agent_settings(allow_anonymous=False)
    user = await get_user_model().objects.acreate_user("ann")
    hers, her_token = await sync_to_async(api_tokens.create)("hers", [CHAT, NOTIFY], user=user)
    access = await authentication.authenticate(scope(bearer=her_token))
    assert access == Access(
        Actor(user_id=user.pk), "token", frozenset([CHAT, NOTIFY]), token_id=hers.pk
    )
    assert not access.by_cookie
    own, own_token = await sync_to_async(api_tokens.create)("own", [NOTIFY])
    access = await authentication.authenticate(
        scope(subprotocols=["agent.v1", f"bearer.{own_token}"])
    )
    assert access.actor == Actor(token_id=own.pk)
    authentication.require(access, NOTIFY)
    with pytest.raises(Forbidden):
        authentication.require(access, CHAT)


# plain HTTP


def request(*, origin=None, secure=False, cookies="", bearer=""):
    headers = {"origin": origin} if origin is not None else {}
    headers |= {"cookie": cookies} if cookies else {}
    headers |= {"authorization": f"Bearer {bearer}"} if bearer else {}
    made = RequestFactory(headers=headers).get("/", secure=secure)
    made.META |= {"HTTP_HOST": HOST}
    return made


@pytest.mark.django_db
def test_a_request_is_of_its_token_before_its_cookies():
    row, token = api_tokens.create("ci", [NOTIFY])
    access = authentication.authenticate_request(request(cookies=visitor_cookie(), bearer=token))
    assert (access.actor, access.credential) == (Actor(token_id=row.pk), "token")
    for bad in ("x", token[:-1], ""):
        with pytest.raises(Unauthenticated):
            authentication.authenticate_request(
                request(cookies=visitor_cookie(), bearer=bad or " ")
            )


@pytest.mark.django_db
def test_cookies_of_a_request_count_unless_another_site_asks():
    ours, mine = f"http://{HOST}", Access(Actor(visitor="v1"), "visitor")
    cookie = visitor_cookie()
    assert authentication.authenticate_request(request(cookies=cookie)) == mine
    assert authentication.authenticate_request(request(cookies=cookie, origin=ours)) == mine
    secure = request(cookies=cookie, origin=f"https://{HOST}", secure=True)
    assert authentication.authenticate_request(secure) == mine
    for foreign in ("https://evil.test", "null", f"https://{HOST}"):
        assert (
            authentication.authenticate_request(request(cookies=cookie, origin=foreign)) == Access()
        )


@pytest.mark.django_db
def test_a_request_of_somebody_signed_in_is_told_from_a_visitors(agent_settings):
    agent_settings(allow_anonymous=False)
    with pytest.raises(Unauthenticated):
        authentication.authenticate_request(request(cookies=visitor_cookie()))
    user = get_user_model().objects.create_user("ann")
    client = Client()
    client.force_login(user)
    login = f"sessionid={client.cookies['sessionid'].value}"
    access = authentication.authenticate_request(request(cookies=login))
    assert (access.actor, access.credential) == (Actor(user_id=user.pk), "login")


# visitors


@pytest.mark.django_db(transaction=True)
async def test_nobody_is_refused_where_nobody_may_come(agent_settings):
    agent_settings(allow_anonymous=False)
    for caller in (scope(), scope(origin=f"http://{HOST}", cookies=visitor_cookie())):
        with pytest.raises(Unauthenticated):
            await authentication.authenticate(caller)


@pytest.mark.django_db
def test_a_login_of_a_former_key_stays_until_a_page_renews_it(settings):
    user = get_user_model().objects.create_user("ann")
    client = Client()
    client.force_login(user)
    login = f"sessionid={client.cookies['sessionid'].value}"
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key of the same length, more or less, for tests"
    for _ in range(2):  # a look that renewed it would have ended it
        access = authentication.authenticate_request(request(cookies=login))
        assert access.actor == Actor(user_id=user.pk)
    assert client.get("/").wsgi_request.user == user
    assert client.cookies["sessionid"].value not in login
    assert client.get("/").wsgi_request.user == user


def caller_of_page(client):
    page = client.get("/").content.decode()
    return re.search('data-caller="([0-9a-f]{24})"( data-caller-is-new)?', page).groups()


@pytest.mark.django_db
def test_the_page_names_who_calls_by_the_cookie_that_it_gives():
    client = Client()
    fresh, is_new = caller_of_page(client)
    visitor = Signer(salt="agent.visitor").unsign(
        client.cookies[authentication.VISITOR_COOKIE].value
    )
    assert fresh == authentication.caller_name(Actor(visitor=visitor))
    assert is_new
    assert caller_of_page(client) == (fresh, None)
    user = get_user_model().objects.create_user("somebody")
    client.force_login(user)
    assert caller_of_page(client) == (authentication.caller_name(Actor(user_id=user.pk)), None)
    client.logout()
    assert caller_of_page(client)[0] != authentication.caller_name(Actor(user_id=user.pk))
