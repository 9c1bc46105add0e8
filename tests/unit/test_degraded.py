"""A database that answers and takes no writes is told, named and forgiven; a frozen one too."""

import json

import pytest
from django.db import OperationalError

from agent.api.errors import answer_exception
from agent.errors import InternalError
from agent.store import outage

# in this process


@pytest.fixture
def healthy():
    _recover()  # a test before this one may have logged the same reason
    yield
    _recover()


def _recover():
    outage._refused = None
    outage.recovered()


def test_a_reason_is_logged_once_in_an_outage(healthy, caplog):
    error = OperationalError("with the words of /a/path")
    for _ in range(3):
        outage.log_failure(error)
    outage.recovered()
    outage.log_failure(error)
    ours = [record for record in caplog.records if record.name.startswith("agent.")]
    assert len(ours) == 2
    assert "path" not in caplog.text


def test_a_request_that_the_database_refuses_says_so_and_when_to_come_back():
    answer = answer_exception(None, OperationalError("secret"))
    body = json.loads(answer.content)["error"]
    assert (answer.status_code, body["code"]) == (503, InternalError.code)
    assert "cannot be stored" in body["message"] and int(answer["Retry-After"]) > 0
