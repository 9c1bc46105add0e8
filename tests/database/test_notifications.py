"""Notifications from outside: written once, reach only whom they may, expire, disturb nothing."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils import timezone

from agent.actions import handles, notifications, sessions
from agent.actions.handles import SessionHandle, lock_or_create
from agent.actions.notifications import Notice
from agent.actor import Actor
from agent.errors import Conflict, NotFound
from agent.live.publish import Live
from agent.models import Message, Session

pytestmark = pytest.mark.django_db(transaction=True)


class Connection:
    """A connection of a session, as its group sees it."""

    def __init__(self, handle):
        self.handle, self.told = handle, []
        self.topic = handle.topic
        self.topic.subscribers.add(self)

    def wake(self):
        pass

    def owner_without_row(self):
        return None if self.handle.stored else self.handle.actor


def stored(actor=None):
    handle = SessionHandle(Live(), uuid4(), actor or Actor(visitor="v"), stored=False)
    with transaction.atomic():
        lock_or_create(handle)
    handle._stored = True
    return handle


def notify(handle, content="Done.", of_user=None, **fields):
    notice = Notice(content=content, **fields)
    return async_to_sync(notifications.notify)(handle.live, str(handle.id), notice, of_user=of_user)


def frames_of(handle):
    return [message.frame() for message in Message.objects.filter(session_id=handle.id)]


def expire(handle):
    Message.objects.filter(session_id=handle.id).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )


def test_a_notification_is_a_numbered_frame_with_its_senders_id_and_level():
    handle = stored()
    receipt = notify(handle, "Your report is ready.", level="success", id="report-7")
    assert (receipt.id, receipt.seq, receipt.state) == ("report-7", 1, "stored")
    frame = frames_of(handle)[0]
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
    handle = stored()
    first, second = notify(handle), notify(handle)
    assert (first.seq, second.seq) == (1, 2)
    assert first.id != second.id
    assert [frame["id"] for frame in frames_of(handle)] == [first.id, second.id]


def test_the_same_id_again_gets_the_first_answer_and_writes_nothing():
    handle = stored()
    first = notify(handle, id="a")
    connection = Connection(handle)
    again = notify(handle, id="a")
    assert again.repeated and not first.repeated
    assert (again.id, again.seq, again.state) == (first.id, first.seq, "stored")
    assert notify(handle, id="b").connections == 1
    assert [frame["seq"] for frame in frames_of(handle)] == [1, 2]
    assert connection.topic.last_seq == 2


def test_the_same_id_with_another_text_is_a_conflict_and_in_another_session_is_not():
    handle, other = stored(), stored()
    notify(handle, "one", id="a")
    with pytest.raises(Conflict):
        notify(handle, "two", id="a")
    assert notify(other, "two", id="a").seq == 1
    assert [frame["content"] for frame in frames_of(handle)] == ["one"]


async def test_many_at_once_with_one_id_are_written_once():
    handle = await sessions.db.transact(stored)
    notice = Notice(content="once", id="a")
    sends = [
        notifications.notify(handle.live, str(handle.id), notice, of_user=None) for _ in range(10)
    ]
    receipts = await asyncio.gather(*sends)
    assert {receipt.seq for receipt in receipts} == {1}
    assert sum(not receipt.repeated for receipt in receipts) == 1


def test_the_schema_refuses_an_id_twice():
    handle = stored()
    notify(handle, id="a")
    with pytest.raises(IntegrityError):
        Message.objects.create(session_id=handle.id, seq=2, type="notification", external_id="a")


def test_a_users_token_reaches_that_users_sessions_alone():
    ann, bob = (get_user_model().objects.create_user(name) for name in ("ann", "bob"))
    mine, theirs = stored(Actor(user_id=ann.pk)), stored(Actor(user_id=bob.pk))
    assert notify(mine, of_user=ann.pk).seq == 1
    words = set()
    for target in (
        theirs,
        stored(Actor(visitor="v")),
        SessionHandle(Live(), uuid4(), Actor(), stored=False),
    ):
        with pytest.raises(NotFound) as caught:
            notify(target, of_user=ann.pk)
        words.add(caught.value.message)
    assert len(words) == 1
    assert not frames_of(theirs)
    assert notify(theirs).seq == 1


@pytest.mark.parametrize("actor", [Actor(visitor="v"), Actor(session_id=uuid4())])
async def test_a_session_that_is_held_without_a_row_gets_one(actor):
    handle = await handles.open_session(Live(), Actor(visitor=actor.visitor), "")
    connection = Connection(handle)
    with pytest.raises(NotFound):
        await notifications.notify(handle.live, str(handle.id), Notice(content="x"), of_user=1)
    assert not await Session.objects.aexists()
    receipt = await notifications.notify(
        handle.live, str(handle.id), Notice(content="x"), of_user=None
    )
    assert (receipt.state, receipt.connections, receipt.seq) == ("delivered", 1, 1)
    row = await Session.objects.aget()
    assert (row.id, row.visitor) == (handle.id, handle.actor.visitor)
    assert connection.topic.recent(1)["content"] == "x"


def test_a_deleted_session_is_not_written_again_by_who_still_holds_it():
    handle = stored()
    connection = Connection(handle)
    Session.objects.all().delete()
    with pytest.raises(NotFound):
        notify(connection.handle)
    assert not Session.objects.exists()


def test_a_notification_is_no_activity_and_opens_no_closed_session():
    handle = stored()
    before = timezone.now() - timedelta(hours=1)
    Session.objects.update(last_activity_at=before, closed_at=before)
    notify(handle)
    row = Session.objects.get()
    assert (row.last_activity_at, row.closed_at, row.last_seq) == (before, before, 1)


async def test_an_expired_one_keeps_its_number_and_loses_its_text_everywhere():
    handle = await sessions.db.transact(stored)
    notice = Notice(content="Lunch is here.", id="lunch", ttl=60)
    await notifications.notify(handle.live, str(handle.id), notice, of_user=None)
    fresh = (await sessions.frames_after(handle.id, 0))[0]
    assert (fresh["event"], fresh["content"]) == ("message", "Lunch is here.")
    assert fresh["expires_at"] > fresh["timestamp"]
    await sessions.db.transact(expire, handle)
    replayed = await sessions.frames_after(handle.id, 0)
    history, _ = await sessions.history(handle, None, 10)
    for frame in (*replayed, *history):
        assert (frame["event"], frame["content"], frame["seq"]) == ("expired", "", 1)
    again = await notifications.notify(handle.live, str(handle.id), notice, of_user=None)
    assert (again.repeated, again.seq) == (True, 1)


def test_staff_neither_read_nor_find_the_text_of_an_expired_one(admin_client):
    handle = stored()
    notify(handle, "The canary sings.", ttl=60)
    transcript, found = (
        f"/admin/agent/session/{handle.id}/change/",
        "/admin/agent/session/?q=canary",
    )
    assert b"canary sings" in admin_client.get(transcript).content
    assert str(handle.id).encode() in admin_client.get(found).content
    expire(handle)
    page = admin_client.get(transcript)
    assert page.status_code == 200 and b"Expired." in page.content
    assert b"canary" not in page.content
    assert str(handle.id).encode() not in admin_client.get(found).content
