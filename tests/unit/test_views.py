"""Plain HTTP: the page's headers, health, and the answer on the socket's paths."""

import re

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.urls import clear_url_caches, re_path
from django.utils import translation

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


@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "500", "agent/later"])
def test_a_page_of_an_error_names_the_product_and_leads_back(name):
    page = render_to_string(f"{name}.html", {"seconds": 3})  # as for 400 and 500: without a request
    assert re.search(r"<title>[A-Z].+ · agent_websocket</title>", page)
    assert page.count('href="/"') == 2


def test_a_page_of_an_error_speaks_the_language_and_direction_of_its_reader():
    with translation.override("ar"):
        page = render_to_string("404.html")
    assert '<html lang="ar" dir="rtl">' in page


def test_the_sign_in_page_names_the_product_and_keeps_the_way_back():
    page = Client().get("/login/?next=/?session=7c0e6f5a").content.decode()
    assert "<h1>Sign in to agent_websocket</h1>" in page
    assert '<input type="hidden" name="next" value="/?session=7c0e6f5a">' in page
