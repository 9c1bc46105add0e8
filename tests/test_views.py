"""Plain HTTP: the page's headers, health, and the answer on the socket's paths."""

import re

import pytest
from django.test import AsyncClient, Client
from django.urls import clear_url_caches, re_path

from agentsite import urls

SOCKET_PATHS = [
    "/ws/agent/",
    "/ws/agent",
    "/functions/v1/agent_websocket",
    "/functions/v1/agent_websocket/",
]


@pytest.mark.parametrize("path", SOCKET_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_a_plain_request_on_a_sockets_path_is_told_so(path, method):
    response = Client(enforce_csrf_checks=True).generic(method, path, "x")
    assert (response.status_code, response.content) == (400, b"Expected WebSocket request")


def test_also_where_everything_else_goes_to_https(settings):
    settings.SECURE_SSL_REDIRECT = True
    assert Client().get("/ws/agent/").status_code == 400
    assert Client().get("/").status_code == 301


def test_the_page_is_not_kept_and_may_load_from_itself_alone():
    response = Client().get("/")
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert b"<script" in response.content
    assert b"style=" not in response.content


def test_health_needs_nothing():
    response = Client().get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


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


@pytest.mark.parametrize("path", ["/api/sessions/", "/readyz"])
def test_an_unexpected_exception_is_answered_with_its_incident_and_logged_once(
    path, settings, monkeypatch, caplog
):
    def broken(request):
        raise ValueError("the canary of a defect")

    monkeypatch.setattr(urls, "urlpatterns", [re_path("", broken)])
    clear_url_caches()
    try:
        response = Client(raise_request_exception=False).get(path)
    finally:
        monkeypatch.undo()
        clear_url_caches()
    assert response.status_code == 500
    text = response.content.decode()
    incident = re.search(r"\(incident ([0-9a-f]{12})\)", text).group(1)
    assert "canary" not in text
    if path.startswith("/api/"):
        assert response.json()["error"]["code"] == "internal_error"
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert incident in str(record.msg)
    assert record.exc_info or "canary of a defect" in str(record.msg)
