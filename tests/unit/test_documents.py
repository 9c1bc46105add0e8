"""What `docs/operations.md` tells people to paste does what it says."""

import configparser
import re

from tests.support import ROOT

TEXT = (ROOT / "docs" / "operations.md").read_text()
CRON = re.findall(r"^    \S+ \S+ \* \* \*  +(.+)$", TEXT, re.MULTILINE)


def test_every_maintenance_command_has_a_cron_line():
    assert [line.split()[-1] for line in CRON] == ["clear_expired_sessions", "clearsessions"]


def test_the_systemd_unit_is_whole():
    (unit,) = re.findall(r"^    \[Unit\]\n(?:(?:    .*)?\n)+", TEXT, re.MULTILINE)
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str
    parsed.read_string(re.sub("^    ", "", unit, flags=re.MULTILINE))
    assert parsed["Service"]["User"] and parsed["Install"]["WantedBy"]
    (drain,) = re.findall(
        r"^# ?DRAIN_SECONDS=(\d+)", (ROOT / ".env.example").read_text(), re.MULTILINE
    )
    assert int(parsed["Service"]["TimeoutStopSec"]) >= int(drain) + 25
