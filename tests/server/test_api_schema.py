"""The OpenAPI document, and a server that is asked whatever the document allows and forbids."""

import asyncio
from functools import cache

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, positive_data_acceptance

from tests.support.servers import Server

#: Examples of each kind for each operation.
EXAMPLES = 10
OPERATIONS = [
    ("GET", "/api/sessions/"),
    ("GET", "/api/sessions/{session_id}/"),
    ("GET", "/api/sessions/{session_id}/export"),
    ("PATCH", "/api/sessions/{session_id}/"),
    ("DELETE", "/api/sessions/{session_id}/"),
    ("POST", "/api/notifications/"),
    ("POST", "/functions/v1/notify_websocket"),
]
#: Our JSON is stricter than any schema can say: no duplicate keys, no huge numbers. And a cursor is
#: a text that only we can make.
NOT_CHECKED = [positive_data_acceptance]

load_all_checks()


@pytest.fixture(scope="module")
def server():
    with Server() as one:
        made = one.manage(
            "agent_token",
            "create",
            "--name",
            "t",
            "--scope",
            "chat",
            "--scope",
            "notify",
        )
        one.session = requests.Session()
        one.session.headers["Authorization"] = f"Bearer {made.split()[-1]}"
        one.conversation = asyncio.run(conversation(one))
        yield one
        one.stop()
        one.assert_nothing_broke()


async def conversation(server):
    """A session of the token, in which something was said."""
    headers = {"Authorization": server.session.headers["Authorization"]}
    async with server.connect(headers=headers) as client:
        await client.end(await client.ask("Hello"))
        return client.transcript.session


@cache
def document(url):
    return schemathesis.openapi.from_url(f"{url}/api/openapi.json")


def test_the_document_is_valid_and_lists_every_operation(server):
    schema = document(server.url)
    schema.validate()
    listed = [result.ok() for result in schema.get_all_operations()]
    assert {(each.method.upper(), each.path) for each in listed} == set(OPERATIONS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("asked", OPERATIONS, ids=" ".join)
def test_whatever_is_sent_gets_an_answer_that_the_document_describes(server, asked, mode):
    method, path = asked
    operation = document(server.url)[path][method]

    @seed(4)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case):
        if "session_id" in case.path_parameters and method != "DELETE":
            case.path_parameters["session_id"] = server.conversation
        response = case.call(session=server.session)
        assert response.status_code < 500
        case.validate_response(response, excluded_checks=NOT_CHECKED)

    ask()
