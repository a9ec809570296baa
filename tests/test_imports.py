# SPDX-License-Identifier: MIT
"""What is loaded, and what is not before somebody needs it: each row in an interpreter of its own.

Times are for `benchmarks/imports.py`; what they are made of can be told without a clock.
"""

import subprocess
import sys
from functools import cache

import pytest

import tieline.exceptions
from benchmarks.imports import IMPORTS

# Importing any of these costs more than `import tieline` may as a whole.
HEAVY = frozenset({"asyncio", "dataclasses", "inspect", "logging", "msgspec", "socket", "ssl", "typing"})
# Extras, other runtimes and what asyncio does without.
EXTRAS = frozenset({"anyio", "cbor2", "cryptography", "opentelemetry", "rich", "trio", "typer", "uvloop", "websockets"})
UNWANTED = frozenset({"dataclasses", "ipaddress", "json", "stringprep", "tempfile", "unicodedata", "urllib.parse"})
# What of ours is for TLS, for Unix sockets, or for those who ask for it.
FOR_TLS = frozenset({
    "tieline.endpoints.contexts", "tieline.runtimes.tls.handshakes", "tieline.runtimes.asyncio.tls_layers",
    "tieline.runtimes.tls",
})  # fmt: skip
FOR_UNIX = frozenset({"tieline.runtimes.unix_paths", "urllib.parse"})
SELDOM = frozenset({
    "hashlib", "tieline.endpoints.proxies", "tieline.rpc.discovery", "tieline.rpc.session_stats",
    "tieline.rpc.telemetry", "tieline.runtimes.asyncio.signals", "tieline.runtimes.proxies",
    "tieline.wire.framing.bitcoin", "tieline.wire.framing.content_length", "tieline.wire.jsonrpc.other_codecs",
    "tieline.wire.proxies",
})  # fmt: skip

# What of other runtimes a blocking client does without.
NOT_BLOCKING = frozenset({"_ssl", "asyncio", "concurrent.futures", "ssl", "trio"})
# And one that offers no methods.
FOR_METHODS = frozenset({"tieline.rpc.binding", "tieline.rpc.hints"})

TO_CONNECT_AND_SERVE = "import asyncio, tieline, tieline.runtimes.asyncio.backend; tieline.connect; tieline.serve"

# A server and a client of its own: one call goes through, on the endpoint that is named.
ONE_CALL = """
import asyncio, tieline
methods = tieline.Methods()
methods.method(name="echo")(lambda value: value)
@methods.method
async def add(first: int, second: int) -> int:
    await asyncio.sleep(0)
    return first + second
async def main():
    async with tieline.serve(methods, {url!r}) as server, tieline.connect(server.url) as session:
        assert await session.call("echo", 1) == 1
        assert await session.call("add", 1, 2) == 3
asyncio.run(main())
"""


def loaded_by(code: str) -> frozenset[str]:
    """Return the modules that a fresh interpreter has loaded after *code*, beyond those that it starts with."""
    program = f"import sys; before = set(sys.modules); exec({code!r}, {{}}); print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return frozenset(done.stdout.split())


@cache
def loaded_by_asyncio() -> frozenset[str]:
    """Return what the standard library's own part loads, which is more from CPython 3.14 on."""
    return loaded_by("import asyncio; asyncio.run(asyncio.sleep(0))")


def test_the_import_alone_loads_no_other_module() -> None:
    assert loaded_by("import tieline") == {"tieline"}


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import tieline.exceptions", HEAVY),
        ("import tieline; tieline.RPCError", HEAVY),
        ("import tieline; tieline.TCP('host', 1)", UNWANTED | {"asyncio", "msgspec", "socket", "ssl"}),
        ("import tieline; tieline.TLS()", UNWANTED | {"asyncio", "msgspec", "socket", "ssl"}),
        ("import tieline; tieline.parse('tcp://host:1')", UNWANTED | FOR_TLS | {"asyncio", "msgspec", "ssl"}),
        ("import tieline; tieline.parse('tls://[::1]:1')", FOR_TLS | {"asyncio", "msgspec", "ssl"}),
        ("import tieline; tieline.Limits()", UNWANTED | {"asyncio", "msgspec", "socket", "ssl"}),
        ("import tieline; tieline.JSONRPCv2.message_to_item(b'{}')", SELDOM | EXTRAS | {"asyncio", "socket", "ssl"}),
        ("import tieline; tieline.Methods().method(len)", EXTRAS | {"asyncio", "socket", "ssl"}),
        ("import tieline; tieline.Methods().method(len); tieline.serve", SELDOM),
        ("import tieline; tieline.OpenTelemetryMetrics", EXTRAS | {"asyncio", "socket", "ssl"}),
        ("import tieline; tieline.connect('tcp://host:1')", EXTRAS | {"asyncio", "ssl"}),
        (TO_CONNECT_AND_SERVE, EXTRAS | UNWANTED | FOR_TLS | FOR_UNIX | SELDOM),
        (ONE_CALL.format(url="tcp://127.0.0.1:0"), EXTRAS | UNWANTED | FOR_TLS | FOR_UNIX | SELDOM),
    ],
    ids=lambda value: value.strip().splitlines()[0] if isinstance(value, str) else "",
)
def test_what_is_not_needed_is_not_loaded(code: str, without: frozenset[str]) -> None:
    given = loaded_by_asyncio() if "import asyncio" in code else frozenset[str]()
    assert not (loaded_by(code) - given) & without


@pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")
def test_a_unix_socket_loads_what_it_needs_and_nothing_of_tls(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "s"
    loaded = loaded_by(ONE_CALL.format(url=f"unix:{path}"))
    assert loaded >= FOR_UNIX
    assert not loaded & (EXTRAS | FOR_TLS | SELDOM)


def test_after_connect_and_serve_nothing_is_left_to_load_for_a_call() -> None:
    """Else the first call of a program would pay for what the benchmark of imports does not see."""
    left = loaded_by(ONE_CALL.format(url="tcp://127.0.0.1:0")) - loaded_by(IMPORTS["tieline with asyncio"])
    assert {name for name in left if name.startswith("tieline")} == set()


BLOCKING_CALL = """
import socket, threading, tieline.blocking

def answer():
    peer, _ = listener.accept()
    with peer:
        assert peer.recv(1000)
        peer.sendall(b'{"jsonrpc":"2.0","id":0,"result":3}\\n')
        peer.recv(1000)

with socket.create_server(("127.0.0.1", 0)) as listener:
    thread = threading.Thread(target=answer)
    thread.start()
    with tieline.blocking.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}") as session:
        assert session.call("add", 1, 2) == 3
    thread.join()
"""


def test_blocking_code_loads_neither_another_runtime_nor_tls() -> None:
    assert loaded_by("import tieline.blocking") == {"tieline", "tieline.blocking"}
    for code in ("import tieline.blocking; tieline.blocking.connect('tcp://host:1')", BLOCKING_CALL):
        loaded = loaded_by(code)
        assert not loaded & (EXTRAS | UNWANTED | FOR_TLS | FOR_UNIX | SELDOM | NOT_BLOCKING | FOR_METHODS)
        assert not any(name.startswith(("tieline.runtimes.asyncio", "asyncio.")) for name in loaded)


def test_after_connect_nothing_is_left_to_load_for_a_blocking_call() -> None:
    left = loaded_by(BLOCKING_CALL) - loaded_by(IMPORTS["tieline in blocking code"])
    assert {name for name in left if name.startswith("tieline")} == set()


# What ends, failures and full windows need. Then there may be no descriptor left to load it with, or no such file any
# more: the program may have changed its root.
FOR_ENDS = frozenset({
    "tieline.errors", "tieline.rpc.gate", "tieline.rpc.outcomes", "tieline.rpc.room", "tieline.rpc.securing",
    "tieline.runtimes.lingering", "tieline.wire.framing.stray_lines", "tieline.wire.jsonrpc.events",
    "tieline.wire.states",
})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("tieline with asyncio", FOR_ENDS | {"tieline.rpc.hints"}),
        ("tieline in blocking code", FOR_ENDS | {"tieline.runtimes.blocking.readiness"}),
    ],
)
def test_what_ends_and_failures_need_is_loaded_before_they_come(name: str, needed: frozenset[str]) -> None:
    assert needed - loaded_by(IMPORTS[name]) == set()


def test_all_errors_stand_in_one_module() -> None:
    """So none is first loaded where it is to be caught."""
    errors = [one for one in vars(tieline.exceptions).values() if isinstance(one, type)]
    assert len(errors) == len(tieline.exceptions.__all__)
    assert {one.__module__ for one in errors} == {"tieline.errors"}


def test_all_names_of_blocking_code_can_be_had_and_are_told() -> None:
    face = "import tieline.blocking as face\n"
    loaded_by(f"{face}for name in face.__all__: assert getattr(face, name) is not None")
    loaded_by(f"{face}assert set(face.__all__) <= set(dir(face))")
    loaded_by("from tieline.blocking import *; import tieline.blocking as f; assert set(f.__all__) <= set(globals())")


def test_a_client_does_not_load_listening_nor_a_server_dialling() -> None:
    serving = "import asyncio, tieline\nasync def main():\n    async with tieline.serve(tieline.Methods(), "
    serving += "'tcp://127.0.0.1:0'): pass\nasyncio.run(main())"
    assert "tieline.runtimes.asyncio.dialling" not in loaded_by(serving)
    dialling = "import asyncio, tieline\nasync def main():\n    try:\n        async with tieline.connect("
    dialling += "'tcp://127.0.0.1:1'): pass\n    except OSError: pass\nasyncio.run(main())"
    assert not loaded_by(dialling) & {"tieline.runtimes.asyncio.listening", "tieline.runtimes.asyncio.accepting"}


@pytest.mark.parametrize("order", [1, -1], ids=["from the first on", "from the last on"])
def test_all_public_names_can_be_had_in_any_order(order: int) -> None:
    names = tieline.__all__[::order]
    assert "tieline" in loaded_by(f"import tieline\nfor name in {names!r}: assert getattr(tieline, name) is not None")


def test_the_star_gives_all_public_names() -> None:
    assert loaded_by("from tieline import *; import tieline; assert set(tieline.__all__) <= set(globals())")
