"""API tokens: shown once, found by their prefix, and of no use when revoked, expired or foreign."""

import re
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from agent.access import api_tokens
from agent.models import ApiToken

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = StringIO()
    call_command("agent_token", *arguments, stdout=out)
    return out.getvalue()


def test_a_token_is_found_and_not_kept():
    row, token = api_tokens.create("ci", ["chat"])
    assert re.fullmatch(r"[A-Za-z0-9._-]+", token)
    assert api_tokens.find(token) == row
    kept = " ".join(str(value) for value in ApiToken.objects.values().get().values())
    assert token.rpartition(row.prefix)[2] not in kept


def test_tokens_have_nothing_in_common():
    made = [api_tokens.create(str(number), ["chat"])[1] for number in range(20)]
    assert len({token[4:16] for token in made}) == len({token[17:] for token in made}) == 20


def test_a_wrong_token_is_not_found():
    _, token = api_tokens.create("ci", ["chat"])
    _, other = api_tokens.create("other", ["chat"])
    last = "A" if token[-1] != "A" else "B"
    mixed = token[:17] + other[17:]
    for wrong in (token[:-1], token + "A", token[:-1] + last, mixed, token.upper(), "", "\0", "ü"):
        assert api_tokens.find(wrong) is None, wrong


def test_a_token_ends_by_its_revocation_its_expiry_or_its_user():
    user = get_user_model().objects.create_user("ann")
    later = timezone.now() + timedelta(days=1)
    row, token = api_tokens.create("ci", ["chat"], user=user, expires_at=later)
    mine = ApiToken.objects.filter(pk=row.pk)
    past = timezone.now() - timedelta(seconds=1)
    for end in ({"expires_at": past}, {"revoked_at": past}):
        mine.update(**end)
        assert api_tokens.find(token) is None
        mine.update(expires_at=later, revoked_at=None)
        assert api_tokens.find(token) == row
    get_user_model().objects.update(is_active=False)
    assert api_tokens.find(token) is None
    user.delete()
    assert not mine.exists()


def test_its_last_use_is_noted_to_the_minute():
    row, token = api_tokens.create("ci", ["chat"])
    api_tokens.find(token)
    row.refresh_from_db()
    first = row.last_used_at
    assert first is not None
    api_tokens.find(token)
    row.refresh_from_db()
    assert row.last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    api_tokens.find(token)
    row.refresh_from_db()
    assert row.last_used_at >= first


def test_a_name_is_free_again_when_its_token_was_revoked():
    api_tokens.create("ci", ["chat"])
    with pytest.raises(IntegrityError), transaction.atomic():
        api_tokens.create("ci", ["chat"])
    assert api_tokens.revoke("ci") == 1
    assert api_tokens.revoke("ci") == 0
    api_tokens.create("ci", ["chat"])


# the command


def test_the_command_prints_the_token_alone_on_its_last_line():
    get_user_model().objects.create_user("ann")
    printed = run(
        "create",
        "--name",
        "ci",
        "--scope",
        "notify",
        "--scope",
        "chat",
        "--expires",
        "2",
        "--user",
        "ann",
    )
    row = api_tokens.find(printed.splitlines()[-1])
    assert row is not None
    assert (row.name, row.scopes, row.user.get_username()) == ("ci", ["chat", "notify"], "ann")
    assert timedelta(days=1.9) < row.expires_at - timezone.now() < timedelta(days=2)


def test_the_command_lists_tokens_without_the_tokens():
    token = run("create", "--name", "ci", "--scope", "chat").splitlines()[-1]
    api_tokens.find(token)
    run("revoke", "ci")
    listed = run("list")
    assert "ci, awt_" in listed and "chat" in listed and "for itself" in listed
    assert "revoked 20" in listed and "last used 20" in listed
    assert token not in listed and token[17:] not in listed
    assert api_tokens.find(token) is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("create", "--name", "ci"), "--scope"),
        (("create", "--name", "ci", "--scope", "admin"), "invalid choice"),
        (("create", "--name", "ci", "--scope", "chat", "--expires", "0"), "above 0"),
        (("create", "--name", "ci", "--scope", "chat", "--user", "bob"), "no user bob"),
        (("create", "--name", "taken", "--scope", "chat"), "taken already"),
        (("revoke", "ci"), "no token ci"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, problem):
    api_tokens.create("taken", ["chat"])
    with pytest.raises(CommandError, match=problem):
        run(*arguments)
    assert ApiToken.objects.count() == 1
