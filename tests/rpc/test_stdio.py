# SPDX-License-Identifier: MIT
"""Servers on standard input and output: whatever the program prints, the protocol stays clean."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import tieline
from tests.certificates import Certificates
from tests.promptness import prompt
from tieline import blocking

PROGRAM = Path(__file__).with_name("stdio_program.py")
# What was printed before is to wait in a buffer, as it does where nobody asks for the contrary.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
RUNTIMES = ["asyncio", "uvloop", "trio", "blocking"]


def line(id_: int, method: str, *params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}).encode() + b"\n"


def answers(output: bytes) -> dict[int, Any]:
    return {answer["id"]: answer.get("result", answer.get("error")) for answer in map(json.loads, output.splitlines())}


def run(runtime: str, data: bytes, **settings: Any) -> tuple[bytes, bytes]:
    """Run the server with *data* as its input, and return what it wrote to its output and to standard error."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), runtime],
        input=data,
        capture_output=True,
        timeout=30,
        check=True,
        env=ENVIRONMENT,
        **settings,
    )
    return done.stdout, done.stderr


def command(runtime: str, *args: str, **settings: Any) -> tieline.Command:
    return tieline.Command([sys.executable, str(PROGRAM), runtime, *args], env=ENVIRONMENT, grace=10, **settings)


@pytest.fixture(params=RUNTIMES)
def runner(request: pytest.FixtureRequest) -> str:
    """Give the runtime of the server."""
    name: str = request.param
    return name


def test_all_answers_are_out_at_the_end_of_the_input(runner: str) -> None:
    """Those of 200 calls, the last of which have not been read when the input ends."""
    output, errors = run(runner, b"".join(line(n, "add", n, 1) for n in range(200)))
    protocol, _, rest = output.rpartition(b"after\n")
    assert answers(protocol) == {n: n + 1 for n in range(200)}
    assert rest == b""
    assert errors.startswith(b"before")
    assert errors.count(b"adding\n") == 200


def test_prints_and_c_libraries_do_not_get_into_the_protocol(runner: str) -> None:
    with blocking.connect(command(runner, stderr="discard")) as session:
        noise = session.send_request("noise", (10_000,))
        assert session.call("add", 1, 2) == 3
        assert noise.result() == 10_000
        assert session.call("add", 1, 2) == 3
        assert session.stats.errors == 0


def test_what_was_printed_is_on_standard_error_and_nothing_is_left_to_read(runner: str) -> None:
    output, errors = run(runner, line(1, "noise", 10) + line(2, "read_input"))
    assert answers(output.removesuffix(b"after\n")) == {1: 10, 2: ""}
    for text in (b"noise 9\n", b"noise by the system\n", b"noise by C\n", b"noise by stdio\n"):
        assert text in errors


@pytest.mark.row("D6")
def test_tls_starts_on_it(runner: str, certificates: Certificates) -> None:
    with blocking.connect(command(runner)) as session:
        session.call("start_tls", str(certificates.server))
        session.start_tls(tieline.TLS(ca=certificates.ca, server_hostname="localhost"))
        assert session.call("add", 1, 2) == 3
        assert session.get_extra_info("ssl_object") is not None


@pytest.mark.row("J2", "J4")
def test_what_is_no_call_is_told_so(runner: str) -> None:
    """Who has started it is trusted with much, and calls it all the same: an object without a method is a fault."""
    output, _ = run(runner, b'{}\n{"jsonrpc":"2.0","id":7}\n{"jsonrpc":"2.0","params":[1]}\n' + line(1, "add", 1, 2))
    *faults, good = map(json.loads, output.removesuffix(b"after\n").splitlines())
    assert [(fault["error"]["code"], fault["id"]) for fault in faults] == [(-32600, None), (-32600, 7), (-32600, None)]
    assert (good["id"], good["result"]) == (1, 3)


def test_calls_go_both_ways_and_the_server_may_end_it(runner: str) -> None:
    methods = tieline.Methods()

    @methods.method
    def who(name: str) -> str:
        return f"you are {name}"

    framer = tieline.ContentLengthFramer
    with blocking.connect(command(runner, "content-length"), methods, framer=framer) as session:
        assert session.call("ask", "Ann") == "you are Ann"
        assert len(session.call("big", 3_000_000)) == 3_000_000
        assert session.call("leave") == "bye"
        session.wait_closed(timeout=10)
        assert isinstance(session.close_reason, tieline.EndOfStream)


def test_a_signal_ends_it_in_order(runner: str) -> None:
    with blocking.connect(command(runner)) as session:
        while not session.call("watches_signals"):
            pass
        session.get_extra_info("subprocess").send_signal(signal.SIGTERM)
        session.wait_closed(timeout=10)
        assert "exit code 0" in str(session.close_reason)


def note(text: str) -> bytes:
    return b'{"jsonrpc":"2.0","method":"note","params":["%b"]}\n' % text.encode()


@contextmanager
def hanging(runner: str, **settings: Any) -> Generator[tuple[Any, Any, Any]]:
    """Give a server that handles a call without an end, its input, and its standard error."""
    argv = [sys.executable, str(PROGRAM), runner]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, **settings) as process:
        asked, errors = process.stdin, process.stderr
        assert asked is not None
        assert errors is not None
        asked.write(line(1, "hang"))
        asked.flush()
        try:
            assert errors.readline() == b"beforehangs\n"
            yield process, asked, errors
        finally:
            process.kill()


@pytest.mark.parametrize("has_ended", [False, True])
def test_it_ends_when_nobody_reads_its_answers_any_more(runner: str, has_ended: bool) -> None:
    with hanging(runner, stdout=subprocess.PIPE) as (process, asked, errors):
        assert process.stdout is not None
        asked.write(note("one") + note("two"))
        asked.flush()
        if has_ended:
            asked.close()
            assert errors.readline() == b"one\n"
        process.stdout.close()
        began = monotonic()
        process.wait(10)
        assert monotonic() - began < prompt(1)
        # Behind the end of both, a handler in a thread may print when the streams are given back.
        assert has_ended or b"two\n" in errors.read()


def test_a_pipe_with_a_name_may_be_read_by_another_one(runner: str, tmp_path: Path) -> None:
    path = tmp_path / "answers"
    os.mkfifo(path)

    def opened() -> Any:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(reader, True)
        return os.fdopen(reader, "rb")

    first = opened()
    writer = os.open(path, os.O_WRONLY)
    with hanging(runner, stdout=writer) as (_, asked, errors):
        os.close(writer)
        first.close()
        for text in ("heard", "and once more, in another turn of its loop"):
            asked.write(note(text))
            asked.flush()
            assert errors.readline() == text.encode() + b"\n"
        with opened() as second:
            asked.write(line(2, "add", 1, 2))
            asked.flush()
            assert json.loads(second.readline())["result"] == 3


@pytest.mark.parametrize("runner", ["asyncio", "trio"])
def test_files_serve_as_input_and_output(runner: str, tmp_path: Path) -> None:
    asked, told = tmp_path / "asked", tmp_path / "told"
    asked.write_bytes(b"".join(line(n, "add", n, 1) for n in range(100)))
    with asked.open("rb") as reader, told.open("wb") as writer:
        subprocess.run(
            [sys.executable, str(PROGRAM), runner],
            stdin=reader, stdout=writer, stderr=subprocess.DEVNULL, timeout=30, check=True, env=ENVIRONMENT,
        )  # fmt: skip
    assert answers(told.read_bytes().removesuffix(b"after\n")) == {n: n + 1 for n in range(100)}


@pytest.mark.parametrize("runner", ["asyncio", "trio"])
def test_the_null_device_is_an_end(runner: str) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), runner], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30
    )
    assert done.returncode == 0


@pytest.mark.parametrize("runner", ["asyncio", "trio"])
def test_a_terminal_serves_as_well(runner: str) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), runner],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    ) as process:
        os.close(theirs)
        os.write(ours, line(1, "add", 1, 2) + b"\x04")  # Ctrl-D
        assert process.stdout is not None
        assert process.stdout.read() == b'{"jsonrpc":"2.0","result":3,"id":1}\nafter\n'
    os.close(ours)


@pytest.mark.parametrize("runner", RUNTIMES)
def test_what_is_typed_when_it_no_longer_serves_is_the_programs(runner: str) -> None:
    """The thread that reads the terminal is gone by then, and takes no line away."""
    ours, theirs = os.openpty()
    argv = [sys.executable, str(PROGRAM), runner, "read-on"]
    settings: dict[str, Any] = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, env=ENVIRONMENT, **settings) as process:
        os.close(theirs)
        assert process.stdout is not None
        os.write(ours, line(1, "leave"))
        assert process.stdout.readline() == b'{"jsonrpc":"2.0","result":"bye","id":1}\n'
        assert process.stdout.readline() == b"after\n"
        os.write(ours, b"typed later\n")
        try:
            assert process.communicate(timeout=30)[0] == b"then typed later\n"
        finally:
            process.kill()
    os.close(ours)


@pytest.mark.parametrize("runner", ["asyncio", "trio"])
def test_a_socket_for_both_serves_as_well(runner: str) -> None:
    """So inetd starts servers."""
    ours, theirs = socket.socketpair()
    with (
        theirs,
        ours,
        subprocess.Popen(
            [sys.executable, str(PROGRAM), runner],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        ),
    ):
        theirs.close()
        ours.sendall(line(1, "big", 1_000_000))
        ours.shutdown(socket.SHUT_WR)
        ours.settimeout(20)
        told = b"".join(iter(lambda: ours.recv(1 << 16), b""))
    assert told.startswith(b'{"jsonrpc":"2.0","result":"xxx')
    assert told.endswith(b'xxx","id":1}\nafter\n')


def test_standard_error_that_shares_the_pipe_of_the_output_is_not_made_to_fail() -> None:
    """`2>&1`: standard error must go on waiting for its reader, whatever this does to the output."""
    program = "import os, asyncio, tieline; asyncio.run(tieline.serve(tieline.Methods(), 'stdio:').serve_forever())"
    check = f"{program}\nimport sys; sys.exit(not os.get_blocking(2))"
    done = subprocess.run(
        [sys.executable, "-c", check], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_a_closed_descriptor_is_told() -> None:
    program = "import asyncio, tieline; asyncio.run(tieline.serve(tieline.Methods(), 'stdio:').serve_forever())"
    done = subprocess.run(["sh", "-c", f'exec "{sys.executable}" -c "{program}" <&-'], capture_output=True, timeout=30)
    assert b"standard input (descriptor 0) is not open" in done.stderr


def test_without_standard_error_prints_go_nowhere() -> None:
    """Descriptor 2 is another file's then, the loop's own perhaps."""
    code = f"import os, sys; os.close(2); os.execv(sys.executable, [sys.executable, {str(PROGRAM)!r}, 'asyncio'])"
    done = subprocess.run(
        [sys.executable, "-c", code], input=line(1, "add", 2, 3), stdout=subprocess.PIPE, timeout=30, check=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    assert answers(done.stdout.rpartition(b"after\n")[0]) == {1: 5}


def test_it_is_served_once_at_a_time() -> None:
    program = """
import asyncio, tieline
async def main():
    async with tieline.serve(tieline.Methods(), "stdio:") as server:
        assert server.url == "stdio:"
        assert len(server.sessions) == 1
        try:
            await tieline.serve(tieline.Methods(), "stdio:").listen()
        except tieline.TielineError as exc:
            import sys
            print(type(exc).__name__, exc, file=sys.stderr)
asyncio.run(main())
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], input=b"", capture_output=True, timeout=30, check=True)
    assert done.stderr.count(b"BusyResourceError standard input and output are served on already") == 2
