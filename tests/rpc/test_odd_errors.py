# SPDX-License-Identifier: MIT
"""Errors and events that name no call of ours, as real servers send them (spec/real_peers.md, section 2)."""

import pytest

from tests.rpc.typist import V1, V2, second_answer, typist
from tieline import ConnectionLost, EndOfStream


@pytest.mark.row("J4")
async def test_a_stream_of_foreign_events_does_not_end_a_dialled_session():
    typed = b'{"notification":"tick","params":[1]}\n' * 500
    async with typist(typed + b'{"jsonrpc":"2.0","result":7,"id":0}\n', second_answer(V2)) as (session, _peer):
        assert await session.call("first") == 7
        assert await session.call("second") == "still here"


async def test_an_old_error_is_not_told_as_the_cause_of_a_clean_end():
    refusal = b'{"id":null,"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request."}}\n'
    async with typist(refusal, b'{"jsonrpc":"2.0","result":7,"id":0}\n', hangs_up=True) as (session, _peer):
        await session.notify("tell", 1)
        assert await session.call("first") == 7
        with pytest.raises(ConnectionLost) as caught:
            await session.call("second")
        assert isinstance(caught.value.__cause__, EndOfStream)
        assert caught.value.__cause__.__cause__ is None


async def test_a_refusal_that_names_no_call_is_told_when_the_call_times_out():
    refusal = b'{"result":null,"error":{"code":-32600,"message":"Invalid request"},"id":null}\n'
    async with typist(refusal, protocol=V1) as (session, _peer):
        with pytest.raises(TimeoutError) as caught:
            await session.call("first", timeout=0.05)
        assert getattr(caught.value.__cause__, "code", None) == -32600


@pytest.mark.row("J10")
async def test_a_batch_refused_in_the_shape_of_1_0_fails_at_once_in_strict_2_0_too():
    refusal = b'{"result":null,"error":{"code":-32600,"message":"no"},"id":null}\n'
    async with typist(refusal, second_answer(V2).replace(b'"id":1', b'"id":2')) as (session, _peer):
        batch = session.new_batch()
        batch.add_request("a")
        batch.add_request("b")
        session.send_batch(batch)
        assert await session.call("c") == "still here"
        done = batch.done()
        batch.cancel()
        assert done
