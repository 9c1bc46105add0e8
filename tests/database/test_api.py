"""The HTTP API: who gets what, pages that stand still, errors of one form."""

import asyncio
import json
import re
from base64 import urlsafe_b64encode
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, transaction
from django.middleware.csrf import _get_new_csrf_string
from django.test import AsyncClient, Client
from django.utils import timezone

from agent.access import api_tokens, authentication
from agent.actions import handles, queries, sessions
from agent.actions.handles import SessionHandle
from agent.actor import Actor
from agent.errors import ProviderTimeout
from agent.live.publish import Live
from agent.models import Message, Session, Turn
from agent.protocol.client_frames import HumanFeedback, Query
from agent.protocol.server_frames import Closed
from agent.provider.decoder import Source
from agent.store import db, turn_queue
from agent.store.sequence import lock_and_number
from agent.store.turn_queue import Lease, Outcome
from agent.worker import runtime

pytestmark = pytest.mark.django_db(transaction=True)

SESSIONS = "/api/sessions/"
NOTIFICATIONS = "/api/notifications/"


def user(name="ann"):
    return get_user_model().objects.get_or_create(username=name)[0]


def token(*scopes, of=None):
    _, made = api_tokens.create(uuid4().hex, scopes or ("chat", "notify"), user=of)
    return made


def bearer(made):
    return {"authorization": f"Bearer {made}"}


def exchange(handle, content="hi", outcome=None):
    with transaction.atomic():
        query = Query(type="query", content=content)
        done = queries._accept(handle, query, 20, Lease("here", 15))
        handle._stored = True
    with transaction.atomic():
        turn_queue.finish(done.claimed, outcome or Outcome("done", "stop"))
    return done


def stored(actor, content="hi", **fields):
    handle = SessionHandle(Live(), uuid4(), actor, stored=False)
    exchange(handle, content)
    Session.objects.filter(id=handle.id).update(**fields)
    return handle


def ann(**fields):
    return stored(Actor(user_id=user().pk), **fields)


def get(path=SESSIONS, of=None, **parameters):
    return Client().get(path, parameters, headers=bearer(token(of=of or user())))


def ids(response):
    return [row["id"] for row in response.json()["sessions"]]


def post(path, body, made, **headers):
    body = body if isinstance(body, str | bytes) else json.dumps(body)
    kind = headers.pop("content_type", "application/json")
    return Client().post(path, body, content_type=kind, headers={**bearer(made), **headers})


def error_of(response):
    body = response.json()
    assert set(body) == {"error"} and set(body["error"]) == {"code", "message"}, body
    assert response["Content-Type"] == "application/json"
    return response.status_code, body["error"]["code"]


class Connection:
    """A connection of a session, as its topic sees it."""

    def __init__(self, handle):
        self.handle, self.is_gone = handle, False
        self.topic = runtime.current().live.hub.topic(handle.id)
        self.topic.subscribers.add(self)

    def wake(self):
        pass

    def owner_without_row(self):
        return None if self.handle.stored else self.handle.actor

    def session_deleted(self):
        self.is_gone = True


# whose sessions


def test_every_caller_lists_its_own_sessions():
    visitor = authentication._signer("visitor").sign("v")
    hers, visited = ann(), stored(Actor(visitor="v"))
    row, own_token = api_tokens.create("robot", ["chat"])
    robots = stored(Actor(token_id=row.pk))
    nobody = SessionHandle(Live(), uuid4(), Actor(), stored=False)
    nobody.actor = Actor(session_id=nobody.id)
    exchange(nobody)
    by_login, by_cookie = Client(), Client()
    by_login.force_login(user())
    by_cookie.cookies[authentication.VISITOR_COOKIE] = visitor
    assert ids(get()) == ids(by_login.get(SESSIONS)) == [str(hers.id)]
    assert ids(by_cookie.get(SESSIONS)) == [str(visited.id)]
    assert ids(Client().get(SESSIONS, headers=bearer(own_token))) == [str(robots.id)]
    resume = authentication.resume_token(nobody.id)
    assert ids(Client().get(SESSIONS, headers=bearer(resume))) == [str(nobody.id)]
    assert error_of(Client().get(SESSIONS)) == (401, "unauthenticated")


@pytest.mark.parametrize("operation", ["get", "export", "rename", "delete"])
def test_a_foreign_session_and_an_unknown_one_are_not_found_alike(operation):
    foreign = stored(Actor(user_id=user("bob").pk))
    headers = bearer(token(of=user()))
    answers = set()
    for target in (foreign.id, uuid4(), "nonsense", "..", "%00"):
        path = f"{SESSIONS}{target}/"
        match operation:
            case "get":
                response = Client().get(path, headers=headers)
            case "export":
                response = Client().get(f"{SESSIONS}{target}/export", headers=headers)
            case "rename":
                response = Client().patch(path, {"title": "x"}, "application/json", headers=headers)
            case "delete":
                response = Client().delete(path, headers=headers)
        assert error_of(response) == (404, "not_found")
        answers.add(response.content)
    assert len(answers) == 1
    assert Session.objects.get().title == ""


def test_a_token_without_the_scope_is_forbidden():
    handle = ann()
    assert error_of(Client().get(SESSIONS, headers=bearer(token("notify")))) == (403, "forbidden")
    body = {"session": str(handle.id), "content": "x"}
    assert error_of(post(NOTIFICATIONS, body, token("chat"))) == (403, "forbidden")
    resume = authentication.resume_token(handle.id)
    assert error_of(post(NOTIFICATIONS, body, resume)) == (403, "forbidden")
    assert not Message.objects.filter(type="notification").exists()


def test_a_browser_needs_the_csrf_token_to_change_something_and_a_program_does_not():
    handle = ann()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user())
    path = f"{SESSIONS}{handle.id}/"
    rename = {"data": {"title": "mine"}, "content_type": "application/json"}
    assert browser.get(path).status_code == 200
    assert error_of(browser.patch(path, **rename)) == (403, "forbidden")
    assert error_of(browser.delete(path)) == (403, "forbidden")
    secret = browser.cookies["csrftoken"] = _get_new_csrf_string()
    foreign = {"X-CSRFToken": secret, "Origin": "https://evil.example"}
    assert browser.patch(path, **rename, headers=foreign).status_code in (401, 403)
    assert Session.objects.get().title == ""
    assert browser.patch(path, **rename, headers={"X-CSRFToken": secret}).status_code == 200
    program = Client(enforce_csrf_checks=True)
    assert program.delete(path, headers=bearer(token(of=user()))).status_code == 204


# lists


def test_the_newest_message_comes_first_and_a_session_is_described():
    old, new = ann(content="What is old?" * 20), ann(content="What is new?")
    Session.objects.filter(id=old.id).update(title="Old things")
    listed = get().json()
    assert listed["next"] is None
    assert [row["id"] for row in listed["sessions"]] == [str(new.id), str(old.id)]
    described = listed["sessions"][1]
    assert all(described.pop(name) for name in ("created_at", "changed_at", "last_activity_at"))
    assert described == {
        "id": str(old.id),
        "title": "Old things",
        "preview": ("What is old?" * 20)[:120],
        "state": "open",
        "last_seq": 2,
    }
    exchange(old)
    assert ids(get()) == [str(old.id), str(new.id)]


def test_pages_stay_where_they_are_whatever_is_added_meanwhile():
    made = [str(ann().id) for _ in range(7)][::-1]
    seen, cursor = [], None
    while True:
        page = get(limit=2, **({"cursor": cursor} if cursor else {}))
        seen += ids(page)
        ann()
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert seen == made


def test_sessions_of_the_same_moment_are_listed_once_each():
    moment = timezone.now()
    made = {str(ann(changed_at=moment).id) for _ in range(5)}
    seen, cursor = [], None
    while True:
        page = get(limit=2, **({"cursor": cursor} if cursor else {}))
        seen += ids(page)
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert len(seen) == 5 and set(seen) == made


def test_a_page_begins_after_a_session_that_got_a_message():
    for handle in [ann() for _ in range(3)]:
        with transaction.atomic():  # by the database's clock
            lock_and_number(handle.id, messages=1)
    first = get(limit=1)
    second = get(limit=2, cursor=first.json()["next"])
    assert not set(ids(first)) & set(ids(second))


def test_a_session_that_is_only_opened_keeps_its_place():
    made = [ann() for _ in range(3)]
    first = get(limit=1)
    with transaction.atomic():
        assert handles._mark_active(made[0].actor, made[0].id)
    second = get(limit=2, cursor=first.json()["next"])
    assert ids(first) + ids(second) == [str(handle.id) for handle in reversed(made)]


@pytest.mark.parametrize("cursor", ["x", "%00", "MjAyNg", "bm9wZSAx", "w6Q", "A" * 200])
def test_a_cursor_of_somebody_else_is_refused(cursor):
    assert error_of(get(cursor=cursor)) == (422, "invalid_message")


def test_a_cursor_beyond_all_time_zones_is_refused():
    cursor = urlsafe_b64encode(f"0001-01-01T00:00:00+14:00 {uuid4().hex}".encode()).decode()
    assert error_of(get(cursor=cursor)) == (422, "invalid_message")


def test_a_search_finds_titles_and_texts_of_ones_own():
    by_title, by_question = ann(title="Holiday plans"), ann(content="Where is 100% Utopia?")
    by_answer = ann()
    exchange(by_answer, "?", Outcome("It is in Utopia.", "stop"))
    stored(Actor(user_id=user("bob").pk), content="utopia holiday")
    assert ids(get(q="holiday")) == [str(by_title.id)]
    assert set(ids(get(q="utopia"))) == {str(by_question.id), str(by_answer.id)}
    assert ids(get(q="100% u")) == [str(by_question.id)]
    assert ids(get(q="_")) == []
    assert error_of(get(q="a\0b")) == (422, "invalid_message")


def test_a_search_does_not_find_what_has_expired_or_what_only_the_server_said():
    handle = ann()
    body = {"session": str(handle.id), "content": "The canary sings.", "ttl": 60}
    assert post(NOTIFICATIONS, body, token()).status_code == 202
    with transaction.atomic():
        turn_queue.close(queries.Change(handle.id), Closed.requested())
    assert ids(get(q="canary")) == [str(handle.id)]
    assert ids(get(q="closed")) == []
    Message.objects.exclude(expires_at=None).update(expires_at=timezone.now())
    assert ids(get(q="canary")) == []


# one session


def test_the_frames_of_a_session_come_page_by_page_newest_page_first():
    handle = ann()
    for number in range(4):
        exchange(handle, f"question {number}")
    path = f"{SESSIONS}{handle.id}/"
    page = get(path, limit=4).json()
    assert (page["id"], page["last_seq"], page["has_more"]) == (str(handle.id), 10, True)
    assert [frame["seq"] for frame in page["frames"]] == [7, 8, 9, 10]
    assert page["frames"][3]["type"] == "response"
    before = get(path, limit=100, before=page["frames"][0]["seq"]).json()
    assert [frame["seq"] for frame in before["frames"]] == [1, 2, 3, 4, 5, 6]
    assert before["has_more"] is False
    for bad in ({"limit": 0}, {"limit": 101}, {"limit": "x"}, {"before": -1}):
        assert error_of(get(path, **bad)) == (422, "invalid_message")


async def test_a_session_that_is_held_without_a_row_exists_for_its_caller():
    handle = await handles.open_session(runtime.current().live, Actor(visitor="v"), "")
    connection = Connection(handle)
    browser = AsyncClient()
    browser.cookies[authentication.VISITOR_COOKIE] = authentication._signer("visitor").sign("v")
    path = f"{SESSIONS}{handle.id}/"
    found = (await browser.get(path)).json()
    assert (found["id"], found["last_seq"], found["frames"]) == (str(handle.id), 0, [])
    assert not await Session.objects.aexists()
    assert (await browser.delete(path)).status_code == 204
    assert connection.is_gone


async def test_a_rename_is_told_to_every_connection():
    handle = await db.transact(ann)
    connection = Connection(handle)
    made = await db.transact(token, of=await db.read(user))
    path, body = f"{SESSIONS}{handle.id}/", {"title": "A new name"}
    response = await AsyncClient().patch(path, body, "application/json", headers=bearer(made))
    assert (response.status_code, response.json()["title"]) == (200, "A new name")
    frame = connection.topic.recent(3)
    assert (frame["event"], frame["title"]) == ("renamed", "A new name")
    for title in ("", "x" * 201, None, 7):
        bad = await AsyncClient().patch(
            path, {"title": title}, "application/json", headers=bearer(made)
        )
        assert error_of(bad) == (422, "invalid_message")


async def test_a_deletion_leaves_nothing_and_ends_every_connection():
    handle = await db.transact(ann)
    connection = Connection(handle)
    made = await db.transact(token, of=await db.read(user))
    path = f"{SESSIONS}{handle.id}/"
    assert (await AsyncClient().delete(path, headers=bearer(made))).status_code == 204
    assert connection.is_gone
    assert not await Message.objects.aexists() and not await Turn.objects.aexists()
    assert error_of(await AsyncClient().delete(path, headers=bearer(made))) == (404, "not_found")


# export


async def test_an_export_tells_reasoning_and_sources_and_why_there_is_no_text():
    handle = await db.transact(ann)
    source = Source("https://example.org/", "An\n[example]")
    facts = {"reasoning_ms": 1240, "reasoning_tokens": 3, "reasoning": "Let me see."}
    outcome = Outcome("It is 42.", "stop", sources=(source,), **facts)
    await db.transact(exchange, handle, "What?", outcome)
    await db.transact(exchange, handle, "And?", Outcome("", "length", reasoning_ms=5))
    _, text = await export(handle, "md")
    assert "*(reasoned for 1.2 s)*" in text
    assert "An [example] <https://example.org/>" in text
    assert "used up its tokens while it was thinking" in text
    frames = json.loads((await export(handle, "json"))[1])["frames"]
    *_, told, empty = [frame for frame in frames if frame["type"] == "response"]
    assert told["reasoning"] == {"ms": 1240, "tokens": 3, "content": "Let me see."}
    assert told["sources"] == [{"url": "https://example.org/", "title": "An\n[example]"}]
    assert "used up its tokens while it was thinking" in empty["content"]


def with_everything():
    handle = ann(content="What is **new**?", title="News\nof today")
    partial = Outcome("Half an ans", error=ProviderTimeout())
    exchange(handle, "And tomorrow?", partial)
    exchange(handle, "Stop", Outcome("```\nWait", "cancelled"))
    return handle


async def export(handle, form):
    made = await db.transact(token, of=await db.read(user))
    path = f"{SESSIONS}{handle.id}/export?format={form}"
    response = await AsyncClient().get(path, headers=bearer(made))
    assert response.status_code == 200, response.content
    pieces = [piece async for piece in response.streaming_content]
    return response, b"".join(pieces).decode()


async def test_an_export_as_json_holds_every_frame_as_clients_got_it():
    handle = await db.transact(with_everything)
    rated = HumanFeedback(type="human_feedback", rating="up", content="Yes")
    await sessions.give_feedback(handle, rated)
    response, text = await export(handle, "json")
    name = f'attachment; filename="session-{handle.id}.json"'
    assert response["Content-Disposition"] == name
    file = json.loads(text)
    assert file["session"]["id"] == str(handle.id)
    assert file["frames"] == await sessions.frames_after(handle.id, 0)
    assert len(file["frames"]) == 7


async def test_an_export_as_markdown_reads_as_a_conversation():
    handle = await db.transact(with_everything)
    rated = HumanFeedback(type="human_feedback", rating="down", content="No.\n# Not a heading")
    await sessions.give_feedback(handle, rated)
    response, text = await export(handle, "md")
    assert response["Content-Type"].startswith("text/markdown")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME", text)
    assert text == (
        f"# News of today\n\nSession {handle.id}, begun TIME.\n"
        "\n## Question · TIME\n\nWhat is **new**?\n"
        "\n## Answer · TIME\n\ndone\n"
        "\n## Question · TIME\n\nAnd tomorrow?\n"
        "\n## Answer · TIME\n\nHalf an ans\n\n"
        "> **Error** (provider_timeout): The model took too long to answer. Try again.\n"
        "\n## Question · TIME\n\nStop\n"
        "\n## Answer · TIME\n\n```\nWait\n```\n\n*(cancelled)*\n"
        "\n> *rated the answer 👎*: No. # Not a heading\n"
    )


async def test_an_export_has_no_text_of_what_expired():
    handle = await db.transact(ann)
    body = {"session": str(handle.id), "content": "canary", "ttl": 60}
    made = await db.transact(token)
    await AsyncClient().post(NOTIFICATIONS, body, "application/json", headers=bearer(made))
    assert "canary" in (await export(handle, "md"))[1]
    past = timezone.now() - timedelta(seconds=1)
    await Message.objects.exclude(expires_at=None).aupdate(expires_at=past)
    for form in ("md", "json"):
        assert "canary" not in (await export(handle, form))[1]


def test_an_unknown_format_is_refused():
    handle = ann()
    response = get(f"{SESSIONS}{handle.id}/export", format="pdf")
    assert error_of(response) == (422, "invalid_message")


# notifications


def test_a_notification_is_taken_once_and_a_repetition_gets_the_first_answer():
    handle, made = ann(), token()
    body = {"session": str(handle.id), "content": "Done.", "id": "job-1", "level": "success"}
    first, again = (post(NOTIFICATIONS, body, made) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 200)
    expected = {"id": "job-1", "state": "stored", "connections": 0, "seq": 3}
    assert first.json() == again.json() == expected
    other = post(NOTIFICATIONS, {**body, "content": "Failed."}, made)
    assert error_of(other) == (409, "conflict")


def test_what_is_null_is_absent():
    body = {"session": str(ann().id), "content": "x", "id": None, "level": None, "ttl": None}
    assert post(NOTIFICATIONS, body, token()).status_code == 202
    frame = Message.objects.get(type="notification").frame()
    assert frame["level"] == "info" and "expires_at" not in frame


def test_the_body_of_the_original_is_taken_on_its_path():
    handle = ann()
    for path in ("/functions/v1/notify_websocket", "/functions/v1/notify_websocket/"):
        response = post(path, {"sessionId": str(handle.id), "message": "Ready."}, token())
        assert (response.status_code, response.json()["state"]) == (202, "stored")
    contents = Message.objects.filter(type="notification").values_list("content", flat=True)
    assert list(contents) == ["Ready.", "Ready."]
    assert error_of(Client().post(path, "{}", "application/json")) == (401, "unauthenticated")


def test_a_users_token_cannot_tell_another_users_session_something():
    theirs = stored(Actor(user_id=user("bob").pk))
    made = token("notify", of=user())
    answers = {
        post(NOTIFICATIONS, {"session": str(target), "content": "x"}, made).content
        for target in (theirs.id, uuid4(), "nonsense")
    }
    assert len(answers) == 1
    assert not Message.objects.filter(type="notification").exists()


BAD_BODIES = [
    ("", 422, "invalid_message"),
    ("{", 400, "invalid_json"),
    ("[]", 400, "invalid_json"),
    ("null", 400, "invalid_json"),
    ('{"a": 1, "a": 2}', 400, "invalid_json"),
    ('{"ttl": NaN}', 400, "invalid_json"),
    ('{"ttl": 1e999}', 400, "invalid_json"),
    ("[" * 100_000, 400, "invalid_json"),
    ('{"content": "\\ud800"}', 400, "invalid_json"),
    (b'{"content": "\xff"}', 400, "invalid_json"),
    ('{"session": "x", "content": "\\u0000"}', 422, "invalid_message"),
    ('{"session": "x"}', 422, "invalid_message"),
    ('{"session": "x", "content": ""}', 422, "invalid_message"),
    ('{"session": "x", "content": 7}', 422, "invalid_message"),
    ('{"session": ["x"], "content": "y"}', 422, "invalid_message"),
    ('{"session": "x", "content": "y", "ttl": 0}', 422, "invalid_message"),
    ('{"session": "x", "content": "y", "ttl": true}', 422, "invalid_message"),
    ('{"session": "x", "content": "y", "ttl": 1e18}', 422, "invalid_message"),
    ('{"session": "x", "content": "y", "level": "loud"}', 422, "invalid_message"),
    ('{"session": "x", "content": "y", "id": ""}', 422, "invalid_message"),
    (json.dumps({"session": "x", "content": "y", "id": "i" * 65}), 422, "invalid_message"),
    (json.dumps({"session": "x", "content": "y" * 32_001}), 413, "too_large"),
    (json.dumps({"session": "x", "content": "y" * 262_144}), 413, "too_large"),
]


@pytest.mark.parametrize(
    ("body", "status", "code"), BAD_BODIES, ids=[str(body)[:30] for body, _, _ in BAD_BODIES]
)
def test_a_bad_body_gets_the_fitting_status(body, status, code):
    assert error_of(post(NOTIFICATIONS, body, token())) == (status, code)


def test_what_is_no_json_is_told_so():
    made = token()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = post(NOTIFICATIONS, "{}", made, content_type=kind)
        assert error_of(response) == (415, "invalid_json")
    kind = "application/json; charset=utf-8"
    assert error_of(post(NOTIFICATIONS, "{}", made, content_type=kind)) == (422, "invalid_message")


# other errors


def test_every_error_below_the_api_is_json_and_nothing_is_kept():
    for method in ("GET", "POST", "PUT", "DELETE", "BREW"):
        response = Client().generic(method, "/api/nothing/here")
        assert error_of(response) == (404, "not_found"), method
    response = Client().put(NOTIFICATIONS)
    assert error_of(response) == (405, "invalid_message")
    assert response["Allow"] == "POST"
    assert error_of(Client().get(SESSIONS, headers={"host": "evil.example"}))[0] == 400
    for response in (get(), Client().get("/api/nothing")):
        assert response["Cache-Control"] == "private, no-store"


def test_a_bad_token_is_refused_though_the_cookie_is_good():
    browser = Client()
    browser.force_login(user())
    for bad in ("nope", "", "awt_0123456789ab_" + "x" * 43, "ä"):
        response = browser.get(SESSIONS, headers=bearer(bad))
        assert error_of(response) == (401, "unauthenticated")
        assert response["WWW-Authenticate"] == "Bearer"
    basic = browser.get(SESSIONS, headers={"authorization": "Basic eDp5"})
    assert basic.status_code == 200  # no token of ours: the cookie counts


def test_a_defect_is_an_incident_without_its_traceback(monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("secret words")

    monkeypatch.setattr("agent.store.session_list.with_preview", broken)
    response = get()
    assert error_of(response) == (500, "internal_error")
    incident = re.search(r"incident (\w+)", response.json()["error"]["message"])[1]
    assert b"secret words" not in response.content
    assert incident in caplog.text


def test_a_database_that_is_away_is_no_defect(monkeypatch):
    def away(*_, **__):
        raise OperationalError("at 10.0.0.1")

    monkeypatch.setattr("agent.store.session_list.with_preview", away)
    response = get()
    assert error_of(response) == (503, "internal_error")
    assert b"10.0.0.1" not in response.content


# the document


def test_the_page_of_the_api_needs_no_script_and_no_other_host():
    response = Client().get("/api/docs")
    assert response.status_code == 200
    page = response.content.decode()
    for path in Client().get("/api/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page
    assert "<script" not in page and "style=" not in page and "//" not in page
    assert "default-src 'none'" in response["Content-Security-Policy"]


async def test_many_callers_at_once_are_answered_each():
    await db.transact(ann)
    made = await db.transact(token, of=await db.read(user))
    responses = await asyncio.gather(
        *(AsyncClient().get(SESSIONS, headers=bearer(made)) for _ in range(20))
    )
    assert {response.status_code for response in responses} == {200}
