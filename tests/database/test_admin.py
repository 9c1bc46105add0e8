"""What staff see in the admin: lists, transcripts, turns; and what they cannot do."""

import re
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agent.actions import queries
from agent.actions.handles import SessionHandle
from agent.actor import Actor
from agent.admin import transcript
from agent.errors import ProviderRejected, ProviderTimeout
from agent.live.publish import Live
from agent.models import Feedback, Message, Session, Turn
from agent.protocol.client_frames import Query
from agent.provider.decoder import Source
from agent.store import turn_queue
from agent.store.turn_queue import Lease, Outcome

pytestmark = pytest.mark.django_db

HERE = Lease("here", 15)
SESSIONS, TURNS = "/admin/agent/session/", "/admin/agent/turn/"


@pytest.fixture
def staff():
    return browser_of(get_user_model().objects.create_superuser("boss"))


def browser_of(user):
    browser = Client()
    browser.force_login(user)
    return browser


def reader(*codenames):
    user = get_user_model().objects.create_user(f"reader{uuid4().hex[:6]}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return browser_of(user)


def ask(handle, content, outcome=None):
    """A query and its end; with an outcome of None it goes on running."""
    with transaction.atomic():
        query = Query(type="query", content=content)
        accepted = queries._accept(handle, query, 20, HERE)
    handle._stored = True
    if outcome:
        with transaction.atomic():
            assert turn_queue.finish(accepted.claimed, outcome)
    return accepted


def conversation(*exchanges, actor=None):
    handle = SessionHandle(Live(), uuid4(), actor or Actor(visitor="v" * 32), stored=False)
    for content, outcome in exchanges:
        ask(handle, content, outcome)
    return handle.id


def said(text, **facts):
    return Outcome(text, "stop", **{"model": "m/one", "cost": Decimal("0.25"), **facts})


def page(browser, address, status=200):
    response = browser.get(address)
    assert response.status_code == status, response.status_code
    return response.content.decode()


def transcript_of(session_id, **parameters):
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"{SESSIONS}{session_id}/change/?{query}"


def count_queries(browser, address):
    page(browser, address)  # whatever is cached is cached now
    with CaptureQueriesContext(connection) as found:
        page(browser, address)
    return len(found)


# transcripts


def test_staff_see_reasoning_sources_the_providers_status_and_why_there_is_no_text(staff):
    refused = ProviderRejected()
    refused.status = 402
    facts = {"reasoning_ms": 1500, "reasoning_tokens": 1200, "cached_tokens": 3000}
    thoughtful = said(
        "It is 42.", reasoning="<i>Hm</i>", sources=(Source("javascript:x", "<b>"),), **facts
    )
    session_id = conversation(
        ("one", thoughtful),
        ("two", Outcome("", "length", reasoning_ms=5)),
        ("three", Outcome(error=refused)),
    )
    html = page(staff, transcript_of(session_id))
    assert "1.5 s, 1,200 tokens" in html
    assert "3,000" in html
    assert "&lt;i&gt;Hm&lt;/i&gt;" in html
    assert 'href="javascript:' not in html
    assert "&lt;b&gt;" in html
    assert "used up its tokens while it was thinking" in html
    assert "402" in html
    turn = Turn.objects.get(error_code="provider_rejected")
    assert "402" in page(staff, reverse("admin:agent_turn_change", args=[turn.pk]))


def test_a_transcript_shows_who_said_what_with_the_facts_of_each_turn(staff):
    owner = get_user_model().objects.create_user("alice")
    failed = Outcome("half", error=ProviderTimeout(), model="m/one", first_token_ms=1234)
    session_id = conversation(
        ("What is *this*?", said("**Bold** answer", prompt_tokens=1200, completion_tokens=34)),
        ("And that?", failed),
        actor=Actor(user_id=owner.pk),
    )
    html = page(staff, transcript_of(session_id))
    assert "What is *this*?" in html, "what people wrote is shown as they wrote it"
    assert "<strong>Bold</strong> answer" in html
    assert "1,200 in, 34 out" in html
    assert "0.25 + 1 unknown" in html
    assert "provider_timeout" in html
    assert "<p>half</p>" in html
    assert "1.2 s" in html
    assert html.count("alice") >= 3
    assert re.findall(r'<article id="m(\d)"', html) == ["1", "2", "3", "4"]


def test_whatever_was_said_stays_text(staff):
    evil = (
        "<script>alert(1)</script><img src=x onerror=alert(1)>[x](javascript:a()) ![i](//e.test/i)"
    )
    session_id = conversation((evil, said(evil)))
    html = page(staff, transcript_of(session_id))
    body = html[html.index('<div class="messages">') :]
    assert "<script" not in body
    assert "<img" not in body
    assert 'href="javascript' not in body


def test_a_long_transcript_has_pages_and_a_link_leads_to_the_page_of_its_message(staff):
    handle = SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)
    for number in range(40):
        ask(handle, f"question {number}", said(f"answer {number}"))
    first, second = (page(staff, transcript_of(handle.id, p=p)) for p in (1, 2))
    assert "question 24" in first
    assert "question 25" not in first
    assert "question 25" in second
    assert "Page 2 of 2" in second
    assert transcript.Place(51).link == "?p=2#m51"
    for wrong in ("0", "99", "x", "-1"):
        page(staff, transcript_of(handle.id, p=wrong))


def test_a_transcript_takes_the_same_queries_however_long_it_is(staff):
    short = conversation(("a", said("b")))
    handle = SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)
    for number in range(25):
        accepted = ask(handle, f"q{number}", said(f"a{number}"))
        answer = Message.objects.get(turn=accepted.turn_id, type="response")
        Feedback.objects.create(message=answer, caller=f"user:{number}", rating="up")
    assert count_queries(staff, transcript_of(short)) == count_queries(
        staff, transcript_of(handle.id)
    )


def test_running_and_waiting_turns_are_shown_in_their_order(staff):
    session_id = conversation(("first", None), ("second", None), ("third", None))
    html = page(staff, transcript_of(session_id))
    places = [html.index(words) for words in ("running, attempt 1", "position 1", "position 2")]
    assert places == sorted(places)


def test_feedback_stands_at_its_answer_and_in_its_place(staff):
    handle = SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)
    accepted = ask(handle, "a", said("b"))
    answer = Message.objects.get(turn=accepted.turn_id, type="response")
    Feedback.objects.create(
        message=answer, caller=handle.actor.key, rating="down", comment="No <b>good</b>"
    )
    html = page(staff, transcript_of(handle.id))
    assert "Thumbs down" in html
    assert "No &lt;b&gt;good&lt;/b&gt;" in html
    assert f"{SESSIONS}{handle.id}/change/" in page(staff, f"{SESSIONS}?feedback=down")


# lists


def test_the_list_of_sessions_takes_the_same_queries_for_one_and_for_thirty(staff):
    conversation(("a", said("b")))
    few = count_queries(staff, SESSIONS)
    user = get_user_model().objects.create_user("alice")
    for number in range(30):
        actor = Actor(user_id=user.pk) if number % 2 else Actor(visitor=f"v{number}")
        conversation((f"q{number}", said("x")), ("again", None), actor=actor)
    assert count_queries(staff, SESSIONS) == few
    assert count_queries(staff, TURNS) <= few + 2


@pytest.mark.parametrize("word", ["needle", "NEEDLE", '"a needle in"', "hay needle"])
def test_sessions_are_found_by_what_was_said_in_them(staff, word):
    hit = conversation(("where is a needle in the hay?", said("here")))
    miss = conversation(("nothing", said("at all")))
    html = page(staff, f"{SESSIONS}?q={word}")
    assert str(hit) in html
    assert str(miss) not in html


def test_sessions_are_found_by_their_owner_and_by_any_id(staff):
    owner = get_user_model().objects.create_user("alice")
    hit = conversation(("a", said("b")), actor=Actor(user_id=owner.pk))
    miss = conversation(("a", said("b")))
    turn = Turn.objects.get(session=hit)
    for word in ("alice", hit, turn.pk, turn.query_id):
        html = page(staff, f"{SESSIONS}?q={word}")
        assert str(hit) in html, word
        assert str(miss) not in html, word


def test_filters_find_open_closed_and_failed_sessions(staff):
    fine = conversation(("a", said("b")))
    failed = conversation(("a", Outcome("", error=ProviderTimeout())))
    closed = conversation(("a", said("b")))
    Session.objects.filter(id=closed).update(closed_at=Now() + timedelta(seconds=1))
    found = {
        value: {key for key in (fine, failed, closed) if str(key) in page(staff, SESSIONS + value)}
        for value in ("?errors=yes", "?errors=no", "?state=open", "?state=closed")
    }
    assert found == {
        "?errors=yes": {failed},
        "?errors=no": {fine, closed},
        "?state=open": {fine, failed},
        "?state=closed": {closed},
    }


def test_turns_show_model_tokens_cost_and_latency(staff):
    conversation(("a", said("b", prompt_tokens=7, completion_tokens=3, first_token_ms=180)))
    html = page(staff, TURNS)
    for fact in ("m/one", "7 in, 3 out", "0.25", "180 ms"):
        assert fact in html, fact
    turn = Turn.objects.get()
    assert "m/one" in page(staff, f"{TURNS}{turn.pk}/change/")
    assert str(turn.pk) in page(staff, f"{TURNS}?error_code=")
    assert str(turn.pk) not in page(staff, f"{TURNS}?error_code=any")


# who may do what


def test_nothing_can_be_added_or_changed(staff):
    session_id = conversation(("a", said("b")))
    turn = Turn.objects.get()
    page(staff, f"{SESSIONS}add/", 403)
    page(staff, f"{TURNS}add/", 403)
    assert staff.post(transcript_of(session_id), {"title": "x"}).status_code == 405
    assert staff.post(f"{TURNS}{turn.pk}/change/", {"ref": "x"}).status_code == 403
    page(staff, f"{TURNS}{turn.pk}/delete/", 403)


def test_reading_takes_the_permission_for_it():
    session_id = conversation(("a", said("b")))
    nothing, sees = reader(), reader("view_session")
    page(nothing, SESSIONS, 403)
    page(nothing, transcript_of(session_id), 403)
    page(sees, SESSIONS)
    html = page(sees, transcript_of(session_id))
    page(sees, TURNS, 403)
    assert TURNS not in html
    assert "Delete this session" not in html
    page(sees, f"{SESSIONS}{session_id}/delete/", 403)
    assert Client().get(SESSIONS).status_code == 302


def test_who_may_delete_can_and_the_log_holds_no_words_of_the_session(staff):
    session_id = conversation(("a", said("b")))
    other = conversation(("c", said("d")))
    Session.objects.filter(id=session_id).update(title="my secret illness")
    asked = page(staff, f"{SESSIONS}{session_id}/delete/")
    assert "my secret illness" in asked
    staff.post(f"{SESSIONS}{session_id}/delete/", {"post": "yes"})
    assert list(Session.objects.values_list("id", flat=True)) == [other]
    assert not Message.objects.filter(session=session_id).exists()
    assert "secret" not in LogEntry.objects.get().object_repr
    ticked = {"action": "delete_selected", "_selected_action": [str(other)], "post": "yes"}
    staff.post(SESSIONS, ticked)
    assert not Session.objects.exists()


@pytest.mark.parametrize("key", ["1", "not-a-uuid", "7c0e6f5a-1111-4222-8333-123456789abc"])
def test_rows_have_no_page_outside_the_admin(staff, key):
    """Django's view of it fails with a key that is no UUID."""
    for kind in ContentType.objects.filter(app_label__in=("agent", "auth")):
        assert staff.get(f"/admin/r/{kind.pk}/{key}/").status_code == 404


def test_an_unknown_session_is_told_as_such(staff):
    response = staff.get(transcript_of(uuid4()), follow=True)
    assert "exist" in response.content.decode()
