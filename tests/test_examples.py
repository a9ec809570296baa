# SPDX-License-Identifier: MIT
"""Every example does what its first lines say. Those of a kind of their own have files of their own beside this."""

import ast
import asyncio
import hashlib
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import tieline
from tests.certificates import Certificates
from tests.example_programs import EXAMPLES, PATIENCE, end_of, line_of, output_of, run, started


def test_quickstart_runs_in_silence() -> None:
    assert output_of("quickstart.py") == []


@pytest.mark.row("S4")
def test_a_handler_asks_its_caller_and_tells_it_how_far_it_is() -> None:
    assert output_of("two_way.py") == [
        "delete draft.txt? yes",
        "1 of 3",
        "delete notes.txt? no",
        "2 of 3",
        "delete old.txt? yes",
        "3 of 3",
        "deleted: ['draft.txt', 'old.txt']",
    ]


def test_what_is_said_to_the_echo_comes_back_with_its_time() -> None:
    with started("echo_server.py", "tcp://127.0.0.1:0") as server:
        url = line_of(server.stdout)
        for words in ([], ["tea", "two words"]):
            lines = output_of("echo_client.py", url, *words)
            assert [line.partition(" (")[0] for line in lines] == (words or ["hello", "world"])
            assert all(re.fullmatch(r".* \(\d+\.\d ms\)", line) for line in lines)
        server.terminate()
        assert end_of(server) == (0, "", "")
    nobody = run("echo_client.py", url)
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr.startswith(f"no connection to {url}: ")
    assert "Traceback" not in nobody.stderr


@pytest.mark.row("K11")
def test_lamps_are_set_by_packets_and_what_is_no_order_is_refused() -> None:
    with started("lamp_server.py", "tcp://127.0.0.1:0") as server:
        url = line_of(server.stdout)
        assert output_of("lamp_client.py", "hall", "140", url) == ["hall: 100 %"]
        assert output_of("lamp_client.py", "hall", "", url) == ["hall: 100 %"]
        refused = run("lamp_client.py", "garden", "5", url)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == "refused: there is no lamp 'garden'\n"
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as peer, peer.makefile("rb") as lines:
            peer.sendall(b'bright!\n{"lamp":"kitchen"}\n')
            assert b"the packet is not JSON" in lines.readline()
            assert lines.readline() == b'{"type":"state","lamp":"kitchen","percent":0}\n'
        server.terminate()
        assert end_of(server) == (0, "", "")
    nobody = run("lamp_client.py", "hall", "", url)
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr.startswith("no connection: ")


def test_the_client_of_the_lamps_says_what_no_lamps_answer() -> None:
    with started("echo_server.py", "tcp://127.0.0.1:0") as server:
        done = run("lamp_client.py", "hall", "", line_of(server.stdout))
    assert (done.returncode, done.stderr) == (1, "that is no server of lamps\n")


ECHOES = [
    (b'{"jsonrpc":"2.0","error":{"code":5,"message":"not today"},"id":0}\n', "the server replied with an error: not"),
    (b"", "no connection to tcp://127.0.0.1:"),
]


@pytest.mark.parametrize(("answer", "text"), ECHOES)
async def test_the_echo_client_says_how_a_call_failed(answer: bytes, text: str) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(peer, "127.0.0.1", 0) as server:
        url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        done = await asyncio.to_thread(run, "echo_client.py", url, "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(text)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_the_calculator_answers_other_programs(scheme: str, tmp_path: Path) -> None:
    asked = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{tmp_path}/calculator"
    with started("calculator_server.py", asked) as server:
        url = line_of(server.stdout)
        assert output_of("calculator_client.py", url) == [
            "1 + 2 = 3.0",
            "7 / 2 = 3.5",
            "doubled: [2.0, 4.0, 6.0]",
            "batch: (2.5, RPCError(1, 'division by zero'))",
            "refused: parameter 'b': expected `float`, got `str` (code -32602)",
        ]
        server.terminate()
        assert end_of(server) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.row("H55")
async def test_a_public_server_answers_what_it_accepted_when_it_is_ended(certificates: Certificates) -> None:
    files = {"CERTIFICATE": certificates.server, "CLIENT_CA": certificates.ca}
    heard = asyncio.Queue[int]()
    methods = tieline.Methods()
    methods.method(name="progress")(lambda number, _of: heard.put_nowait(number))
    with started("public_server.py", "tls://127.0.0.1:0", **files) as server:
        url = line_of(server.stdout)
        with pytest.raises(tieline.ConnectionLost):  # with TLS 1.3 it is connected before it is turned away
            async with tieline.connect(url, tls=tieline.TLS(ca=certificates.ca)) as stranger:
                await stranger.call("who_am_i")
        ann = tieline.TLS(ca=certificates.ca, certificate=certificates.client)
        async with tieline.connect(url, methods, tls=ann) as session:
            assert await session.call("who_am_i") == "ann@client.example"
            with pytest.raises(tieline.RPCError, match="rounds must be 1 to 20"):
                await session.call("stretch", "secret", 1000)
            call = session.send_request("stretch", ["secret", 3])
            assert await heard.get() == 1
            server.terminate()
            key = hashlib.pbkdf2_hmac("sha256", b"secret", b"example", 100_000)
            for _ in range(2):
                key = hashlib.pbkdf2_hmac("sha256", key, b"example", 100_000)
            assert await call == key.hex()
        assert end_of(server) == (0, "done\n", "")


def test_a_public_server_without_a_certificate_says_what_it_needs() -> None:
    done = run("public_server.py")
    assert (done.returncode, done.stderr) == (1, "set CERTIFICATE to the path of a certificate (PEM)\n")


SERVERS = ["calculator_server.py", "chat_server.py", "echo_server.py", "language_server.py"]


@pytest.mark.parametrize("name", SERVERS)
def test_control_c_ends_a_server_without_a_traceback(name: str) -> None:
    with started(name, "tcp://127.0.0.1:0") as server:
        assert line_of(server.stdout).startswith("tcp://127.0.0.1:")
        server.send_signal(signal.SIGINT)
        code, out, err = end_of(server)
        assert (code, err) == (0, "")
        assert out in {"stopped\n", "closed\n"}


def test_the_demo_shows_30_steps_and_ends_well() -> None:
    lines = output_of("demo.py")
    assert lines[-1].startswith("All 30 steps went as they should")
    assert [line[:3] for line in lines if line[:3].strip()].count("ok ") == 30


def test_the_demo_fails_when_a_step_does(tmp_path: Path) -> None:
    for name in ("LICENSE", "README.md"):
        (tmp_path / name).write_text("the software and its software\n" * 10, encoding="utf-8")
    done = run("demo.py", str(tmp_path))
    assert done.returncode == 1
    # Over TCP and over Unix: too few words in the licence.
    failed = [" ".join(line.split()[:3]) for line in done.stdout.splitlines() if line.startswith("NO")]
    assert failed == ["NO a call"] * 2
    assert done.stdout.splitlines()[-1].startswith("2 of 30 steps went wrong")


@pytest.mark.parametrize("name", ["demo_server.py", "demo_client.py"])
def test_the_demo_fails_when_one_of_its_processes_does(name: str, tmp_path: Path) -> None:
    for path in EXAMPLES.glob("demo*.py"):
        shutil.copy(path, tmp_path)
    (tmp_path / name).write_text("raise SystemExit('broken')\n", encoding="utf-8")
    argv = [sys.executable, str(tmp_path / "demo.py"), str(EXAMPLES.parent)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert "went wrong" in done.stdout


def test_no_example_is_left_out() -> None:
    """A new example needs a line in one of these files: its name must stand in a call there."""
    here = Path(__file__).parent
    named = {
        node.value
        for path in here.glob("test_examples*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {path.name for path in EXAMPLES.glob("*.py")} <= named
