# SPDX-License-Identifier: MIT
"""bcoin (npm) over the peer-to-peer protocol of Bitcoin, in the network `regtest`: we dial it, and it dials us."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.peers.bitcoin_side import AGENT, REGTEST, REJECTED, Node, Regtest, Spoiling, agent, hello
from tests.peers.programs import HERE, Program, running
from tieline import BitcoinFramer, ClosedError, ConnectionLost, Limits, MessageTooLarge, RemoteProtocolError

pytestmark = pytest.mark.peers

BIG = 3_000_000  # bytes; a message may have 4 000 000


@pytest.fixture
def bcoin(need) -> tuple[Path, ...]:
    """Give the command that runs a node of bcoin."""
    node: Path = need("node", "install Node.js")
    package: Path = need("bcoin", "make test-peers installs it into .peers/")
    return node, HERE / "bcoin_node.cjs", package


@asynccontextmanager
async def dialled(bcoin, **options: Any) -> AsyncIterator[tuple[Node, Program]]:
    """Give a session of ours with a node of bcoin; nothing is said yet."""
    async with running(*bcoin) as program:
        url = f"tcp://127.0.0.1:{await program.line()}"
        async with Node(url, **options) as node:
            yield node, program


def opened_line() -> str:
    return f"open: {AGENT.decode()} 70015"


@pytest.mark.row("F7", "S14")
async def test_we_shake_hands_with_bcoin(bcoin):
    async with dialled(bcoin) as (node, program):
        await node.greet()
        assert await program.line() == opened_line()
        (version,) = await node.hears(b"version")
        assert version[:4] == (70015).to_bytes(4, "little")
        assert agent(version).startswith(b"/bcoin:")
        # Behind the handshake it says these unasked: two kinds of compact blocks, and whom do we know.
        assert {len(payload) for payload in await node.hears(b"sendcmpct")} == {9}
        assert await node.hears(b"getaddr") == [b""]
        for n in range(100):
            assert await node.ping(n.to_bytes(8, "little")) == n.to_bytes(8, "little")
        await node.aclose()
        with pytest.raises(ClosedError):
            await node.send_message((b"ping", bytes(8)))


@pytest.mark.row("F7", "S14")
async def test_messages_of_any_size_go_to_bcoin_and_come_back(bcoin):
    async with dialled(bcoin) as (node, program):
        await node.greet()
        await node.hears(b"getaddr")
        for size in (0, 1, 70_000, BIG):
            await node.send_message((b"not-known", bytes(size)))
            await node.send_message((b"ping", size.to_bytes(8, "little")))
            program.type(f"unheard-of {size}\n".encode())
        assert await node.hears(b"unheard-of", 4) == [b"", b"\0", bytes(70_000), bytes(BIG)]
        assert await node.hears(b"pong", 4) == [size.to_bytes(8, "little") for size in (0, 1, 70_000, BIG)]
        assert not await _rejects(node)


@pytest.mark.row("F7", "S14")
async def test_bcoin_gives_the_block_that_we_ask_for(bcoin):
    async with dialled(bcoin) as (node, _program):
        await node.greet()
        # The first block of the network. Its name is its hash, so it is checked all through.
        name = bytes.fromhex("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206")[::-1]
        await node.send_message((b"getdata", b"\x01\x02\0\0\0" + name))
        (block,) = await node.hears(b"block")
        assert hashlib.sha256(hashlib.sha256(block[:80]).digest()).digest() == name


# --- what is wrong -----------------------------------------------------------------------------------------------


async def _rejects(node: Node) -> list[bytes]:
    """Return the rejections that came before the answer to a ping, which follows on them."""
    assert await node.ping(b"the last") == b"the last"
    return [payload for name, payload in node.heard if name == b"reject"]


@pytest.mark.row("F7", "S14")
@pytest.mark.parametrize("command", [b"bad-sum", b"bad-magic", b"bad-length"])
async def test_bcoin_rejects_what_we_spoil_and_goes_on(bcoin, command):
    async with dialled(bcoin, framer=Spoiling) as (node, _program):
        await node.greet()
        await node.send_message((command, bytes(100)))
        assert await _rejects(node) == [REJECTED]


@pytest.mark.row("F7", "S14")
async def test_bcoin_bans_who_spoils_too_much_and_our_session_ends(bcoin):
    async with dialled(bcoin, framer=Spoiling) as (node, program):
        await node.greet()
        assert await program.line() == opened_line()
        for _ in range(10):
            await node.send_message((b"bad-sum", bytes(100)))
        assert await program.line() == "banned"
        await node.wait_closed()
        assert isinstance(node.close_reason, ConnectionLost)
        with pytest.raises(ConnectionLost):
            await node.send_message((b"ping", bytes(8)))


@pytest.mark.row("F7", "S14")
async def test_a_bad_checksum_of_bcoin_costs_that_message_alone(bcoin):
    async with dialled(bcoin) as (node, program):
        await node.greet()
        for line in (b"good 5\n", b"spoiled 100000 01020304\n", b"spoiled 0 00000000\n", b"good 6\n"):
            program.type(line)
        assert await node.hears(b"good", 2) == [bytes(5), bytes(6)]
        assert b"spoiled" not in {name for name, _payload in node.heard}
        assert node.stats.errors == 2
        assert node.close_reason is None


@pytest.mark.row("S14")
async def test_too_many_bad_checksums_of_bcoin_end_our_session(bcoin):
    async with dialled(bcoin, limits=Limits(max_errors=3)) as (node, program):
        await node.greet()
        program.type(b"spoiled 5 01020304\n" * 3 + b"good 5\n")
        await node.hears(b"good")
        program.type(b"spoiled 5 01020304\n")
        await node.wait_closed()
        assert isinstance(node.close_reason, RemoteProtocolError)
        assert "damaged" in str(node.close_reason)


@pytest.mark.row("F7", "S14")
async def test_a_node_of_another_network_ends_our_session(bcoin):
    async with dialled(bcoin, framer=BitcoinFramer) as (node, _program):  # ours is of the main network
        await node.wait_closed()  # bcoin speaks first
        assert isinstance(node.close_reason, RemoteProtocolError)
        assert f"0x{REGTEST.hex()}" in str(node.close_reason)
        assert node.heard == []


@pytest.mark.row("F7", "S14")
async def test_a_message_of_bcoin_over_our_limit_ends_our_session(bcoin):
    async with dialled(bcoin, framer=Regtest(max_payload_size=70_000)) as (node, program):
        await node.greet()
        program.type(b"large 70000\nlarger 70001\n")
        await node.wait_closed()
        assert await node.hears(b"large") == [bytes(70_000)]
        assert isinstance(node.close_reason, MessageTooLarge)
        assert node.close_reason.limit == 70_000


async def _flood(node: Node) -> None:
    """Send until a message has to wait for 0.2 s, and end with TimeoutError then."""
    while True:
        async with aio.timeout(0.2):
            await node.send_message((b"not-known", bytes(BIG)))


@pytest.mark.row("S14")
async def test_senders_wait_for_a_bcoin_that_does_not_read_and_hear_that_it_was_killed(bcoin):
    async with dialled(bcoin) as (node, program):
        await node.greet()
        program.pause()
        with pytest.raises(TimeoutError):
            await _flood(node)
        senders = [aio.create_task(node.send_message((b"ping", bytes(8)))) for _ in range(5)]
        program.kill()
        for sender in senders:
            with pytest.raises(ConnectionLost) as caught:
                await sender
            assert caught.value.__cause__ is node.close_reason
        await node.wait_closed()
        assert isinstance(node.close_reason, ConnectionLost)


# --- it dials us -------------------------------------------------------------------------------------------------


@pytest.mark.row("F7", "S14")
async def test_bcoin_dials_our_server(bcoin):
    nodes: aio.Queue = aio.Queue()

    def arriving() -> Node:
        node = Node()
        nodes.put_nowait(node)
        return node

    async with (
        tieline.serve(arriving, "tcp://127.0.0.1:0") as server,
        running(*bcoin, server.url.removeprefix("tcp://")) as program,
    ):
        node = await nodes.get()
        (version,) = await node.hears(b"version")
        assert agent(version).startswith(b"/bcoin:")
        await node.send_message((b"version", hello()))
        await node.hears(b"verack")
        # Of those that it has dialled it wants blocks, and so asks for them.
        await node.hears(b"getaddr")
        await node.hears(b"getblocks")
        assert await node.ping(b"01234567") == b"01234567"
        program.type(b"ping 8\n")
        await node.hears(b"ping")
        program.kill()
        await node.wait_closed()
        assert not server.sessions
