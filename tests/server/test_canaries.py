"""Marked words go through a real server, and are looked for wherever they have no business.

Each canary is a word that occurs nowhere else: in what is asked and answered, in credentials, in
what the provider says when it fails. Logs are at INFO, the level at which the server runs.
"""

import json
import secrets

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.people import Person, make, run, signed_in, visiting, write
from tests.support.urls import addresses


class Canaries(dict[str, str]):
    """Words by what they mark, made when first asked for."""

    def __missing__(self, what):
        self[what] = f"canary{secrets.token_hex(12)}"
        return self[what]

    def within(self, text):
        return {what for what, word in self.items() if word in text}


def command(name, **args):
    return {"type": "command", "content": name, "args": args, "id": secrets.token_hex(4)}


async def converse(client, canaries):
    """Everything that somebody can write, and every way in which a provider fails."""
    ok = await client.end(await client.ask(f"say: {canaries['prompt and answer']}", id="first"))
    assert ok["type"] == "response"
    for script in (
        "mode=status status=403 body=echo",
        "mode=status status=401 body=echo",
        "mode=status status=500 body=echo retry_after=3600",
        "mode=error_event after=2 body=echo",
        "mode=junk after=1",
        "mode=cut after=2",
        "mode=rst after=2",
    ):
        end = await client.end(await client.ask(f"{script} {canaries['prompt that fails']}"))
        assert end["type"] == "error"
    rating = {"type": "human_feedback", "rating": "down"}
    await client.send({**rating, "content": canaries["comment"], "id": "f1"})
    await client.expect("feedback")
    await client.command("rename", title=canaries["title"])
    for bad in (
        f'{{"type": "query", "content": "{canaries["bad json"]}"',
        json.dumps({"type": canaries["type"], "content": canaries["content of no type"]}),
        json.dumps({"type": "query", "content": "x", "priority": canaries["bad field"]}),
        json.dumps({"type": "query", "content": canaries["too long"] * 2000}),
        json.dumps({**command("cancel", turn=canaries["unknown turn"])}),
        json.dumps({"type": "query", "content": canaries["other content"], "id": "first"}),
    ):
        await client.send_raw(bad)
        await client.expect("error")


async def break_inside(server, client, canaries):
    """A defect of the server: a table is gone."""
    write(server, "ALTER TABLE agent_feedback RENAME TO gone")
    words = {"content": canaries["comment that breaks"], "id": "f2"}
    await client.send({"type": "human_feedback", "rating": "up", **words})
    error = await client.until(lambda frame: frame.get("ref") == "f2")
    assert error["code"] == "internal_error"
    write(server, "ALTER TABLE gone RENAME TO agent_feedback")
    return error


async def try_to_get_in(server, canaries):
    """Bad credentials, in every place for them."""
    bad = canaries["bad token"]
    for options in (
        {"headers": {"Authorization": f"Bearer {bad}"}},
        {"headers": {"Authorization": f"Bearer awt_{'0' * 12}_{bad}{'x' * 13}"}},
        {"subprotocols": ["agent.v1", f"bearer.{bad}"]},
    ):
        async with server.connect(**options) as client:
            assert (await client.closed())[0] == 4401
    async with server.connect(query={"token": canaries["token in the address"]}) as client:
        await client.ready()
    for path in ("/", "/nowhere", "/admin/"):
        server.request("GET", f"{path}?token={canaries['token in the address']}")
    with pytest.raises(InvalidStatus):
        async with server.connect(origin=f"https://{canaries['origin']}.test"):
            pass
    for path in ("/login/", "/admin/login/"):
        assert Person(server).sign_in("ann", canaries["wrong password"], path).status_code == 200


@pytest.mark.timeout(300)
@pytest.mark.parametrize("log_format", ["console", "json"])
async def test_marked_words_are_nowhere_but_where_they_belong(start_server, provider, log_format):
    canaries = Canaries()
    server = start_server(
        OPENROUTER_API_KEY=canaries["key"],
        SECRET_KEY=canaries["secret key"] * 2,
        SYSTEM_PROMPT=canaries["system prompt"],
        LOG_LEVEL="INFO",
        LOG_FORMAT=log_format,
    )
    bearers = make(
        server, people={"ann": {}, "new": {"is_staff": True}}, programs={"ann's": {"user": "ann"}}
    )
    set_password = "u = User.objects.get(username='ann'); u.set_password({!r}); u.save()"
    importing = "from django.contrib.auth.models import User; "
    run(server, importing + set_password.format(canaries["password"]))
    ann = Person(server)
    assert ann.sign_in("ann", canaries["password"]).status_code == 302
    canaries["login"] = ann.http.cookies["sessionid"]
    canaries["token"] = bearers["ann's"]["Authorization"].removeprefix("Bearer ")
    canaries["key to the model"] = f"Bearer {canaries['key']}"

    strangers = [signed_in(server, "new"), visiting(server)]
    async with (
        server.connect(headers=strangers[0].cookies, origin=server.url) as staff,
        server.connect(headers=strangers[1].cookies, origin=server.url) as visitor,
        server.connect() as nobody,
    ):
        for headers in (ann.cookies, bearers["ann's"]):
            origin = server.url if "Cookie" in headers else None
            async with server.connect(headers=headers, origin=origin) as client:
                await converse(client, canaries)
                error = await break_inside(server, client, canaries)
                mine = json.dumps(client.frames)
        await try_to_get_in(server, canaries)
        foreign = []
        for other in (staff, visitor, nobody):
            await other.end(await other.ask("say: mine"))
            foreign += other.frames
    named = sorted({*addresses(client.transcript.session)} - {*addresses()})
    pages = [
        person.http.get(address, follow_redirects=True).text
        for person in strangers
        for address in ["/", "/login/", "/admin/", "/healthz", "/readyz", *named]
    ]
    asked = json.dumps(provider.requests())
    server.stop()

    assert canaries.within(asked) >= {"key", "prompt and answer", "system prompt"}
    assert canaries.within(mine) >= {"prompt and answer", "prompt that fails", "comment"}
    assert not canaries.within(mine) & {
        "key",
        "secret key",
        "system prompt",
        "password",
        "token",
        "login",
        "key to the model",
    }
    assert "Flagged" not in mine and "Provider returned" not in mine
    assert canaries.within(json.dumps(foreign)) == set()
    assert canaries.within("".join(pages)) == set()
    assert error["content"].split("incident ")[1].rstrip(")") in server.log
    assert "turn failed" in server.log
    assert canaries.within(server.log) == set()
