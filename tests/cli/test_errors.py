# SPDX-License-Identifier: MIT
"""What keeps a command from talking: one line each, with what to do, and exit codes that differ."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.certificates import Certificates
from tests.cli.conftest import Served
from tests.cli.programs import SERVICE, CommandLine, Done, answering, argv, program, started


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_a_dead_port(tieline: CommandLine) -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    done = tieline("call", url, "add", "1")
    assert done.code == 3
    assert done.error.startswith(f"cannot connect to {url}: Connection refused")
    assert done.error.endswith("is the server running, and listening there?")


def test_no_socket_there(tieline: CommandLine, tmp_path: Path) -> None:
    done = tieline("call", f"unix:{tmp_path}/nobody", "add", "1")
    assert done.code == 3
    assert "No such file or directory; is the server running" in done.error


def test_an_unknown_host(tieline: CommandLine) -> None:
    done = tieline("call", "tcp://no.such.host.invalid:4000", "add")
    assert done.code == 3
    assert done.error.startswith("cannot resolve host 'no.such.host.invalid': ")
    assert done.error.endswith("; check the name in tcp://no.such.host.invalid:4000")


def test_a_name_that_does_not_match(tieline: CommandLine, served: Served, certificates: Certificates) -> None:
    options = ("--tls-ca", certificates.ca, "--server-hostname", "elsewhere.example")
    done = tieline("call", served.tls, "add", "1", *options)
    assert done.code == 4
    assert done.error == (
        f"no trust in {served.tls}: Hostname mismatch, certificate is not valid for 'elsewhere.example'; "
        "--server-hostname says whose certificate it should be"
    )


def test_an_authority_that_is_not_trusted(tieline: CommandLine, served: Served) -> None:
    done = tieline("call", served.tls, "add", "1")
    assert done.code == 4
    assert done.error.startswith(f"no trust in {served.tls}: unable to get local issuer certificate; ")
    assert done.error.endswith("name it with --tls-ca FILE")


def test_a_server_that_speaks_no_tls(tieline: CommandLine, served: Served) -> None:
    done = tieline("call", served.tcp.replace("tcp:", "tls:"), "add", "1")
    assert done.code == 4
    assert done.error.endswith("if the server does not speak TLS, use tcp:// instead of tls://")
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        done = tieline("call", f"tls://127.0.0.1:{port}", "add", "1")
    assert done.code == 4
    assert done.error.endswith("use tcp:// instead of tls://")
    done = tieline("call", served.tcp.replace("tcp:", "wss:"), "add", "1")
    assert done.code == 4
    assert done.error.endswith("if the server does not speak TLS, use ws:// instead of wss://")


def test_a_server_that_speaks_tls_only(tieline: CommandLine, served: Served) -> None:
    done = tieline("call", f"tcp://127.0.0.1:{served.tls_port}", "add", "1")
    assert done.code == 6
    assert done.error.endswith("if it speaks TLS or another framing, say tls:// or --framing")


def test_a_server_that_wants_a_certificate(tieline: CommandLine, certificates: Certificates, tmp_path: Path) -> None:
    own = ("--tls-cert", certificates.server, "--tls-client-ca", certificates.ca)
    with started("serve", "tieline.cli.demo_service", "-l", "tls://127.0.0.1:0", *own, cwd=tmp_path) as server:
        (url,) = server.urls()
        done = tieline("call", url, "add", "1", "--tls-ca", certificates.ca)
        assert done.code == 4
        assert done.error.endswith("it wants a certificate of yours: --tls-cert")
        shown = ("--tls-ca", certificates.ca, "--tls-cert", certificates.client)
        assert tieline("call", url, "add", "1", *shown).out == "2\n"


def test_a_peer_that_speaks_something_else(tieline: CommandLine) -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        done = tieline("call", f"tcp://127.0.0.1:{port}", "add", "1")
    assert done.code == 6
    assert "the peer speaks HTTP, not JSON-RPC" in done.error


def test_a_peer_that_says_nothing(tieline: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        done = tieline("call", f"tls://127.0.0.1:{port}", "add", "--timeout", "0.1")
        assert done.code == 3
        assert "within 0.1 s; is it the right host? (--timeout gives it longer)" in done.error
        done = tieline("call", f"tcp://127.0.0.1:{port}", "add", "--timeout", "0.1")
        assert done.code == 5
        assert "no reply from" in done.error


USAGE = [
    (("call", "http://host:1", "add"), "a URL must start with one of tcp:, tls:, unix:"),
    (("call", "tcp://user:secret@host:1", "add"), "there is an '@' in it"),
    (("call", "tcp://host", "add"), "the port is missing in tcp://host"),
    (("call", "tcp://host:1"), "say which METHOD is to be called, or --batch FILE"),
    (("call", "tcp://host:1", "add", "--batch", "x"), "and not both"),
    (("call", "tcp://host:1", "add", "a=1", "2"), "by name or by position, not both"),
    (("call",), "missing argument 'URL'; see tieline call --help"),
    (("call", "tcp://host:1", "add", "--tiemout", "5"), "no such option: --tiemout (did you mean --timeout?)"),
    (("call", "tcp://host:1", "add", "--whatever"), "(an argument that begins with - goes behind --)"),
    (("call", "tcp://host:1", "add", "-x"), "no such option: -x"),
    (("call", "tcp://host:1", "add", "--timeout", "soon"), "--timeout"),
    (("call", "tcp://host:1", "add", "--timeout", "-1"), "--timeout"),
    (("call", "tcp://host:1", "add", "--framing", "smoke"), "--framing"),
    (("call", "tls://host:1", "add", "--server-hostname", ""), "--server-hostname must not be empty"),
    (("call", "tls://host:1", "add", "--tls-key", "x"), "a key goes with a certificate"),
    (("call", "tls://host:1", "add", "--tls-ca", "/nowhere.pem"), "No such file or directory: '/nowhere.pem'"),
    (("call", "tls://host:1", "add", "--tls-ca", __file__), "there is no PEM certificate"),
    (("call", "unix:x", "add", "--tls-ca", "x"), "give server_hostname"),
    (("listen", "tcp://host:1", "news"), "arguments need a method: --call METHOD ARGS"),
    (("clal",), "no such command"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "text"), USAGE, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_a_command_line_that_cannot_be(tieline: CommandLine, words: tuple[str, ...], text: str) -> None:
    done = tieline(*words)
    assert (done.code, done.out) == (2, "")
    assert text in done.error
    assert "secret" not in done.error


def test_the_four_that_must_differ(tieline: CommandLine, served: Served, certificates: Certificates) -> None:
    trust = ("--tls-ca", certificates.ca)
    codes = [
        tieline("call", f"tcp://127.0.0.1:{free_port()}", "add", "1").code,
        tieline("call", served.tls, "nothing", *trust).code,
        tieline("call", served.tls, "add", "x", *trust).code,
        tieline("call", served.tls, "add", "1", *trust, "--server-hostname", "elsewhere.example").code,
    ]
    assert codes == [3, 7, 8, 4]


def test_ctrl_c_is_no_traceback(tieline: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(main: object, *args: object, **kwargs: object) -> None:
        main.close()  # type: ignore[attr-defined]  # a coroutine
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run", interrupted)
    done = tieline("call", "tcp://127.0.0.1:1", "add")
    assert (done.code, done.out, done.err) == (130, "", "")


def test_ctrl_c_while_it_is_loaded_is_no_traceback_either(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = program("version", variables={"PYTHONPATH": paths})
    assert (done.code, done.out, done.err) == (130, "", "")


def test_what_is_our_own_fault_is_not_hidden(tieline: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> Callable[[], None]:
        raise ZeroDivisionError

    monkeypatch.setattr("tieline.cli.call.arguments", broken)
    with pytest.raises(ZeroDivisionError):
        tieline("call", "tcp://127.0.0.1:1", "add")


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")


def told_with(words: tuple[str, ...], shell: str) -> tuple[int, str]:
    """Run a command with its output redirected as a *shell* says it; return its exit code, and what it says of it."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {shell}', "sh", *argv(*words)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@needs_full
@pytest.mark.parametrize("words", [("call", "{}", "add", "1"), ("methods", "{}"), ("top", "{}", "--once"), ("--help",)])
def test_a_full_disk_behind_the_output_is_one_line(words: tuple[str, ...], served: Served) -> None:
    code, told = told_with(tuple(word.format(served.tcp) for word in words), ">/dev/full")
    assert code == 9
    assert told == "tieline: standard output cannot be written: no space left on device\n"


@pytest.mark.parametrize(
    "words",
    [("call", "{}", "add", "1"), ("methods", "{}"), ("top", "{}"), ("version",), ("--help",), ("call", "-h"), ()],
)
def test_an_output_that_is_closed_from_the_start_is_one_line(words: tuple[str, ...], served: Served) -> None:
    told = told_with(tuple(word.format(served.tcp) for word in words), ">&-")
    assert told == (9, "tieline: standard output is closed\n")


@pytest.mark.parametrize("shell", ["2>&-", pytest.param("2>/dev/full", marks=needs_full)])
def test_without_standard_error_the_exit_code_tells(shell: str) -> None:
    assert told_with(("call", f"tcp://127.0.0.1:{free_port()}", "add"), shell) == (3, "")


def test_help_that_nobody_reads_is_no_error_of_the_peers() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(argv("--help"), stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_result_that_is_read_in_part_alone_is_no_success(unbuffered: str, served: Served) -> None:
    with subprocess.Popen(
        argv("call", served.tcp, "echo", "x" * 100_000),  # more than a pipe holds
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as caller:
        assert caller.stdout is not None
        assert caller.stdout.read(1) == b"x"
        caller.stdout.close()
        assert caller.wait(60) == 141


def test_a_fault_of_a_command_is_not_taken_for_one_of_the_output(
    tieline: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_name: str) -> str:
        raise OSError("by itself")

    monkeypatch.setattr("tieline.cli.version.version", fail)
    with pytest.raises(OSError, match="by itself"):
        tieline("version")


@needs_full
@pytest.mark.parametrize(("shell", "told"), [
    (">&-", ""),
    (">/dev/full", "tieline: standard output cannot be written: no space left on device\n"),
])  # fmt: skip
def test_a_server_goes_on_without_output(shell: str, told: str, tmp_path: Path, tieline: CommandLine) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    port = free_port()
    words = argv("serve", "service.py", "--listen", f"tcp://127.0.0.1:{port}")
    with subprocess.Popen(
        ["sh", "-c", f'exec "$@" {shell}', "sh", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as server:
        done = Done(3, "", "")
        while done.code == 3 and server.poll() is None:  # until it listens
            done = tieline("call", f"tcp://127.0.0.1:{port}", "add", "1")
        server.terminate()
        assert server.stderr is not None
        assert server.stderr.read() == told
    assert (done.code, done.out, server.returncode) == (0, "2\n", 0)
