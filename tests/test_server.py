"""What the launcher says when it starts."""

import pytest
from structlog.testing import capture_logs

from agent.serving import launcher


@pytest.mark.parametrize(
    ("debug", "host", "warned"),
    [
        (True, "0.0.0.0", True),
        (True, "::", True),
        (True, "192.168.1.7", True),
        (True, "my-machine", True),
        (True, "127.0.0.1", False),
        (True, "127.0.0.2", False),
        (True, "::1", False),
        (True, "localhost", False),
        (False, "0.0.0.0", False),
    ],
)
def test_debug_for_everybody_is_told_in_the_banner_and_the_log(
    settings, capsys, debug, host, warned
):
    settings.DEBUG = debug
    with capture_logs() as lines:
        launcher._banner(host, 8000)
    assert ("WARNING: DEBUG is on" in capsys.readouterr().out) is warned
    assert [line["host"] for line in lines if line["log_level"] == "warning"] == [host] * warned
