"""Neither a body without an end nor an answer that nobody reads is kept."""

import json

from tests.support.servers import Server


def test_a_server_refuses_a_huge_body_before_it_comes():
    # Not daphne: it takes the whole of a request before the application hears of it.
    with Server() as server:
        size = {"Content-Length": "99999999999"}
        status, _, text = server.request("POST", "/api/notifications/", size, b"{")
        assert (status, json.loads(text)["error"]["code"]) == (413, "too_large")
