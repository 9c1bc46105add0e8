"""Pages of a session end at rows or at characters, whichever comes first, and lose nothing."""

from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from agent.actions import sessions
from agent.actions.handles import SessionHandle
from agent.actor import Actor
from agent.admin import transcript
from agent.connection.send_queue import MAX_BYTES
from agent.connection.writer import Writer
from agent.live.publish import Live
from agent.models import Message, Session
from agent.protocol import server_frames
from agent.protocol.close_codes import CloseCode
from agent.protocol.server_frames import HistoryPage
from agent.store import db, replay

pytestmark = pytest.mark.django_db(transaction=True)

BUDGET = replay.PAGE_CHARS


def filled(*sizes, field="content", **columns):
    """A session with a message of each size."""
    session = Session.objects.create(id=uuid4(), last_seq=len(sizes))
    Message.objects.bulk_create(
        Message(
            session=session,
            seq=seq,
            type="error" if field == "partial" else "response",
            data={"turn": "t", **({"reasoning": "x" * size} if field == "data" else {})},
            created_at=timezone.now(),
            **({} if field == "data" else {field: "x" * size}),
            **columns,
        )
        for seq, size in enumerate(sizes, 1)
    )
    return session.id


def forward(session_id):
    seq, found = 0, []
    while page := replay.after(session_id, seq):
        found.append([frame["seq"] for frame in page])
        seq = found[-1][-1]
    return found


def backward(session_id, limit):
    seq, found, has_more = None, [], True
    while has_more:
        page, has_more = replay.before(session_id, seq, limit)
        found.append([frame["seq"] for frame in page])
        seq = found[-1][0]
    return found


@pytest.mark.parametrize("field", ["content", "partial", "data"])
@pytest.mark.parametrize(
    "sizes",
    [
        [400_000] * 6,
        [10, 400_000, 10, 400_000, 10],
        [BUDGET // 2 - 200] * 5,
        [1000] * 700,
        [0] * 450,
    ],
)
def test_every_page_is_bounded_and_every_frame_is_on_one(field, sizes):
    session_id = filled(*sizes, field=field)
    everything = list(range(1, len(sizes) + 1))
    ways = [forward(session_id)] + [backward(session_id, limit) for limit in (1, 7, 100)]
    for place, found in enumerate(ways):
        ordered = found if place == 0 else found[::-1]
        assert [seq for page in ordered for seq in page] == everything
        for page in found:
            chars = sum(sizes[seq - 1] for seq in page)
            assert len(page) == 1 or chars <= BUDGET
    for page, limit in zip(ways[1:], (1, 7, 100), strict=True):
        assert max(map(len, page)) <= limit


def test_an_empty_session_has_an_empty_page():
    assert replay.before(filled(), None, 100) == ([], False)
    assert replay.after(filled(), 0) == []


def test_what_does_not_fit_is_never_loaded():
    session_id = filled(*[300_000] * 100)
    loaded = []

    def watched(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.startswith("SELECT") and '"content",' in sql:
            loaded.append(sql)
        return result

    with connection.execute_wrapper(watched):
        page, has_more = replay.before(session_id, None, 100)
    assert ([frame["seq"] for frame in page], has_more) == ([100], True)
    assert len(loaded) == 1


@pytest.mark.parametrize("field", ["content", "partial"])
async def test_history_of_the_longest_answers_does_not_close_a_client_that_reads(field):
    session_id = await db.transact(filled, *[1_000_000] * 12, field=field)
    handle = SessionHandle(Live(), session_id, Actor(visitor="v"), stored=True)
    found, has_more = await sessions.history(handle, None, 100)
    assert has_more
    assert sum(map(server_frames.size, found)) == 1_000_000 < MAX_BYTES
    feed = Writer.__new__(Writer)
    Writer.__init__(feed, handle, None, None, stream=True, heartbeat=25)
    page = HistoryPage(ref="h", frames=found, has_more=has_more)
    feed.send_later(page.frame(), size=sum(map(server_frames.size, found)))
    assert not feed.ending
    for _ in range(MAX_BYTES // 1_000_000):  # who does not read them
        feed.send_later(page.frame(), size=sum(map(server_frames.size, found)))
    assert feed._ending.code == CloseCode.TOO_SLOW


def test_a_page_for_staff_is_bounded_and_leads_on():
    session = Session.objects.get(id=filled(*[BUDGET // 4] * 60))
    first = transcript.page(session, 1)
    assert [entry.place.seq for entry in first.entries] == [1, 2, 3]
    assert [place.seq for place in first.rest] == list(range(4, 51))
    assert first.rest[0].link_from == "?p=1&from=4#m4"
    following = transcript.page(session, 1, 4)
    assert [entry.place.seq for entry in following.entries] == [4, 5, 6]
    second = transcript.page(session, 2, 10**9)
    assert [entry.place.seq for entry in second.entries] == []
    assert [entry.place.seq for entry in transcript.page(session, 2).entries] == [51, 52, 53]
