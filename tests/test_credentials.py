"""Which credentials still count, asked of the rows, for many at once."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session as Login
from django.test import Client
from django.utils import timezone

from agent.access import api_tokens, revocation
from agent.access.authentication import authenticate_request
from agent.actor import Access, Actor
from agent.errors import Unauthenticated
from agent.models import ApiToken

pytestmark = [pytest.mark.django_db, pytest.mark.database]
PAST = timezone.now() - timedelta(days=1)


def user(name):
    return get_user_model().objects.create_user(name, password="first")


def login(client):
    return authenticate_request(client.get("/").wsgi_request)


def signed_in(someone):
    client = Client()
    client.force_login(someone)
    client.access = login(client)
    return client


def token(name, someone=None):
    row, _ = api_tokens.create(name, ["chat"], user=someone)
    actor = Actor(user_id=someone.pk) if someone else Actor(token_id=row.pk)
    return Access(actor, "token", token_id=row.pk)


def set_password(someone):
    someone.set_password("second")
    someone.save()


@pytest.mark.parametrize(
    "end",
    [
        lambda client, _: client.logout(),
        lambda _, someone: set_password(someone),
        lambda _, someone: get_user_model().objects.filter(pk=someone.pk).update(is_active=False),
        lambda _, someone: someone.delete(),
        lambda client, _: Login.objects.filter(pk=client.access.login).update(expire_date=PAST),
    ],
    ids=["signed out", "password changed", "deactivated", "deleted", "expired"],
)
def test_a_login_ends_alone(end):
    ann, bob = user("ann"), user("bob")
    hers, his = signed_in(ann), signed_in(bob)
    both = [hers.access, his.access]
    assert revocation.ended(both) == set()
    end(hers, ann)
    assert revocation.ended(both) == {both[0]}
    revocation.check(his.access)
    with pytest.raises(Unauthenticated):
        revocation.check(both[0])


def test_another_browser_of_the_same_user_stays_signed_in():
    ann = user("ann")
    here, there = signed_in(ann), signed_in(ann)
    gone = here.access
    here.logout()
    assert revocation.ended([gone, there.access]) == {gone}


def test_a_token_ends_alone():
    ann = user("ann")
    stays, revoked, expired, hers = token("a"), token("b"), token("c"), token("d", ann)
    api_tokens.revoke("b")
    ApiToken.objects.filter(name="c").update(expires_at=PAST)
    get_user_model().objects.update(is_active=False)
    assert revocation.ended([stays, revoked, expired, hers]) == {revoked, expired, hers}


def test_what_has_no_row_cannot_end(django_assert_num_queries):
    with django_assert_num_queries(0):
        nameless = [Access(), Access(Actor(visitor="v"), "visitor")]
        assert revocation.ended(nameless) == set()
        assert not any(access.may_end for access in nameless)


def test_many_are_asked_for_at_once(django_assert_num_queries):
    many = [token(f"of {number}") for number in range(40)]
    many += [signed_in(user(f"user {number}")).access for number in range(20)]
    with django_assert_num_queries(3):
        assert revocation.ended(many) == set()
