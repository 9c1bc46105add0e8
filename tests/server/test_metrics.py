"""Metrics: who may read them, and that they count what happens without naming anybody."""

import re

TOKEN = "metrics-token-of-tests"


def value(text, name):
    """The sample of this name and these labels, as a number; 0 when there is none."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_a_server_counts_what_its_clients_do(start_server, provider):
    server = start_server(METRICS_TOKEN=TOKEN)

    def page():
        code, headers, text = server.request(
            "GET", "/metrics", {"Authorization": f"Bearer {TOKEN}"}
        )
        assert code == 200 and headers["content-type"].startswith("text/plain")
        return text

    assert server.request("GET", "/metrics")[0] == 403
    async with server.connect() as client:
        assert (await client.end(await client.ask("say: a canary sings")))["content"]
        handle = page()
        assert value(handle, "agent_connections") == value(handle, "agent_sessions") == 1
        await client.send_raw("no json")
        await client.expect("error")
        back = client.back()
    async with server.connect(session=client.transcript.session, **back) as client:
        await client.ready()
        await client.end(await client.ask("mode=status status=400"))
    text = page()
    assert value(text, 'agent_connects_total{resumed="false"}') == 1
    assert value(text, 'agent_connects_total{resumed="true"}') == 1
    assert value(text, 'agent_frames_received_total{type="query"}') == 2
    assert value(text, 'agent_frames_stored_total{type="query"}') == 2
    assert value(text, 'agent_turns_ended_total{outcome="stop"}') >= 1
    assert value(text, 'agent_errors_sent_total{code="invalid_json"}') == 1
    assert value(text, "agent_turn_seconds_count") == 2
    assert value(text, "agent_first_token_seconds_count") >= 1
    assert value(text, "agent_deltas_sent_total") >= 1
    assert value(text, "agent_turns_running") == 0
    assert value(text, 'agent_turns_unfinished{state="queued"}') == 0
    assert value(text, "agent_turn_places") == 200
    assert client.transcript.session not in text and "canary" not in text
