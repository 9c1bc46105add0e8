"""Notifications from outside: written once, reach only whom they may, expire, disturb nothing."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils import timezone

from agent.actions import notifications, sessions
from agent.actions.notifications import Notice
from agent.actions.sessions import Held, advance_or_create
from agent.actor import Actor
from agent.errors import Conflict, NotFound
from agent.live.hub import group
from agent.models import Message, Session

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


class Connection:
    """A connection of a session, as its group sees it."""

    def __init__(self, held):
        self.held, self.told = held, []
        self.group = group(held.id)
        self.group.listeners.add(self)

    def wake(self):
        pass

    def owner_without_row(self):
        return None if self.held.stored else self.held.actor


def stored(actor=None):
    held = Held(uuid4(), actor or Actor(visitor="v"), stored=False)
    with transaction.atomic():
        advance_or_create(held)
    held.stored = True
    return held


def notify(held, content="Done.", of_user=None, **fields):
    notice = Notice(content=content, **fields)
    return async_to_sync(notifications.notify)(str(held.id), notice, of_user=of_user)


def frames_of(held):
    return [message.frame() for message in Message.objects.filter(session_id=held.id)]


def expire(held):
    Message.objects.filter(session_id=held.id).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )


def test_a_notification_is_a_numbered_frame_with_its_senders_id_and_level():
    held = stored()
    receipt = notify(held, "Your report is ready.", level="success", id="report-7")
    assert (receipt.id, receipt.seq, receipt.state) == ("report-7", 1, "stored")
    frame = frames_of(held)[0]
    assert frame.pop("timestamp")
    assert frame == {
        "type": "notification",
        "seq": 1,
        "event": "message",
        "level": "success",
        "id": "report-7",
        "content": "Your report is ready.",
    }


def test_without_an_id_one_is_made_and_every_notification_is_another():
    held = stored()
    first, second = notify(held), notify(held)
    assert (first.seq, second.seq) == (1, 2)
    assert first.id != second.id
    assert [frame["id"] for frame in frames_of(held)] == [first.id, second.id]


def test_the_same_id_again_gets_the_first_answer_and_writes_nothing():
    held = stored()
    first = notify(held, id="a")
    connection = Connection(held)
    again = notify(held, id="a")
    assert again.repeated and not first.repeated
    assert (again.id, again.seq, again.state) == (first.id, first.seq, "stored")
    assert notify(held, id="b").connections == 1
    assert [frame["seq"] for frame in frames_of(held)] == [1, 2]
    assert connection.group.last_seq == 2


def test_the_same_id_with_another_text_is_a_conflict_and_in_another_session_is_not():
    held, other = stored(), stored()
    notify(held, "one", id="a")
    with pytest.raises(Conflict):
        notify(held, "two", id="a")
    assert notify(other, "two", id="a").seq == 1
    assert [frame["content"] for frame in frames_of(held)] == ["one"]


async def test_many_at_once_with_one_id_are_written_once():
    held = await sessions.db.transact(stored)
    notice = Notice(content="once", id="a")
    sends = [notifications.notify(str(held.id), notice, of_user=None) for _ in range(10)]
    receipts = await asyncio.gather(*sends)
    assert {receipt.seq for receipt in receipts} == {1}
    assert sum(not receipt.repeated for receipt in receipts) == 1


def test_the_schema_refuses_an_id_twice():
    held = stored()
    notify(held, id="a")
    with pytest.raises(IntegrityError):
        Message.objects.create(session_id=held.id, seq=2, type="notification", external_id="a")


def test_a_users_token_reaches_that_users_sessions_alone():
    ann, bob = (get_user_model().objects.create_user(name) for name in ("ann", "bob"))
    mine, theirs = stored(Actor(user_id=ann.pk)), stored(Actor(user_id=bob.pk))
    assert notify(mine, of_user=ann.pk).seq == 1
    words = set()
    for target in (theirs, stored(Actor(visitor="v")), Held(uuid4(), Actor(), stored=False)):
        with pytest.raises(NotFound) as caught:
            notify(target, of_user=ann.pk)
        words.add(caught.value.message)
    assert len(words) == 1
    assert not frames_of(theirs)
    assert notify(theirs).seq == 1


@pytest.mark.parametrize("actor", [Actor(visitor="v"), Actor(session_id=uuid4())])
async def test_a_session_that_is_held_without_a_row_gets_one(actor):
    held = await sessions.open_session(Actor(visitor=actor.visitor), "")
    connection = Connection(held)
    with pytest.raises(NotFound):
        await notifications.notify(str(held.id), Notice(content="x"), of_user=1)
    assert not await Session.objects.aexists()
    receipt = await notifications.notify(str(held.id), Notice(content="x"), of_user=None)
    assert (receipt.state, receipt.connections, receipt.seq) == ("delivered", 1, 1)
    row = await Session.objects.aget()
    assert (row.id, row.visitor) == (held.id, held.actor.visitor)
    assert connection.group.recent(1)["content"] == "x"


def test_a_deleted_session_is_not_written_again_by_who_still_holds_it():
    held = stored()
    connection = Connection(held)
    Session.objects.all().delete()
    with pytest.raises(NotFound):
        notify(connection.held)
    assert not Session.objects.exists()


def test_a_notification_is_no_activity_and_opens_no_closed_session():
    held = stored()
    before = timezone.now() - timedelta(hours=1)
    Session.objects.update(last_activity_at=before, closed_at=before)
    notify(held)
    row = Session.objects.get()
    assert (row.last_activity_at, row.closed_at, row.last_seq) == (before, before, 1)


async def test_an_expired_one_keeps_its_number_and_loses_its_text_everywhere():
    held = await sessions.db.transact(stored)
    notice = Notice(content="Lunch is here.", id="lunch", ttl=60)
    await notifications.notify(str(held.id), notice, of_user=None)
    fresh = (await sessions.frames_after(held.id, 0))[0]
    assert (fresh["event"], fresh["content"]) == ("message", "Lunch is here.")
    assert fresh["expires_at"] > fresh["timestamp"]
    await sessions.db.transact(expire, held)
    replayed = await sessions.frames_after(held.id, 0)
    history, _ = await sessions.history(held, None, 10)
    for frame in (*replayed, *history):
        assert (frame["event"], frame["content"], frame["seq"]) == ("expired", "", 1)
    again = await notifications.notify(str(held.id), notice, of_user=None)
    assert (again.repeated, again.seq) == (True, 1)


def test_staff_neither_read_nor_find_the_text_of_an_expired_one(admin_client):
    held = stored()
    notify(held, "The canary sings.", ttl=60)
    transcript, found = f"/admin/agent/session/{held.id}/change/", "/admin/agent/session/?q=canary"
    assert b"canary sings" in admin_client.get(transcript).content
    assert str(held.id).encode() in admin_client.get(found).content
    expire(held)
    page = admin_client.get(transcript)
    assert page.status_code == 200 and b"Expired." in page.content
    assert b"canary" not in page.content
    assert str(held.id).encode() not in admin_client.get(found).content
