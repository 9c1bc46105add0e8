"""The documents and the browser's client follow the table of close codes."""

import json
import re

import pytest

from agent.protocol.close_codes import CloseCode
from tests.support import ROOT
from tests.support.node import run_node

#: Sent by the WebSocket library and not by us.
_OF_THE_LIBRARY = {1009: True}
_TABLE = {int(code): code.reconnect for code in CloseCode} | _OF_THE_LIBRARY


def test_the_protocol_document_has_each_code_and_whether_to_reconnect():
    text = (ROOT / "docs/protocol.md").read_text()
    section = text.partition("## Close codes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d{4}) \| [^|]+ \| (yes|no) \|", section, re.MULTILINE)
    assert {int(code): answer == "yes" for code, answer in rows} == _TABLE


@pytest.mark.node
def test_the_browser_s_client_reconnects_after_the_same_codes():
    script = f"""
        import {{ afterClose }} from "{ROOT}/agent/static/agent/client/connection/reconnect.js";
        const codes = {json.dumps([*_TABLE, 1001, 1006, 1011, 1012])};
        const again = codes.map((code) => [code, afterClose(code, {{ tries: 0 }}).again]);
        console.log(JSON.stringify(again));
    """
    done = run_node("--input-type=module", "--eval", script)
    found = dict(json.loads(done.stdout))
    assert found == {**_TABLE, 1001: True, 1006: True, 1011: True, 1012: True}
