"""API tokens and users in the admin: a token is seen once, and who may do what."""

import re
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import Client

from agent.access import api_tokens
from agent.actions.handles import SessionHandle
from agent.actor import Actor
from agent.live.publish import Live
from agent.models import ApiToken, Message, Session, Turn
from tests.database.test_sessions import ask, exchange

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/agent/apitoken/"


def person(name, **facts):
    permissions = facts.pop("may", ())
    user = get_user_model().objects.create_user(name, **{"is_staff": True, **facts})
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    client.user = user
    return client


@pytest.fixture
def boss():
    return person("boss", is_superuser=True)


def make(client, **fields):
    return client.post(f"{LIST}add/", {"name": "ci", "scopes": ["chat"], **fields})


def revoke(client, *rows):
    chosen = {"action": "revoke", "_selected_action": [row.pk for row in rows]}
    return client.post(LIST, chosen, follow=True)


def test_a_token_is_shown_once_and_never_again(boss):
    answer = make(boss, scopes=["notify", "chat"])
    (token,) = re.findall(r"awt_[\w-]{30,}", answer.content.decode())
    assert "no-store" in answer["Cache-Control"]
    row = api_tokens.find(token)
    assert set(row.scopes) == {"chat", "notify"}
    for path in (LIST, f"{LIST}{row.pk}/change/", f"{LIST}{row.pk}/history/", "/admin/"):
        page = boss.get(path).content.decode()
        assert token not in page and token[17:] not in page and row.digest not in page, path
    assert f"awt_{row.prefix}" in boss.get(LIST).content.decode()
    assert token[17:] not in "".join(cookie.value for cookie in boss.cookies.values())
    logged = LogEntry.objects.get()
    assert token[17:] not in f"{logged.object_repr} {logged.change_message}"


def test_what_is_wrong_with_a_new_token_is_said(boss):
    make(boss)
    for fields in ({"name": ""}, {"name": "ci"}, {"name": "b", "scopes": []}, {"scopes": ["root"]}):
        answer = make(boss, **fields)
        assert answer.status_code == 200
        assert "errorlist" in answer.content.decode()
    assert ApiToken.objects.count() == 1


def test_a_revoked_token_stays_in_the_list_and_its_name_is_free(boss):
    make(boss)
    row = ApiToken.objects.get()
    assert "Revoked: 1" in revoke(boss, row).content.decode()
    assert "Revoked: 0" in revoke(boss, row).content.decode()
    row.refresh_from_db()
    assert row.revoked_at is not None
    assert "revoked" in boss.get(LIST).content.decode()
    make(boss)
    assert ApiToken.objects.count() == 2


def test_no_token_is_changed_or_deleted(boss):
    make(boss)
    row = ApiToken.objects.get()
    assert boss.post(f"{LIST}{row.pk}/change/", {"name": "other"}).status_code == 403
    assert boss.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert b"delete_selected" not in boss.get(LIST).content
    assert ApiToken.objects.get().name == "ci"


def test_each_step_needs_its_permission(boss):
    make(boss)
    row = ApiToken.objects.get()
    nothing, view = person("nothing"), person("view", may=["view_apitoken"])
    for client in (nothing, view):
        assert make(client, name="x").status_code == 403
    assert nothing.get(LIST).status_code == 403
    assert view.get(LIST).status_code == 200
    assert b"Revoke selected" not in view.get(LIST).content
    revoke(view, row)
    row.refresh_from_db()
    assert row.revoked_at is None
    revoke(person("change", may=["view_apitoken", "change_apitoken"]), row)
    row.refresh_from_db()
    assert row.revoked_at is not None


def test_who_may_not_do_everything_makes_no_token_that_acts_for_somebody_else(boss):
    maker = person("maker", may=["add_apitoken", "view_apitoken", "view_user"])
    assert b"errorlist" in make(maker, user=boss.user.pk).content
    assert not ApiToken.objects.exists()
    assert b"awt_" in make(maker, user=maker.user.pk).content
    assert b"awt_" in make(maker, name="own").content
    assert b"awt_" in make(boss, name="for maker", user=maker.user.pk).content


# users


def has_talked(user):
    handle = SessionHandle(Live(), uuid4(), Actor(user_id=user.pk), stored=False)
    exchange(handle, "private words")
    ask(handle, "more of them")
    api_tokens.create(f"of {user}", ["chat"], user=user)


def test_a_user_is_deleted_with_all_that_is_theirs_and_nothing_of_it_is_shown(boss):
    ann, bob = person("ann").user, person("bob").user
    has_talked(ann)
    has_talked(bob)
    address = f"/admin/auth/user/{ann.pk}/delete/"
    question = boss.get(address).content.decode()
    assert "Sessions: 1" in question and "API tokens: 1" in question
    assert "private" not in question
    assert boss.post(address, {"post": "yes"}).status_code == 302
    assert not get_user_model().objects.filter(pk=ann.pk).exists()
    for model in (Session, ApiToken):
        assert model.objects.count() == 1
    assert {row.owner_id for row in Session.objects.all()} == {bob.pk}
    kept = Session.objects.get().pk
    assert set(Message.objects.values_list("session_id", flat=True)) == {kept}
    assert set(Turn.objects.values_list("session_id", flat=True)) == {kept}


def test_deleting_a_user_with_sessions_needs_the_permission_to_delete_those():
    ann, bob = person("ann").user, person("bob").user
    has_talked(ann)
    keeper = person("keeper", may=["view_user", "delete_user"])
    keeper.post(f"/admin/auth/user/{ann.pk}/delete/", {"post": "yes"})
    assert get_user_model().objects.filter(pk=ann.pk).exists()
    keeper.post(f"/admin/auth/user/{bob.pk}/delete/", {"post": "yes"})
    assert not get_user_model().objects.filter(pk=bob.pk).exists()


# rights

RIGHTS = ["view_user", "add_user", "change_user", "delete_user"]


def change(client, user, **fields):
    """Save the form of an account as a browser would, with other values for these fields."""
    facts = {"username": user.username, "is_active": "on", "date_joined_0": "2026-01-01"}
    facts |= {"date_joined_1": "00:00:00", **fields}
    return client.post(f"/admin/auth/user/{user.pk}/change/", facts)


def set_password(client, user):
    passwords = {"password1": "Zk3canaryQ9", "password2": "Zk3canaryQ9", "usable_password": "true"}
    return client.post(f"/admin/auth/user/{user.pk}/password/", passwords)


def rights(user):
    fresh = get_user_model().objects.get(pk=user.pk)
    of_them = {*fresh.user_permissions.values_list("codename", flat=True)}
    return fresh.is_staff, fresh.is_superuser, of_them, fresh.groups.count()


def everything():
    group, _ = Group.objects.get_or_create(name="all")
    group.permissions.set(Permission.objects.all())
    every = [permission.pk for permission in Permission.objects.all()]
    return {
        "is_superuser": "on",
        "is_staff": "on",
        "user_permissions": every,
        "groups": [group.pk],
    }


@pytest.mark.parametrize("facts", [{"may": RIGHTS}, {"may": [*RIGHTS, "change_group"]}])
def test_nobody_but_a_superuser_gives_rights(facts):
    keeper, bob = person("keeper", **facts), person("bob", is_staff=False).user
    for user in (keeper.user, bob):
        before = rights(user)
        assert change(keeper, user, first_name="New", **everything()).status_code == 302
        assert rights(user) == before
        user.refresh_from_db()
        assert user.first_name == "New"
    assert set_password(keeper, bob).status_code == 302
    bob.refresh_from_db()
    assert bob.check_password("Zk3canaryQ9")
    form = {"username": "new", "password1": "Zk3canaryQ9", "password2": "Zk3canaryQ9"}
    keeper.post("/admin/auth/user/add/", {**form, "usable_password": "true", **everything()})
    assert rights(get_user_model().objects.get(username="new")) == (False, False, set(), 0)


def test_a_superuser_gives_rights(boss):
    bob = person("bob", is_staff=False).user
    assert change(boss, bob, **everything()).status_code == 302
    assert rights(bob)[:2] == (True, True) and rights(bob)[3] == 1
    assert set_password(boss, bob).status_code == 302


ABOVE = [
    {"is_superuser": True},
    {"is_superuser": True, "is_staff": False},
    {"is_superuser": True, "is_active": False},
    {"may": ["view_session"]},
    {"may": ["view_session"], "is_active": False},
    {"may": ["view_session"], "is_staff": False},
    {"group": True},
]


@pytest.mark.parametrize("facts", ABOVE)
def test_nobody_takes_over_who_has_more_rights(facts):
    in_group = facts.get("group")
    keeper = person("keeper", may=RIGHTS)
    user = get_user_model().objects.create_user("above", password="before")
    get_user_model().objects.filter(pk=user.pk).update(
        **{name: value for name, value in facts.items() if name.startswith("is_")}
    )
    user.user_permissions.set(Permission.objects.filter(codename__in=facts.get("may", ())))
    if in_group:
        group = Group.objects.create(name="readers")
        group.permissions.set(Permission.objects.filter(codename="view_session"))
        user.groups.add(group)
    assert change(keeper, user, username="other").status_code == 403
    assert set_password(keeper, user).status_code == 403
    assert keeper.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [user.pk], "post": "yes"}
    keeper.post("/admin/auth/user/", chosen)
    assert keeper.get(f"/admin/auth/user/{user.pk}/change/").status_code == 200  # to read
    user.refresh_from_db()
    assert user.username == "above" and user.check_password("before")


def test_groups_are_changed_by_superusers_alone(boss):
    group = Group.objects.create(name="readers")
    may = ["view_group", "add_group", "change_group", "delete_group"]
    keeper = person("keeper", may=may)
    keeper.user.groups.add(group)
    every = [permission.pk for permission in Permission.objects.all()]
    address = f"/admin/auth/group/{group.pk}/change/"
    for path in (address, "/admin/auth/group/add/"):
        answer = keeper.post(path, {"name": "readers2", "permissions": every})
        assert answer.status_code == 403
    assert group.permissions.count() == 0 and Group.objects.count() == 1
    assert keeper.get(address).status_code == 200
    assert boss.post(address, {"name": "readers", "permissions": every}).status_code == 302
    assert group.permissions.count() == len(every)
