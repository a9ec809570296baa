# SPDX-License-Identifier: MIT
"""`tieline call`: arguments, output and exit codes, against a server of `tieline serve`."""

import json
import sys
from pathlib import Path

import pytest

from tests.certificates import Certificates
from tests.cli.conftest import Served
from tests.cli.programs import CommandLine, program

RESULTS = [
    (("add", "1", "2"), "3\n", {"result": 3}),
    (("add", "a=41"), "42\n", {"result": 42}),
    (("add", "-5"), "-4\n", {"result": -4}),
    (("echo", "hello world"), "hello world\n", {"result": "hello world"}),
    (("echo", "12"), "12\n", {"result": 12}),
    (("echo", '"12"'), "12\n", {"result": "12"}),
    (("echo", "null"), "null\n", {"result": None}),
    (("echo", "timeout=5", "--timeout", "7"), None, None),
    (("echo", '{"a": [1, "\\u001b"]}'), '{"a": [1, "\\u001b"]}\n', {"result": {"a": [1, "\x1b"]}}),
    (("echo", "--", "--json"), "--json\n", None),
    (("the-name", "timeout=1", "method=2"), '{"timeout": 1, "method": 2}\n', {"result": {"timeout": 1, "method": 2}}),
]


@pytest.mark.parametrize(
    ("words", "text", "answer"), RESULTS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_the_result_is_printed_for_people_and_for_programs(
    tieline: CommandLine, served: Served, words: tuple[str, ...], text: str | None, answer: object
) -> None:
    done = tieline("call", served.unix, *words)
    if text is None:  # an argument by name that echo does not have
        assert done.code == 8
        return
    assert (done.code, done.out, done.err) == (0, text, "")
    if answer is not None:
        done = tieline("call", "--json", served.tcp, *words)
        assert (done.code, json.loads(done.out), done.err) == (0, answer, "")


def test_tls_is_spoken_with_whom_it_trusts(tieline: CommandLine, served: Served, certificates: Certificates) -> None:
    assert tieline("call", served.tls, "add", "1", "--tls-ca", certificates.ca).out == "2\n"
    named = ("--tls-ca", certificates.ca, "--server-hostname", "host.example")
    assert tieline("call", served.tls, "add", "1", *named).out == "2\n"


@pytest.mark.parametrize("protocol", ["2.0", "1.0", "loose", "auto"])
def test_each_protocol_can_be_chosen(tieline: CommandLine, served: Served, protocol: str) -> None:
    done = tieline("call", served.tcp, "add", "1", "2", "--protocol", protocol)
    assert (done.code, done.out) == ((1, "") if protocol == "1.0" else (0, "3\n"))
    if protocol == "1.0":  # the server speaks 2.0
        assert "(code -32600)" in done.error


ERRORS = [
    (("fail", "7", "not enough"), 1, 'answered with an error: not enough (code 7), data: {"seen":[1,2]}'),
    (("fail", "7", "a\x1bb\nc"), 1, "a\\u001bb\\u000ac"),
    (("ad", "1"), 7, "has no method 'ad'; did you mean 'add'? (tieline methods "),
    (("zzz",), 7, "has no method 'zzz'; it has: add, echo, the-name, fail, hang, hang_up, ask, news ("),
    (("ask", "zzz"), 7, 'answered with an error: unknown method "zzz" (code -32601)'),
    (("add", "one"), 8, "parameter 'a': expected `int`, got `str` (code -32602); it is add(a: integer, b?: integer)"),
    (("add",), 8, "missing argument 'a' (code -32602); it is add("),
    (("hang", "--timeout", "0.1"), 5, "no reply from "),
    (("hang_up",), 6, "the connection went down before the reply came"),
    (("echo", '"\\ud800"'), 2, "the arguments cannot be sent: "),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "text"), ERRORS, ids=lambda value: value[0] if isinstance(value, tuple) else ""
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(
    tieline: CommandLine, served: Served, words: tuple[str, ...], code: int, text: str
) -> None:
    done = tieline("call", served.tcp, *words)
    assert (done.code, done.out) == (code, "")
    assert text in done.error


def test_an_error_for_programs_is_on_standard_output(tieline: CommandLine, served: Served) -> None:
    done = tieline("call", served.tcp, "fail", "7", "not enough", "--json")
    assert json.loads(done.out) == {"error": {"code": 7, "message": "not enough", "data": {"seen": [1, 2]}}}
    assert done.code == 1
    assert "not enough" in done.error


# --- batches ---------------------------------------------------------------------------------------------------------

LINES = """
["add", 1, 2]
{"jsonrpc": "2.0", "method": "fail", "params": [7, "not enough"], "id": "x"}

{"method": "add", "params": {"a": 1}}
["add", "one"]
"""
TEXT = """\
add   3
fail  error: not enough (code 7)
add   error: parameter 'a': expected `int`, got `str` (code -32602)
1 notification sent (requests without an id are not answered)
"""
OBJECTS = [
    {"result": 3},
    {"id": "x", "error": {"code": 7, "message": "not enough", "data": {"seen": [1, 2]}}},
    {"error": {"code": -32602, "message": "parameter 'a': expected `int`, got `str`"}},
]


def test_a_batch_of_lines(tieline: CommandLine, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_text(LINES)
    done = tieline("call", served.tcp, "--batch", str(path))
    assert (done.code, done.out, done.error) == (1, TEXT, "2 of 3 calls failed")
    done = tieline("call", served.tcp, "--batch", str(path), "--json")
    assert (done.code, json.loads(done.out)) == (1, OBJECTS)


ARRAYS = [
    ('[["add", 1, 2], ["add", 3]]', "add  3\nadd  4\n"),
    ('[\n{"method": "add", "params": [1, 2], "id": 1}\n]', "add  3\n"),
    ('["add", 1, 2]', "add  3\n"),
    ('["add", 1]\n["echo", "ä"]', "add   2\necho  ä\n"),
    ('{"method": "echo", "params": [1]}', "1 notification sent (requests without an id are not answered)\n"),
]


@pytest.mark.parametrize(("text", "printed"), ARRAYS)
def test_other_forms_of_a_batch(tieline: CommandLine, served: Served, tmp_path: Path, text: str, printed: str) -> None:
    path = tmp_path / "batch"
    path.write_text(text, encoding="utf-8")
    done = tieline("call", served.tcp, "--batch", str(path))
    assert (done.code, done.out, done.err) == (0, printed, "")


def test_a_batch_can_come_by_a_pipe(served: Served) -> None:
    done = program("call", served.tcp, "--batch", "-", stdin='["add", 1, 2]\n')
    assert (done.code, done.out, done.err) == (0, "add  3\n", "")


def test_a_batch_cannot_come_by_a_pipe_that_is_closed(
    tieline: CommandLine, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it then
    done = tieline("call", served.tcp, "--batch", "-")
    assert (done.code, done.error) == (2, "cannot read the batch standard input: it is closed")


def test_what_ends_a_line_elsewhere_is_a_character_of_a_text(
    tieline: CommandLine, served: Served, tmp_path: Path
) -> None:
    path = tmp_path / "batch"
    text = "a\u2028b\u0085c"
    path.write_text(f'["echo", "{text}"]\r\n\r\n["add", 1]\n', "utf-8")
    done = tieline("call", served.tcp, "--batch", str(path), "--json")
    assert (done.code, [answer["result"] for answer in json.loads(done.out)]) == (0, [text, 2])


BAD_BATCHES = [
    (b"", "is empty; expected lines like"),
    (b"[]", "names no method"),
    (b"nonsense", "line 1 is not JSON"),
    (b'["add", 1]\n{', "line 2 is not JSON"),
    (b'["add", NaN]', "line 1 is not JSON"),
    (b'["add", 1e999]', "line 1 is not JSON"),
    (b"[" * 100_000, "line 1 is not JSON: too many brackets"),
    (b'[["add"], 7]', "request 2 is not a request"),
    (b'{"params": []}', "names no method"),
    (b'{"method": "", "id": 1}', "names no method"),
    (b'{"method": "add", "params": 7}', "params must be an array or an object"),
    (b'["add", "\xff"]', "is not UTF-8 text"),
    (b'["echo", "\\ud800"]', "the batch cannot be sent"),
    (b'["add", 1]\n' * 2000, "the batch cannot be sent: "),
]


@pytest.mark.parametrize(("content", "text"), BAD_BATCHES, ids=lambda value: str(value)[:20])
def test_a_batch_that_cannot_be_is_told(
    tieline: CommandLine, served: Served, tmp_path: Path, content: bytes, text: str
) -> None:
    path = tmp_path / "batch"
    path.write_bytes(content)
    done = tieline("call", served.tcp, "--batch", str(path))
    assert (done.code, done.out) == (2, "")
    assert text in done.error


def test_a_batch_that_cannot_be_read_is_told(tieline: CommandLine, served: Served, tmp_path: Path) -> None:
    done = tieline("call", served.tcp, "--batch", str(tmp_path / "nothing"))
    assert done.code == 2
    assert f"cannot read the batch {tmp_path}/nothing: no such file or directory" in done.error
    assert tieline("call", served.tcp, "--batch", str(tmp_path)).code == 2


def test_version_1_has_no_batches(tieline: CommandLine, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_text('["add", 1]')
    done = tieline("call", served.tcp, "--batch", str(path), "--protocol", "1.0")
    assert done.code == 2
    assert "the batch cannot be sent: " in done.error


def test_no_answers_in_time_to_a_batch(tieline: CommandLine, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_text('["hang"]')
    done = tieline("call", served.tcp, "--batch", str(path), "--timeout", "0.1")
    assert (done.code, done.out) == (5, "hang  error: no reply in time\n")
    assert done.error == "1 of 1 calls failed"
