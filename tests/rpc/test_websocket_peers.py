# SPDX-License-Identifier: MIT
"""Real peers over WebSocket that pip can give: the package websockets and aiorpcX, each as client and as server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiorpcx
import pytest
from websockets.asyncio.client import connect as ws_connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as ws_serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from tests.rpc.sessions import until
from tieline import TCP, ConnectionLost, Methods, ServerSession, WebSocket, WebSocketClosed, connect, serve

URL = "ws://127.0.0.1:0/rpc"
METHODS = Methods()


@METHODS.method
def echo(value: object) -> object:
    return value


@METHODS.method
async def ask_back(session: ServerSession) -> object:
    return await session.call("echo", "back")


def request(number: int, method: str, *params: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


# --- the package websockets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_its_client_calls_us(compression: Any) -> None:
    endpoint = WebSocket(TCP("127.0.0.1", 0), "/rpc", compression=True)
    async with serve(METHODS, endpoint) as server, ws_connect(server.url, compression=compression) as peer:
        for sent in (request(1, "echo", "ü" * 100_000), request(2, "echo", "b").encode()):
            await peer.send(sent)
            answer = json.loads(await peer.recv())
            assert answer["result"] == json.loads(sent)["params"][0]
        await peer.send(request(3, "echo", "in pieces"))
        await peer.send([request(4, "echo", "in fragments")[:20], request(4, "echo", "in fragments")[20:]])
        assert {json.loads(await peer.recv())["result"] for _ in range(2)} == {"in pieces", "in fragments"}
        await (await peer.ping())
        await peer.send(request(5, "ask_back"))
        asked = json.loads(await peer.recv())
        await peer.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "told"}))
        assert json.loads(await peer.recv()) == {"jsonrpc": "2.0", "result": "told", "id": 5}


async def test_its_client_sees_why_we_close_and_whom_we_refuse() -> None:
    async with serve(METHODS, URL) as server, ws_connect(server.url) as peer:
        await until(lambda: server.sessions)
        await server.shutdown()
        with pytest.raises(ConnectionClosed) as caught:
            await peer.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001  # going away
    async with serve(METHODS, URL) as server:
        with pytest.raises(InvalidStatus) as refused:
            await ws_connect(server.url, origin=Origin("http://evil.example"))
        assert refused.value.response.status_code == 403


async def _answering(peer: ServerConnection) -> None:
    async for text in peer:
        asked = json.loads(text)
        if asked["method"] == "leave":
            await peer.close(4001, "had enough")
        else:
            await peer.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": asked["params"]}))


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("wants_compression", [False, True])
async def test_its_server_answers_us(compression: Any, *, wants_compression: bool) -> None:
    async with ws_serve(_answering, "127.0.0.1", 0, compression=compression) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        endpoint = WebSocket(TCP("127.0.0.1", port), "/any", compression=wants_compression, subprotocols=["jsonrpc"])
        async with connect(endpoint) as session:
            assert await session.call("echo", "x" * 300_000) == ["x" * 300_000]
            with pytest.raises(ConnectionLost, match="code 4001: 'had enough'") as caught:
                await session.call("leave")
            cause = caught.value.__cause__
            assert isinstance(cause, WebSocketClosed)
            assert (cause.code, cause.reason) == (4001, "had enough")


# --- aiorpcX ---------------------------------------------------------------------------------------------------------


class Answering(aiorpcx.RPCSession):  # type: ignore[misc]  # aiorpcx is untyped
    async def handle_request(self, request: Any) -> Any:
        return request.args


async def test_aiorpcx_calls_us() -> None:
    async with serve(METHODS, URL) as server, aiorpcx.connect_ws(server.url) as session:
        assert await session.send_request("echo", ["ü"]) == "ü"
        batch = [asyncio.ensure_future(session.send_request("echo", [number])) for number in range(100)]
        assert await asyncio.gather(*batch) == list(range(100))


async def test_we_call_aiorpcx() -> None:
    server = await aiorpcx.serve_ws(Answering, "127.0.0.1", 0)
    try:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/") as session:
            assert await session.call("echo", 1, "b") == [1, "b"]
            requests = [session.send_request("echo", [number]) for number in range(100)]
            assert [await one for one in requests] == [[number] for number in range(100)]
    finally:
        server.close()
        await server.wait_closed()
