# SPDX-License-Identifier: MIT
"""Random and mutated bytes against live sessions of both sides: an answer or a closed connection, never silence.

Seeded, so that a failure can be played again: its seed is in the assertion.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import TCP_URL, RawPeer, no_entries, raw_client, raw_server, until
from tieline import (
    JSONRPC,
    Governance,
    JSONRPCAutoDetect,
    JSONRPCLoose,
    JSONRPCv1,
    JSONRPCv2,
    Limits,
    Methods,
    RPCError,
    Server,
    serve,
)

SEEDS = 150
PROTOCOLS: list[type[JSONRPC]] = [JSONRPCv2, JSONRPCv1, JSONRPCLoose, JSONRPCAutoDetect]
# What they cost is left out: it would end most of them early.
LIMITS = Limits(max_message=20_000, max_errors=1, linger=0.05, governance=Governance(cost_hard_limit=0))

# The ancestor goes silent on these.
SILENCERS = [
    b"[" * 19_000,
    b'{"jsonrpc":"2.0","method":"echo","id":1,"params":[' + b"7" * 5000 + b"]}",
    b'[{"jsonrpc":"2.0","id":1,"result":1},{"jsonrpc":"2.0","id":"a","result":1}]',
    b'{"result":1,"error":null,"id":[1]}',
    b'{"jsonrpc":"2.0","method":"unwritable","id":1}',
    b'{"jsonrpc":"2.0","method":"cancelled","id":1}',
    b'{"jsonrpc":"2.0","result":1,"id":{}}',
]
SEEDLINGS = [
    b'{"jsonrpc":"2.0","method":"echo","params":[1,{"a":[null,true,"\\u00e9"]}],"id":"x"}',
    b'{"jsonrpc":"2.0","method":"echo","params":{"value":1},"id":2.5}',
    b'[{"jsonrpc":"2.0","method":"echo","params":[1],"id":1},{"jsonrpc":"2.0","method":"note"},5]',
    b'{"jsonrpc":"2.0","id":0,"result":{"a":1}}',
    b'{"jsonrpc":"2.0","id":0,"error":{"code":-1,"message":"m","data":[]}}',
    b'{"method":"echo","params":[1],"id":1}',
    b'{"result":null,"error":"text","id":0}',
    *SILENCERS,
]


def hostile_methods() -> Methods:
    methods = Methods()

    @methods.method
    def echo(value: Any = None) -> Any:
        return value

    @methods.method
    async def note() -> None:
        await aio.sleep(0)

    @methods.method
    def unwritable() -> object:
        return object()

    @methods.method
    async def cancelled() -> None:
        raise aio.CancelledError

    @methods.method
    async def fails() -> None:
        raise RPCError(1, "m", data={"a": object()})

    return methods


def mutated(rng: random.Random) -> bytes:
    """Return some bytes: seedlings with bytes flipped, cut, doubled, mixed; or noise."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(1, 300))
    data = bytearray(b"\n".join(rng.choice(SEEDLINGS) for _ in range(rng.randrange(1, 4))))
    for _ in range(rng.choice([0, 1, 1, 2, 8])):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(5):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                del data[at : at + rng.randrange(1, 20)]
            case 2:
                data[at:at] = data[at : at + rng.randrange(1, 40)]
            case 3:
                data[at:at] = rng.choice(
                    [b"\n", b"\r\n", b"\0", b"[", b"{", b'"', b"\xff", b"1e999", b"null", b"\\ud800"]
                )
            case 4:
                data[at : at + 4] = rng.choice([b"true", b"[]", b"{}", b"-0", b'"id"', b"9" * 30])
    return bytes(data)


async def send_in_pieces(peer: RawPeer, data: bytes, rng: random.Random) -> None:
    while data:
        cut = rng.randrange(1, len(data) + 1)
        peer.writer.write(data[:cut])
        data = data[cut:]
        if rng.random() < 0.5:
            await aio.sleep(0)


async def answers_or_closes(peer: RawPeer, *, probe: dict[str, Any]) -> bool:
    """Send a good call behind what was sent, and read to its answer (True) or the end (False)."""
    peer.writer.write(b"\n" + json.dumps(probe).encode() + b"\n")
    try:
        while (message := await peer.line()) is not None:
            for one in message if isinstance(message, list) else [message]:
                assert isinstance(one, dict)
                if one.get("id") == probe["id"] and "method" not in one:
                    return True
    except ConnectionError:
        pass
    return False


@pytest.mark.row("S6", "J2")
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.__name__)
async def test_a_server_answers_or_closes_whatever_it_is_sent(protocol: type[JSONRPC]):
    async with serve(hostile_methods(), TCP_URL, rpc_protocol=protocol, limits=LIMITS) as server:
        alive = sum([await survives(server, seed, protocol) for seed in range(SEEDS)])
        assert alive > 0
        if protocol is not JSONRPCv1:  # there the first fault ends the connection
            assert SEEDS > alive > SEEDS / 4
        await until(lambda: not server.sessions)


async def survives(server: Server, seed: int, protocol: type[JSONRPC]) -> bool:
    rng = random.Random(seed)
    probe: dict[str, Any] = {"method": "echo", "params": ["probe"], "id": "probe"}
    if protocol is not JSONRPCv1:
        probe["jsonrpc"] = "2.0"
    async with raw_client(server) as peer:
        try:
            await send_in_pieces(peer, mutated(rng), rng)
            return await answers_or_closes(peer, probe=probe)
        except (TimeoutError, AssertionError, ValueError) as exc:
            raise AssertionError(f"seed {seed} of {protocol.__name__}: {exc!r}") from exc


@pytest.mark.row("S6", "J2")
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.__name__)
async def test_what_silences_the_ancestor_is_answered_and_the_connection_goes_on(protocol: type[JSONRPC]):
    async with serve(hostile_methods(), TCP_URL, rpc_protocol=protocol) as server:
        for silencer in SILENCERS:
            async with raw_client(server) as peer:
                peer.writer.write(silencer)
                alive = await answers_or_closes(peer, probe={"jsonrpc": "2.0", "method": "echo", "id": "probe"})
                assert alive or protocol is JSONRPCv1  # where the first fault ends the connection


@pytest.mark.row("S6", "S7")
@pytest.mark.parametrize("protocol", [JSONRPCv2, JSONRPCv1], ids=lambda protocol: protocol.__name__)
async def test_a_client_s_calls_all_end_whatever_its_server_sends(protocol: type[JSONRPC]):
    ended = {"answered": 0, "failed": 0}
    for seed in range(SEEDS // 2):
        rng = random.Random(seed)
        async with raw_server(methods=hostile_methods(), rpc_protocol=protocol, limits=LIMITS) as (client, peer):
            calls = [client.send_request("x", timeout=None) for _ in range(3)]
            await send_in_pieces(peer, mutated(rng), rng)
            peer.writer.write(b"\n")
            for call_id in range(3):
                peer.send({"jsonrpc": "2.0", "id": call_id, "result": "good", "error": None} if protocol is JSONRPCv1
                          else {"jsonrpc": "2.0", "id": call_id, "result": "good"})  # fmt: skip
            done, late = await aio.wait([aio.ensure_future(call) for call in calls], timeout=5)
            assert not late, f"seed {seed}: {client!r}"
            for call in done:
                error = call.exception()
                ended["failed" if error else "answered"] += 1
                assert error is None or isinstance(error, Exception)
            assert client.stats.pending == 0
        assert no_entries(client), f"seed {seed}"
    assert min(ended.values()) > 0
