"""People for tests: accounts in a server's database, and somebody signed in at its pages."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import httpx

from tests.support.servers import Server

PASSWORD = "of-tests-only"

_MAKE = """\
import json
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission, User
from agent.access import api_tokens
people, programs = json.loads({wanted!r})
password, made = make_password({password!r}), {{}}
for name, facts in people.items():
    permissions = facts.pop("permissions", [])
    user = User.objects.create(username=name, password=password, **facts)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
for name, facts in programs.items():
    user = User.objects.get(username=facts["user"]) if facts.get("user") else None
    made[name] = api_tokens.create(name, facts.get("scopes", ["chat"]), user=user)[1]
print(json.dumps(made))
"""


def make(
    server: Server,
    people: Mapping[str, Mapping[str, Any]] | None = None,
    programs: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, str]]:
    """Accounts and API tokens with these names; returns for each token the header that bears it.

    Args:
        server: in whose database.
        people: to each name facts of the account: `is_staff`, `permissions` ...
        programs: to each name `scopes` (default: chat) and the name of the `user` it acts for.
    """
    wanted = json.dumps([people or {}, programs or {}])
    printed = run(server, _MAKE.format(password=PASSWORD, wanted=wanted))
    tokens: dict[str, str] = json.loads(printed.splitlines()[-1])
    return {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}


def run(server: Server, script: str) -> str:
    """Run Python with Django on a server's database, in a process of its own."""
    return server.manage("shell", "--verbosity", "0", "-c", script)


def write(server: Server, sql: str, *parameters: object) -> None:
    """Change rows of a server's database behind its back."""
    with closing(sqlite3.connect(server.database, timeout=20)) as connection, connection:
        connection.execute(sql, parameters)


class Person:
    """Somebody with a browser, without the browser: pages, forms and cookies."""

    def __init__(self, server: Server) -> None:
        self.http = httpx.Client(
            base_url=server.url,
            headers={"Referer": server.url},
            timeout=30,
            limits=httpx.Limits(max_keepalive_connections=0),  # nothing is left to close
        )

    def sign_in(self, name: str, password: str = PASSWORD, path: str = "/login/") -> httpx.Response:
        self.http.get(path)
        return self.send(path, username=name, password=password)

    def send(self, path: str, **fields: str) -> httpx.Response:
        """Send a form, with the token against forgery that a page of the site would have."""
        token = self.http.cookies.get("csrftoken", "")
        return self.http.post(path, data={**fields, "csrfmiddlewaretoken": token})

    @property
    def cookies(self) -> dict[str, str]:
        """The header with which a WebSocket of this browser is opened."""
        pairs = [f"{cookie.name}={cookie.value}" for cookie in self.http.cookies.jar]
        return {"Cookie": "; ".join(pairs)}


def signed_in(server: Server, name: str) -> Person:
    """Somebody who has signed in at the site's own page."""
    person = Person(server)
    response = person.sign_in(name)
    assert response.status_code == 302, response.text
    return person


def visiting(server: Server) -> Person:
    """A visitor: somebody who has seen the chat page."""
    person = Person(server)
    assert person.http.get("/").status_code == 200
    return person
