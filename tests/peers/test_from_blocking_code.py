# SPDX-License-Identifier: MIT
"""Real peers, called by `tieline.blocking`: the same servers that the asynchronous sessions talk with.

A loop starts and stops the programs; what is tested runs in a thread without one.
"""

import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.loops import runtimes
from tests.peers.carriers import carrier
from tests.peers.language_client import LSP
from tests.peers.openssl_programs import s_server
from tests.peers.programs import HERE, free_port, python, running
from tests.peers.test_aiorpcx import V1, V2
from tests.peers.test_pylsp import pylsp  # noqa: F401  # a fixture
from tests.peers.test_socat import answered_by_socat, socat  # noqa: F401  # a fixture
from tests.peers.test_stunnel import Tunnel, tunnel  # noqa: F401  # a fixture
from tests.rpc.blocking.peers import Task
from tieline import TLS, ConnectionLost, ContentLengthFramer, EndOfStream, JSONRPCv1, JSONRPCv2, RPCError
from tieline.blocking import ClientSession, connect
from tieline.errors import TLSTruncated

pytestmark = [
    pytest.mark.peers,
    pytest.mark.parametrize("runtime", runtimes()[:1], ids=str, indirect=True),
]

BIG = "x" * 800_000


def our_methods(heard: list[Any] | None = None) -> tieline.Methods:
    """Return what peers may call back: plain functions, as blocking code has them."""
    methods = tieline.Methods()
    methods.method(name="double")(lambda number: 2 * number)
    methods.method(name="note")((heard if heard is not None else []).append)

    @methods.method
    def fail(code: int, message: str) -> None:
        raise RPCError(code, message)

    return methods


def talk_with_script(url: str, *, leaves: bool = True, has_batches: bool = True, **settings: Any) -> None:
    """Call what `line_answers.py` and the carriers of bytes answer."""
    with connect(url, our_methods(), **settings) as session:
        assert session.call("echo", 1, "Grüße") == [1, "Grüße"]
        with pytest.raises(RPCError) as caught:
            session.call("fail")
        assert (caught.value.code, caught.value.message) == (-5, "no")
        session.notify("tell", 1)
        assert session.call("ask") == 42
        if has_batches:
            with session.batch() as batch:
                for n in range(3):
                    batch.add_request("echo", [n])
                    batch.add_notification("tell", [n])
            assert batch.results == ([0], [1], [2])
        assert session.call("echo", BIG) == [BIG]
        if leaves:
            with pytest.raises(ConnectionLost):
                session.call("leave")
            assert type(session.close_reason) in {EndOfStream, TLSTruncated}


# --- plain, and in TLS -----------------------------------------------------------------------------------------------


@pytest.mark.row("J4", "J10", "F3", "S1", "S3", "S7")
@pytest.mark.parametrize("listen", ["TCP-LISTEN:0,bind=127.0.0.1", "UNIX-LISTEN:{tmp_path}/answers"])
async def test_a_script_behind_socat(socat: Path, listen: str, tmp_path: Path) -> None:  # noqa: F811  # a fixture
    async with answered_by_socat(socat, listen.format(tmp_path=tmp_path)) as url:
        await aio.to_thread(talk_with_script, url)


@pytest.mark.row("D6", "S3", "S7")
async def test_a_script_behind_ncat(need: Callable[[str, str], Path], certificates: Certificates) -> None:
    ncat = need("ncat", "apt-get install ncat, or make test-peers")
    port = free_port()
    shows = ("--ssl-cert", certificates.server, "--ssl-key", certificates.server)
    script = ("--keep-open", "--sh-exec", f"exec {sys.executable} {HERE / 'line_answers.py'}")
    async with carrier(ncat, "-v", "--ssl", "-l", *shows, *script, "127.0.0.1", str(port)) as server:
        await server.says("Listening on ")
        await aio.to_thread(talk_with_script, f"tls://127.0.0.1:{port}", tls=TLS(ca=certificates.ca))


@pytest.mark.row("D6", "S1", "S3", "S7")
async def test_a_script_behind_stunnel(tunnel: Tunnel, certificates: Certificates) -> None:  # noqa: F811  # a fixture
    script = (f"exec = {sys.executable}", f"execArgs = python {HERE / 'line_answers.py'}")
    async with tunnel(f"cert = {certificates.server}", *script) as (place, _stunnel):
        await aio.to_thread(talk_with_script, f"tls://{place}", tls=TLS(ca=certificates.ca))


@pytest.mark.row("D6", "S3")
@pytest.mark.parametrize(("version", "option"), [("TLSv1.3", "-tls1_3"), ("TLSv1.2", "-tls1_2")])
async def test_openssl_s_server(openssl: Path, certificates: Certificates, version: str, option: str) -> None:
    def talk(url: str) -> None:
        with connect(url, our_methods(), tls=TLS(ca=certificates.ca)) as session:
            assert session.call("echo", 1, "Grüße") == [1, "Grüße"]
            assert session.call("ask") == 42
            assert session.get_extra_info("ssl_object").version() == version
            requests = [session.send_request("echo", [number]) for number in range(50)]
            assert [request.result() for request in requests] == [[number] for number in range(50)]

    async with s_server(openssl, certificates.server, option) as (url, _server):
        await aio.to_thread(talk, url)


@pytest.mark.row("D6", "H69")
@pytest.mark.parametrize(
    ("shown", "text"), [("expired", "certificate has expired"), ("stranger", "unable to get local issuer")]
)
async def test_a_certificate_that_is_not_to_be_trusted(
    openssl: Path, certificates: Certificates, shown: str, text: str
) -> None:
    def talk(url: str) -> None:
        with (
            pytest.raises(ssl.SSLCertVerificationError, match=text),
            connect(url, tls=TLS(ca=certificates.ca)) as session,
        ):
            session.call("echo", 1)

    async with s_server(openssl, getattr(certificates, shown)) as (url, server):
        await aio.to_thread(talk, url)
        assert not server.received


# --- other implementations of JSON-RPC -------------------------------------------------------------------------------


def talk_with_another(
    url: str, *, calls_back: bool, invalid: tuple[Any, ...] = ("nothing_of_that_name",), **settings: Any
) -> None:
    heard: list[Any] = []
    with connect(url, our_methods(heard), **settings) as session:
        assert session.call("add", 1, 2) == 3
        assert session.call("echo", "Grüße \U0001f600\n") == "Grüße \U0001f600\n"
        assert session.call("echo", None) is None
        with pytest.raises(RPCError) as caught:
            session.call("fail", -5, "no")
        assert (caught.value.code, caught.value.message) == (-5, "no")
        with pytest.raises(RPCError) as caught:
            session.call(*invalid)
        assert caught.value.code == -32601
        requests = [session.send_request("add", [number, 1]) for number in range(50)]
        assert [request.result() for request in requests] == list(range(1, 51))
        if calls_back:
            assert session.call("ask_back", 21) == 42
            assert heard == ["asking about 21"]  # it came before the answer
            assert session.call("fail_back") == "-7 from the caller"
        assert session.stats.pending == 0


@pytest.mark.row("J4", "J5", "J6", "J7", "S3")
@pytest.mark.parametrize(("version", "protocol"), [(1, JSONRPCv1), (2, JSONRPCv2)])
async def test_a_server_of_jayson(
    need: Callable[[str, str], Path], version: int, protocol: type[tieline.JSONRPC]
) -> None:
    node = need("node", "install Node.js")
    package = need("jayson", "make test-peers installs it into .peers/")
    async with running(node, HERE / "jayson_server.cjs", package, str(version)) as program:
        url = f"tcp://127.0.0.1:{await program.line()}"
        await aio.to_thread(partial(talk_with_another, calls_back=False, rpc_protocol=protocol), url)


@pytest.mark.row("J4", "J5", "J8", "S1", "S3")
@pytest.mark.parametrize(("theirs", "protocol"), [(V1, JSONRPCv1), (V2, JSONRPCv2)])
async def test_a_server_of_aiorpcx(theirs: str, protocol: type[tieline.JSONRPC]) -> None:
    async with running(*python("ancestor.py"), theirs) as program:
        url = f"tcp://127.0.0.1:{await program.line()}"
        await aio.to_thread(partial(talk_with_another, calls_back=True, rpc_protocol=protocol), url)


@pytest.mark.row("F4", "J4", "J7", "S1", "S3")
async def test_a_server_of_vscode_jsonrpc(vscode: Callable[[str], tuple[Path, Path, Path]]) -> None:
    async with running(*vscode("vscode_server.cjs")) as program:
        url = f"tcp://127.0.0.1:{await program.line()}"
        talk = partial(talk_with_another, calls_back=False, rpc_protocol=LSP, framer=ContentLengthFramer)
        await aio.to_thread(talk, url)


@asynccontextmanager
async def language_server(command: tuple[str | Path, ...]) -> AsyncIterator[str]:
    port = free_port()
    async with carrier(*command, "--tcp", "--port", str(port), "-v") as server:
        await server.says("Serving PythonLSPServer")
        yield f"tcp://127.0.0.1:{port}"


@pytest.mark.row("F4", "J7", "S1", "S3")
async def test_pylsp(pylsp: tuple[str | Path, ...], tmp_path: Path) -> None:  # noqa: F811  # a fixture
    uri = (tmp_path / "a.py").as_uri()

    def talk(url: str) -> list[str]:
        found: list[Any] = []
        methods = tieline.Methods()

        @methods.method(name="textDocument/publishDiagnostics")
        def published(uri: str, diagnostics: list[dict[str, Any]], **more: Any) -> None:
            found.append(diagnostics)

        for name in ("$/progress", "window/workDoneProgress/create", "client/registerCapability"):
            methods.method(name=name)(lambda **_params: None)
        with connect(url, methods, rpc_protocol=LSP, framer=ContentLengthFramer) as session:
            told = session.call("initialize", processId=os.getpid(), rootUri=tmp_path.as_uri(), capabilities={})
            assert told["capabilities"]["hoverProvider"]
            session.notify("initialized")
            document = {"uri": uri, "languageId": "python", "version": 1, "text": "import os\nprint(nahme)\n"}
            session.notify("textDocument/didOpen", textDocument=document)
            while not found:
                assert session.poll(timeout=20)  # only while somebody waits is anything heard
            assert session.call("shutdown") is None
        return [diagnostic["message"] for diagnostic in found[0]]

    async with language_server(pylsp) as url:
        told = await aio.to_thread(talk, url)
    assert "undefined name 'nahme'" in told


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("S7")
async def test_threads_share_a_session_with_a_foreign_server_until_it_is_killed() -> None:
    async with running(*python("ancestor.py"), V2) as program:
        url = f"tcp://127.0.0.1:{await program.line()}"

        def work(session: ClientSession, number: int) -> int:
            for index in range(50):
                assert session.call("add", number, index) == number + index
            hanging.append(number)
            try:
                session.call("hang", timeout=30)
            except ConnectionLost:
                return number
            raise AssertionError("it answered")

        hanging: list[int] = []
        session = connect(url)
        await aio.to_thread(session.create_connection)
        tasks = [Task(work, session, number) for number in range(8)]
        while (len(hanging) < 8 or session.stats.pending < 8) and all(task.thread.is_alive() for task in tasks):
            await aio.sleep(0.001)
        program.kill()
        for number, task in enumerate(tasks):
            assert await aio.to_thread(task.result) == number
