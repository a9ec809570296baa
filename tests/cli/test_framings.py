# SPDX-License-Identifier: MIT
"""Each framing and each protocol, by the names that the command line has for them, at both ends."""

import asyncio
from contextlib import AsyncExitStack

import pytest

import tieline as library
from tests.cli.programs import CommandLine
from tieline.cli.announcing import announcement
from tieline.cli.exits import Exit, Failure
from tieline.cli.names import DialectName, Framing, Protocol, framer_of, protocol_of
from tieline.cli.serving import Plan, Service, started


@pytest.mark.parametrize("framing", Framing)
async def test_each_framing_at_both_ends(tieline: CommandLine, framing: Framing) -> None:
    plan = Plan(target="tieline.cli.demo_service", listen=("tcp://127.0.0.1:0",), framing=framing)
    async with AsyncExitStack() as stack:
        (server,) = await started(stack, Service(plan))
        done = await asyncio.to_thread(tieline, "call", server.url, "add", "1", "2", "--framing", framing)
        assert (done.code, done.out, done.err) == (0, "3\n", "")
        done = await asyncio.to_thread(tieline, "notify", server.url, "add", "1", "--framing", framing)
        assert (done.code, done.err) == (0, "")
        done = await asyncio.to_thread(tieline, "methods", server.url, "--framing", framing)
        assert done.code == 0
        assert "stock.take" in done.out


@pytest.mark.parametrize("protocol", Protocol)
async def test_each_protocol_at_both_ends(tieline: CommandLine, protocol: Protocol) -> None:
    plan = Plan(target="tieline.cli.demo_service", listen=("tcp://127.0.0.1:0",), protocol=protocol)
    async with AsyncExitStack() as stack:
        (server,) = await started(stack, Service(plan))
        done = await asyncio.to_thread(tieline, "call", server.url, "add", "1", "2", "--protocol", protocol)
        assert (done.code, done.out, done.err) == (0, "3\n", "")


@pytest.mark.parametrize("dialect", DialectName)
async def test_each_dialect_at_both_ends(tieline: CommandLine, dialect: DialectName) -> None:
    plan = Plan(target="tieline.cli.demo_service", listen=("tcp://127.0.0.1:0",), dialect=dialect)
    async with AsyncExitStack() as stack:
        (server,) = await started(stack, Service(plan))
        named_only = dialect in (DialectName.MCP, DialectName.ACP)
        arguments = ("a=1", "b=2") if named_only else ("1", "2")
        done = await asyncio.to_thread(tieline, "call", server.url, "add", *arguments, "--dialect", dialect)
        assert (done.code, done.out, done.err) == (0, "3\n", "")


@pytest.mark.parametrize("other", [("--framing", "varint"), ("--protocol", "1.0")])
def test_a_dialect_says_by_itself_what_other_options_are_for(tieline: CommandLine, other: tuple[str, str]) -> None:
    done = tieline("call", "tcp://127.0.0.1:1", "f", "--dialect", "lsp", *other)
    assert done.code == Exit.USAGE
    assert f"--dialect lsp says by itself what {other[0]} is for" in done.error


async def test_over_websocket(tieline: CommandLine) -> None:
    plan = Plan(target="tieline.cli.demo_service", listen=("ws://127.0.0.1:0/rpc",))
    async with AsyncExitStack() as stack:
        (server,) = await started(stack, Service(plan))
        done = await asyncio.to_thread(tieline, "call", server.url, "add", "1", "2")
        assert (done.code, done.out, done.err) == (0, "3\n", "")


async def test_the_wrong_framing_is_told_with_what_to_do(tieline: CommandLine) -> None:
    plan = Plan(target="tieline.cli.demo_service", listen=("tcp://127.0.0.1:0",), framing=Framing.NETSTRING)
    async with AsyncExitStack() as stack:
        (server,) = await started(stack, Service(plan))
        done = await asyncio.to_thread(tieline, "call", server.url, "add", "1", "2", "--timeout", "5")
        assert done.code in {Exit.LOST, Exit.ANSWERED_ERROR}
        assert "--framing" in done.error


def test_a_client_is_told_what_to_say() -> None:
    plan = Plan(target="x", framing=Framing.VARINT, protocol=Protocol.V1)
    lines = list(announcement(plan, ["f"], ["tcp://127.0.0.1:1"], ["f"]))
    assert "try: tieline call tcp://127.0.0.1:1 f --framing varint --protocol 1.0" in lines


def test_the_defaults_are_those_of_the_library() -> None:
    assert framer_of(Framing.NEWLINE) is None
    assert protocol_of(Protocol.V2) is None
    names = {getattr(framer_of(framing), "__name__", "NewlineFramer") for framing in Framing}
    assert names <= set(library.__all__)
    assert len(names) == len(Framing)


def test_a_framing_that_this_version_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tieline.cli.names._FRAMERS", {Framing.VARINT: "NoSuchFramer"})
    with pytest.raises(Failure, match="has no framing 'varint'"):
        framer_of(Framing.VARINT)
