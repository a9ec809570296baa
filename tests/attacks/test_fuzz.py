# SPDX-License-Identifier: MIT
"""Any bytes whatever: an answer or a closed connection, never a silent open socket.

A few seconds each; TIELINE_LONG=1 runs a minute each. TIELINE_SEED=... plays one seed again, which a failure names.
"""

import json
import os
import random
import time

import pytest

import tieline
from tests import aio
from tests.attacks.attacked import AttackedServer
from tests.attacks.fuzzing import pieces, spoiled
from tests.attacks.raw import Peer
from tests.attacks.test_hostile_server import scripted

SECONDS = 60.0 if os.environ.get("TIELINE_LONG") else 1.5
SEED = os.environ.get("TIELINE_SEED")
PATIENCE = 10.0
KINDS = ("v2", "v2", "v2", "v1", "loose", "auto", "strict", "decimal", "stdlib", "narrow")
PROBE = {"jsonrpc": "2.0", "method": "add", "params": [40, 2], "id": "probe of the fuzzer"}


def is_probe_answered(message: object) -> bool:
    return isinstance(message, dict) and message.get("id") == PROBE["id"] and "method" not in message


def probe_is_answered(peer: Peer, kind: str) -> bool:
    """Send a good call behind whatever was sent; return whether it was answered. Fails on silence."""
    probe = {name: value for name, value in PROBE.items() if kind != "v1" or name != "jsonrpc"}
    # The first newline ends a half line; what was sent may have made the auto-detecting server speak 1.0 or 2.0.
    if not peer.send(b"\n" + json.dumps(probe).encode() + b"\n", patience=PATIENCE):
        return False
    while (found := peer.take_line(PATIENCE)) is not None:
        message = json.loads(found)  # never anything else than JSON
        if any(map(is_probe_answered, message if isinstance(message, list) else [message])):
            return True
    return False


def seeds() -> range:
    first = int(SEED) if SEED else random.SystemRandom().randrange(1 << 32)
    return range(first, first + (1 if SEED else 1_000_000))


@pytest.mark.row("S6", "J2")
def test_the_server_answers_or_closes_whatever_comes(server: AttackedServer, transport: str) -> None:
    before = server.ask("settle")
    until = time.monotonic() + SECONDS / 2
    answered = closed = 0
    for seed in seeds():
        rng = random.Random(seed)
        kind = rng.choice(KINDS)
        try:
            with server.peer(kind, transport) as peer:
                for piece in pieces(spoiled(rng), rng):
                    peer.send(piece, patience=PATIENCE)
                if probe_is_answered(peer, kind):
                    answered += 1
                else:
                    closed += 1
                    assert peer.ended or peer.was_reset or peer.is_refused
        except Exception as exc:
            raise AssertionError(f"TIELINE_SEED={seed} ({kind}, {transport}): {exc!r}") from exc
        if time.monotonic() > until and (answered > 20 and closed > 5):
            break  # a loaded box takes longer to have seen both
    server.ask("marked")
    after = server.settled_like(before, 40.0)  # a call back whose timeout was spoiled may wait for 30 s
    for name in ("fds", "sessions", "running", "pending"):
        assert after[name] <= before[name], (name, before, after)


@pytest.mark.row("S6", "S7", "J2")
async def test_the_client_ends_every_call_whatever_comes() -> None:
    until = aio.now() + SECONDS / 2
    errors = (tieline.RPCError, tieline.RemoteProtocolError, tieline.ConnectionLost, TimeoutError)
    seed = 0

    async def script(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        rng = random.Random(seed)
        await reader.readline()
        for piece in pieces(spoiled(rng), rng):
            writer.write(piece)
            await aio.sleep(0)
        writer.write(b"\n")
        if rng.random() < 0.2:
            writer.write_eof()
            return
        await writer.drain()
        while line := await reader.readline():
            if b'"last"' in line:
                call_id = json.loads(line)["id"]
                writer.write(b'\n{"jsonrpc":"2.0","result":"last","id":%d}\n' % call_id)

    async with scripted(script) as url:
        for seed in seeds():
            try:
                async with tieline.connect(url) as session, aio.timeout(PATIENCE):
                    calls = [session.call("any", timeout=0.02), session.call("other", 1, timeout=0.02)]
                    for outcome in await aio.gather(*calls, return_exceptions=True):
                        # What was spoiled may by chance be an answer.
                        assert not isinstance(outcome, BaseException) or isinstance(outcome, errors), repr(outcome)
                    try:
                        assert await session.call("last", timeout=PATIENCE) == "last"
                    except tieline.ConnectionLost:
                        assert session.is_closing()
                    assert session.stats.pending == 0
            except Exception as exc:
                raise AssertionError(f"TIELINE_SEED={seed}: {exc!r}") from exc
            if aio.now() > until:
                break
