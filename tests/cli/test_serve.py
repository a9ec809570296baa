# SPDX-License-Identifier: MIT
"""`tieline serve`: its first lines, where it listens, how it ends; each in a process of its own."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

import tieline as library
from tests.certificates import Certificates
from tests.cli.conftest import Served
from tests.cli.programs import PATIENCE, CommandLine, started

SERVICE = """
import asyncio
import tieline

methods = tieline.Methods()


@methods.method
def add(a: int, b: int = 1) -> int:
    return a + b


@methods.method
async def ask(session: tieline.ServerSession, question: str) -> str:
    return await session.call("answer", question)


@methods.method
def boom() -> None:
    raise RuntimeError("in the log only")


@methods.method
def loop() -> str:
    return type(asyncio.get_running_loop()).__module__


class Session(tieline.ServerSession):
    async def handle_request(self, request):
        return [request.method, self.limits.max_connections_per_peer]


class Raw(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello\\n")
        transport.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(SERVICE)
    return tmp_path


def test_the_first_lines_say_what_where_and_what_next(folder: Path, tieline: CommandLine) -> None:
    with started("serve", "service:methods", "-l", "tcp://127.0.0.1:0", "-l", "unix:s", cwd=folder) as server:
        lines = server.lines_until("Ctrl+C")
        url = lines[1].removeprefix("listening on ")
        assert lines == [
            "serving service:methods: 4 methods (add, ask, boom, loop)",
            f"listening on {url}",
            "listening on unix:s",
            f"try: tieline methods {url}",
            f"try: tieline call {url} add 1",
            "Ctrl+C stops: requests that were accepted are answered",
        ]
        assert library.parse(url).port > 0  # type: ignore[union-attr]  # TCP
        assert tieline(*lines[4].split()[2:]).out == "2\n"
        done = server.end()
        assert (done.code, done.err) == (0, "")
        assert done.out == "stopping: requests that were accepted are answered, for 10 s at most; again to cut them\n"
    assert not (folder / "s").exists()


@pytest.mark.parametrize(("number", "times", "loop"), [(signal.SIGINT, 1, "uvloop"), (signal.SIGTERM, 2, "asyncio")])
async def test_a_signal_lets_it_answer_and_a_second_one_cuts(
    folder: Path, number: signal.Signals, times: int, loop: str
) -> None:
    questions, answers = asyncio.Queue[str](), asyncio.Queue[str]()
    methods = library.Methods()

    @methods.method
    async def answer(question: str) -> str:
        questions.put_nowait(question)
        return await answers.get()

    with started("serve", "service:methods", "-l", "unix:s", "--loop", loop, cwd=folder) as server:
        await asyncio.to_thread(server.urls)
        async with library.connect(f"unix:{folder}/s", methods) as session:
            call = session.send_request("ask", ["ready?"])
            assert await questions.get() == "ready?"
            server.process.send_signal(number)
            assert (await asyncio.to_thread(server.line)).startswith("stopping: ")
            assert not (folder / "s").exists()
            if times == 2:
                server.process.send_signal(number)
                with pytest.raises(library.ConnectionLost):
                    await call
                answers.put_nowait("too late")
            else:
                answers.put_nowait("yes")
                assert await call == "yes"
        done = await asyncio.to_thread(server.ended)
        assert (done.code, done.out, done.err) == (times - 1, "", "")


def test_it_serves_on_when_nobody_reads_what_it_says(folder: Path, tieline: CommandLine) -> None:
    with started("serve", f"{folder}/service.py", "-l", "unix:s", cwd=folder) as server:
        server.urls()
        assert server.process.stdout is not None
        server.process.stdout.close()
        document = json.loads(tieline("methods", f"unix:{folder}/s", "--json").out)
        assert document["info"]["title"] == "service.py"  # without the folder
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0


def test_what_handlers_print_is_seen_at_once_where_nothing_is_to_be_buffered(
    tmp_path: Path, tieline: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "telling.py").write_text("def tell(text: str) -> None:\n    print(text)\n")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    with started("serve", "telling.py:tell", "--listen", "tcp://127.0.0.1:0", cwd=tmp_path) as server:
        (url,) = server.urls()
        assert tieline("call", url, "tell", "seen").code == 0
        server.process.kill()  # or an output that is buffered would be waited for to no end
        assert server.line() == "seen"


def test_failures_of_handlers_are_logged(folder: Path, tieline: CommandLine) -> None:
    with started("serve", "service.py", "-l", "unix:s", "--log-level", "error", cwd=folder) as server:
        server.urls()
        done = tieline("call", f"unix:{folder}/s", "boom")
        assert (done.code, "in the log only" in done.err) == (1, False)
        assert "RuntimeError: in the log only" in server.end().err


def test_uvloop_runs_it_where_it_is_installed(folder: Path, tieline: CommandLine) -> None:
    with started("serve", "service.py", "-l", "unix:s", cwd=folder) as server:
        server.urls()
        assert tieline("call", f"unix:{folder}/s", "loop").out == "uvloop\n"


def test_a_session_class_and_limits_for_strangers(folder: Path, tieline: CommandLine) -> None:
    with started("serve", "service:Session", "-l", "unix:s", "--public", cwd=folder) as server:
        lines = server.lines_until("Ctrl+C")
        assert lines[:2] == [
            "serving service:Session: each connection has a session of that class",
            "listening on unix:s",
        ]
        assert len(lines) == 3
        assert tieline("call", f"unix:{folder}/s", "anything").out == '["anything", 100]\n'


async def test_a_protocol_class(folder: Path) -> None:
    with started("serve", "service:Raw", "-l", "unix:s", cwd=folder) as server:
        await asyncio.to_thread(server.urls)
        reader, writer = await asyncio.open_unix_connection(str(folder / "s"))
        assert await reader.read() == b"hello\n"
        writer.close()


def test_everywhere_is_shown_as_it_is_and_called_from_here(folder: Path, tieline: CommandLine) -> None:
    with started("serve", "service.py", "-l", "tcp://0.0.0.0:0", cwd=folder) as server:
        lines = server.lines_until("Ctrl+C")
        assert lines[1].startswith("listening on tcp://0.0.0.0:")
        assert lines[3].startswith("try: tieline call tcp://127.0.0.1:")
        assert tieline(*lines[3].split()[2:]).out == "2\n"


def test_tls_with_certificates_of_clients(folder: Path, tieline: CommandLine, certificates: Certificates) -> None:
    own = ("--tls-cert", certificates.server, "--tls-client-ca", certificates.ca)
    with started("serve", "service.py", "-l", "tls://localhost:0", *own, cwd=folder) as server:
        url = server.urls()[0]
        trust = ("--tls-ca", certificates.ca)
        assert tieline("call", url, "add", "1", *trust, "--tls-cert", certificates.client).out == "2\n"
        assert tieline("call", url, "add", "1", *trust).code == 4


PORT_IN_USE = (
    "cannot listen on tcp://127.0.0.1:{0}: Address already in use (127.0.0.1:{0}); "
    "end the program that has it, or listen elsewhere (port 0 finds one)"
)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use(tieline: CommandLine, served: Served, workers: str) -> None:
    port = served.tcp.rpartition(":")[2]
    done = tieline("serve", "tieline.cli.demo_service", "-l", served.tcp, "--workers", workers)
    assert (done.code, done.out) == (3, "")
    assert done.error == PORT_IN_USE.format(port)


ERRORS = [
    (("nothing:methods",), 2, "there is no module 'nothing'"),
    (("service:nothing",), 2, "service has no 'nothing'"),
    (("service.py", "-l", "http://x"), 2, "--listen: a URL must start with one of tcp:, tls:, unix:"),
    (("service.py", "-l", "tls://:0"), 2, "tls://:0 needs a certificate: --tls-cert FILE"),
    (("service.py", "-l", "tcp://:0", "--tls-cert", "x"), 2, "--tls-cert is for tls:// URLs, and none is listened on"),
    (("service.py", "-l", "tls://:0", "--tls-cert", "nowhere.pem"), 2, "No such file or directory: 'nowhere.pem'"),
    (("service.py", "-l", "tls://:0", "--tls-cert", "service.py"), 2, "there is no PEM certificate in 'service.py'"),
    (("service.py", "-l", "unix:service.py"), 3, "a regular file is there"),
    (("service.py", "-l", "unix:/nowhere/at/all"), 3, "No such file or directory"),
    (("service.py", "-l", "tcp://no.such.host.invalid:0"), 3, "cannot resolve host 'no.such.host.invalid'"),
    (("service.py", "--workers", "0"), 2, "--workers"),
    (("service.py", "--framing", "smoke"), 2, "--framing"),
    (("service.py", "--loop", "gevent"), 2, "--loop"),
    (("service:Raw", "-l", "unix:t", "--public"), 2, "a factory makes its sessions itself"),
    (("service.py", "-l", "unix:s", "-l", "unix:service.py"), 3, "a regular file is there"),
    ((), 2, "missing argument 'MODULE:ATTRIBUTE'; see tieline serve --help"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "text"), ERRORS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_what_cannot_be_served_is_told_in_one_line(
    folder: Path, tieline: CommandLine, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, text: str
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    done = tieline("serve", *words)
    sys.modules.pop("service", None)
    assert (done.code, done.out) == (code, "")
    assert text in done.error
    assert [path.name for path in folder.glob("?")] == []  # what listened already is given back


def test_uvloop_is_asked_for_and_missing(folder: Path, tieline: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    done = tieline("serve", f"{folder}/service.py", "--loop", "uvloop", "-l", "unix:s")
    assert (done.code, done.error) == (2, "uvloop is not installed: pip install 'tieline[uvloop]'")
