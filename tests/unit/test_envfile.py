"""A file of variables is read as people write it, or refused by file and line alone."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from agentsite import envfile

CANARY = "sk-or-v1-CANARY"


def values(content):
    raw = content if isinstance(content, bytes) else content.encode()
    return {found.name: found.value for found in envfile.parse(raw, "some/.env")}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("NAME = value", "value"),
        ("NAME\t=\tvalue\t", "value"),
        ("  NAME=value  ", "value"),
        ("export NAME=value", "value"),
        ("export\tNAME = value", "value"),
        ("NAME=", ""),
        ("NAME= # nothing", ""),
        ("NAME=x # comment", "x"),
        ("NAME=x\t# comment", "x"),
        ("NAME=x#y", "x#y"),
        ("NAME=#x", "#x"),
        ("NAME=a=b==", "a=b=="),
        ("NAME=$ecret${x}", "$ecret${x}"),
        ("NAME=two words", "two words"),
        ("NAME=it's fine", "it's fine"),
        ('NAME="value" # comment', "value"),
        ('NAME="a # b"', "a # b"),
        ("NAME='a # b'  ", "a # b"),
        ('NAME = "  kept  "', "  kept  "),
        (r'NAME="a\nb\t\"c\" \\ \$d"', 'a\nb\t"c" \\ $d'),
        (r'NAME="C:\dir"', r"C:\dir"),
        (r"NAME='a\nb $c \"d\"'", r"a\nb $c \"d\""),
        (r"NAME='it\'s'", "it's"),
        ('NAME="one\ntwo"', "one\ntwo"),
        ("NAME='one\r\ntwo'", "one\ntwo"),
        ('NAME=""', ""),
        ("NAME=Grüße 你好", "Grüße 你好"),
        ("NAME=a\u2028b\x0bc\x85d", "a\u2028b\x0bc\x85d"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_a_line_is_read_as_it_is_meant(line, value, end):
    assert values(line + end) == {"NAME": value}
    after = "" if not end else f"OTHER=1{end}"
    assert values(f"# comment{end or chr(10)}{end}{line}{end}{after}") == {
        "NAME": value,
        **({"OTHER": "1"} if after else {}),
    }


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    assert values(b"\xef\xbb\xbfNAME=value\r\nOTHER=1\r\n") == {"NAME": "value", "OTHER": "1"}


def test_each_variable_knows_its_line():
    content = b"\xef\xbb\xbf# one\r\n\r\nA=1\r\nB='x\r\ny'\r\nC=3"
    found = envfile.parse(content, ".env")
    assert [(one.name, one.line) for one in found] == [("A", 3), ("B", 4), ("C", 6)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    "bad",
    [
        f"OPENROUTER_API_KEY {CANARY}".encode(),
        f"OPENROUTER_API_KEY: {CANARY}".encode(),
        f"OPENROUTER-API KEY={CANARY}".encode(),
        f"1KEY={CANARY}".encode(),
        f"={CANARY}".encode(),
        CANARY.encode(),
        f"export {CANARY}".encode(),
        f'KEY="{CANARY}'.encode(),
        f"KEY='{CANARY}".encode(),
        f'KEY="{CANARY}" {CANARY}'.encode(),
        f"KEY='a'{CANARY}".encode(),
        f"\u00a0KEY={CANARY}".encode(),
        f"KEY={CANARY}\0".encode(),
        f"KEY={CANARY}".encode() + b"\xff",
        f"KEY={CANARY} \u00e9".encode("latin-1"),
        f"GOOD={CANARY}".encode(),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_line_and_never_shown(bad, end):
    with pytest.raises(ImproperlyConfigured) as refusal:
        values(b"# first" + end + b"GOOD=1" + end + bad + end)
    words = str(refusal.value)
    assert words.startswith("some/.env, line 3: ")
    assert "CANARY" not in words
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_with_what_to_do(encoding):
    with pytest.raises(ImproperlyConfigured, match=r"some/\.env, line 1: "):
        values(f"KEY={CANARY}\r\n".encode(encoding))


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file" / "below"):
        (tmp_path / "file").touch()
        with pytest.raises(ImproperlyConfigured, match="cannot be read") as refusal:
            envfile.read(path)
        assert str(path) in str(refusal.value)
