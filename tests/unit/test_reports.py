"""The page about an exception that DEBUG shows holds no secret of the deployment."""

import sys

import pytest
from django.test import RequestFactory
from django.views import debug

from agentsite.redaction import secrets_of

CANARIES = {
    "key": "sk-or-v1-canary-key<&>'\"",
    "metrics": "canary-metrics-token",
    "redis": "canary%2Fredis%20word",
    "former": "canary-former-key-" * 3,
}
SHORT = "cnry"
HEADERS = {
    "Authorization": "Bearer canary-header",
    "Cookie": "agent_visitor=canary-cookie; sessionid=canary-login; theme=dark",
    "Sec-WebSocket-Protocol": "bearer.canary-header-7",
}


@pytest.fixture
def report(settings):
    """The page about an exception whose traceback has every secret as a variable."""
    address = f"redis://ann:{CANARIES['redis']}@127.0.0.1:6379/0"
    socket = f"unix:///run/redis.sock?db=1&password={CANARIES['metrics']}"
    settings.DEBUG = True
    settings.REDIS_URL = address
    settings.EXTRA_URL = f"postgres://ann:{SHORT}@127.0.0.1/agent"
    settings.CHANNEL_LAYERS = {"default": {"CONFIG": {"hosts": [{"address": address}]}}}
    settings.AGENT = {**settings.AGENT, "redis_url": address, "openrouter_api_key": CANARIES["key"]}
    settings.SECRET_KEY_FALLBACKS = [CANARIES["former"]]
    settings.LOGGING = {
        **settings.LOGGING,
        "secrets": secrets_of(address, socket, CANARIES["key"], CANARIES["former"]),
    }
    request = RequestFactory().get("/", headers=HEADERS)

    def make(accept):
        values = dict(CANARIES)
        try:
            raise ValueError(f"cannot reach {address} with {values}")
        except ValueError:
            response = debug.technical_500_response(
                RequestFactory().get("/", headers={"Accept": accept}), *sys.exc_info()
            )
            reporter = debug.get_exception_reporter_class(request)(request, *sys.exc_info())
            whole = reporter.get_traceback_html() + reporter.get_traceback_text()
            return response.content.decode() + whole

    return make


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_no_secret_is_on_the_page_about_an_exception(report, accept):
    page = report(accept)
    assert "cannot reach redis://" in page
    assert "REDIS_URL" in page and "dark" in page
    for word in ("canary", SHORT):
        shown = [line for line in page.splitlines() if word in line]
        assert not shown, shown
