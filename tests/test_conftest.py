# SPDX-License-Identifier: MIT
"""The net under all tests catches what it is there for: shown on a made-up test file with every kind of fault."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

GOOD = """
import asyncio, subprocess
from hypothesis import given, strategies

async def test_runs_on(runtime):
    assert runtime.name in type(asyncio.get_running_loop()).__module__ + "asyncio"

class TestMethods:
    async def test_of_a_class(self, tmp_path):
        assert tmp_path.is_dir()

@given(strategies.integers())
async def test_with_examples(number):
    await asyncio.sleep(0)

async def test_that_tidies_up():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()

def test_direct(runtime):
    async def double(number):
        return 2 * number
    assert runtime.run(double, 2) == 4

def test_finds(need):
    assert need("sh", "").exists()
    assert need("msgspec", "").exists()
"""

BAD = """
import asyncio, os, socket, subprocess, threading, time
from hypothesis import given, strategies
from tests import conftest
conftest.SETTLES = 0.1
kept = []

async def test_assertion():
    assert 1 == 2

@given(strategies.integers())
async def test_example(number):
    assert number < 100

async def test_lost_task_exception():
    async def fail():
        raise ValueError("lost")
    asyncio.create_task(fail())
    await asyncio.sleep(0.01)

async def test_lost_future_exception():
    asyncio.get_running_loop().create_future().set_exception(KeyError("lost"))

async def test_callback_that_raises():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0.01)

async def test_task_left():
    kept.append(asyncio.create_task(asyncio.sleep(100)))

async def test_coroutine_never_awaited():
    asyncio.sleep(1)

def test_too_long(runtime):
    runtime.run(asyncio.Event().wait, limit=0.1)

def test_unclosed_socket():
    socket.socket()

def test_descriptor_left():
    kept.append(os.open("/dev/null", os.O_RDONLY))

def test_thread_left():
    threading.Thread(target=time.sleep, args=(1,)).start()

def test_child_left():
    kept.append(subprocess.Popen(["sleep", "2"]))

def test_missing_peer(need):
    need("no-such-program", "nowhere")
"""


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, body: str) -> pytest.RunResult:
    root = Path(__file__).resolve().parent.parent
    monkeypatch.setenv("PYTHONPATH", str(root))
    pytester.makepyfile(body)
    pytester.makeini("[pytest]\nfilterwarnings = error")
    return pytester.runpytest_subprocess("-p", "tests.conftest", "-p", "no:cacheprovider", "-v", "--tb=short")


def test_good_tests_pass_on_every_loop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    run(pytester, monkeypatch, GOOD).assert_outcomes(passed=11)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors and children are counted on Linux only")
def test_every_fault_is_caught(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(pytester, monkeypatch, BAD)
    caught = {line.split("::")[1].split()[0] for line in result.outlines if line.startswith(("FAILED ", "ERROR "))}
    wanted = {line.split()[-1].split("(")[0] for line in BAD.splitlines() if "def test_" in line}
    assert {name.split("[")[0] for name in caught} == wanted
    for text in (
        "unhandled in the event loop:",
        "Task exception was never retrieved: ValueError('lost')",
        "tasks left behind by the test:",
        "not done after 0.1 s; its tasks:",
        "-> /dev/null",
        "left behind by the test: thread",
        "left behind by the test: child process",
        "no-such-program is missing: nowhere",
    ):
        assert text in result.stdout.str()


def test_a_missing_peer_skips_on_a_laptop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    result = run(pytester, monkeypatch, 'def test_peer(need):\n    need("no-such-program", "nowhere")')
    result.assert_outcomes(skipped=1)


def test_a_blocked_thread_ends_the_process_and_is_shown(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import time\nfrom tests import conftest\nconftest.STUCK = 0.5\ndef test_blocked():\n    time.sleep(60)"
    result = run(pytester, monkeypatch, body)
    assert result.ret == 1
    assert "Timeout (0:00:00.5" in result.stderr.str()
    assert "in test_blocked" in result.stderr.str()
    assert "passed" not in result.stdout.str()
