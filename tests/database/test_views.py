"""Plain HTTP: the page's headers, health, and the answer on the socket's paths."""

import pytest
from django.test import AsyncClient, Client

SOCKET_PATHS = [
    "/ws/agent/",
    "/ws/agent",
    "/functions/v1/agent_websocket",
    "/functions/v1/agent_websocket/",
]


@pytest.mark.django_db
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "evil.test", "", "a b", "[::1", "pod-1.ns.svc"])
def test_probes_and_scrapes_are_answered_under_any_host(settings, host):
    settings.AGENT = {**settings.AGENT, "metrics_token": "of-tests"}
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    token = {"Authorization": "Bearer of-tests"}
    for path in ("/healthz", "/readyz", "/metrics"):
        answer = Client().get(path, headers={"Host": host, **token}, REMOTE_ADDR="10.9.9.9")
        assert answer.status_code == 200, path
    for path in ("/", "/login/", "/healthz/", "/api/sessions/", "/nowhere", "/admin/"):
        assert Client().get(path, headers={"Host": host, **token}).status_code == 400, path


@pytest.mark.django_db
def test_a_name_that_was_made_to_lead_here_does_not_open_the_metrics():
    """A page of a stranger's name, whose name server says 127.0.0.1 at the second look."""
    local = {"REMOTE_ADDR": "127.0.0.1"}
    assert Client().get("/metrics", headers={"Host": "localhost"}, **local).status_code == 200
    assert Client().get("/metrics", headers={"Host": "evil.test"}, **local).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_tokens_are_taken_over_https_alone_where_everything_is(settings):
    settings.SECURE_SSL_REDIRECT = True
    for path in ("/functions/v1/notify_websocket", "/functions/v1/notify_websocket/"):
        for scheme, status in ((False, 301), (True, 401)):
            answer = Client().post(
                path, "{}", "application/json", secure=scheme, headers={"Authorization": "Bearer x"}
            )
            assert answer.status_code == status, answer.content
    for path in (*SOCKET_PATHS, "/healthz"):
        assert Client().get(path).status_code != 301


@pytest.mark.django_db(transaction=True)
async def test_readiness_names_what_fails(monkeypatch):
    response = await AsyncClient().get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "failing": []})
    from django.db.migrations.recorder import MigrationRecorder

    newest = MigrationRecorder.Migration.objects.filter(app="agent").order_by("-id")
    names = [row.name async for row in newest]
    await newest.adelete()
    try:
        response = await AsyncClient().get("/readyz")
        assert (response.status_code, response.json()["failing"]) == (503, ["migrations"])
    finally:
        for name in reversed(names):
            await MigrationRecorder.Migration.objects.acreate(app="agent", name=name)
