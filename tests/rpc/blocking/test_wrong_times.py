# SPDX-License-Identifier: MIT
"""Times that are none are told by the name of their argument, in blocking code."""

from __future__ import annotations

import asyncio
import socket
from fractions import Fraction
from functools import partial
from typing import Any

import pytest

import tieline.blocking
from tests.rpc.blocking.peers import METHODS, entries, no_entries, pair, raw_pair
from tests.rpc.test_wrong_times import WRONG
from tieline.blocking import BlockingRequest, SOCKSProxy, connect, serve


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
def test_times_of_calls(given: Any, error: type[Exception], text: str) -> None:
    with pair() as session:
        with pytest.raises(error, match=f"^timeout {text}"):
            session.send_request("add", [1, 2], timeout=given)
        with pytest.raises(error, match=f"^timeout {text}"), session.batch(timeout=given) as batch:
            batch.add_request("add", [1, 2])
        with pytest.raises(error, match=f"^timeout {text}"):  # by the short way too, before anything is sent
            session.call("add", 1, 2, timeout=given)
        assert session.stats.messages_out == 0
        assert no_entries(session), entries(session)
        assert session.call("add", 1, 2, timeout=5) == 3


def test_a_type_error_of_arguments_is_not_taken_for_one_of_the_time() -> None:
    with pair() as session, pytest.raises(TypeError, match="object"):
        session.call("add", object(), timeout=1.0)


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
def test_times_of_those_who_wait(given: Any, error: type[Exception], text: str) -> None:
    with pair() as session:
        request = session.send_request("add", [1, 2])
        assert isinstance(request, BlockingRequest)
        for wait in (request.result, request.exception, session.poll, session.wait_closed):
            with pytest.raises(error, match=f"^timeout {text}"):
                wait(given)
        batch = session.new_batch()
        batch.add_request("add", [1, 2])
        session.send_batch(batch)
        with pytest.raises(error, match=f"^timeout {text}"):
            batch.result(given)
        with pytest.raises(error, match=f"^force_after {text}"):
            session.close(given)
        assert request.result(5) == 3
        assert batch.result(5).results == (3,)


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
def test_times_of_a_transport_that_is_polled(given: Any, error: type[Exception], text: str) -> None:
    here, there = socket.socketpair()
    with there:
        transport, _ = tieline.blocking.create_unix_connection(asyncio.Protocol, sock=here)
        for wait in (transport.poll, transport.wait_closed):
            with pytest.raises(error, match=f"^timeout {text}"):
                wait(given)
        transport.abort()
        transport.wait_closed(5)


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
def test_times_to_connect_and_to_ask_proxies(given: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^connect_timeout {text}"):
        connect("tcp://127.0.0.1:1", connect_timeout=given)
    with pytest.raises(error, match=f"^connect_timeout {text}"):
        tieline.blocking.create_connection(asyncio.Protocol, "127.0.0.1", 1, connect_timeout=given)
    proxy = SOCKSProxy(("127.0.0.1", 1), tieline.SOCKS5, None)
    with pytest.raises(error, match=f"^timeout {text}"):
        proxy.create_connection(asyncio.Protocol, "127.0.0.1", 1, timeout=given)
    with pytest.raises(error, match=f"^timeout {text}"):
        proxy.resolve("name", timeout=given)
    with pytest.raises(error, match=f"^timeout {text}"):
        tieline.blocking.check_proxy(proxy, timeout=given)
    with pytest.raises(error, match=f"^timeout {text}"):
        SOCKSProxy.auto_detect_address(("127.0.0.1", 1), timeout=given)


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
def test_times_of_a_server_to_end(given: Any, error: type[Exception], text: str) -> None:
    server: Any = serve(METHODS, "tcp://127.0.0.1:0")
    with pytest.raises(error, match=f"^grace {text}"):
        server.serve_forever(grace=given)
    with server, pytest.raises(error, match=f"^deadline {text}"):
        server.shutdown(given)


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
def test_times_of_streams(given: Any, error: type[Exception], text: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = tieline.blocking.open_connection(*listener.getsockname())
        there, _ = listener.accept()
    with there:
        there.sendall(b"line\n")
        for wait in (
            reader.read,
            partial(reader.readexactly, 1),
            reader.readline,
            reader.readuntil,
            writer.drain,
            writer.wait_closed,
        ):
            with pytest.raises(error, match=f"^timeout {text}"):
                wait(timeout=given)
        assert reader.readline(timeout=5) == b"line\n"
        writer.transport.abort()


def test_a_fraction_is_a_time_wherever_one_is_taken() -> None:
    time: Any = Fraction(1, 100)
    with raw_pair() as (session, server):
        with pytest.raises(TimeoutError):
            session.call("never", timeout=time)
        request = session.send_request("never")
        assert isinstance(request, BlockingRequest)
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            request.result(time)
        assert [server.line()["method"] for _ in range(2)] == ["never"] * 2
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = tieline.blocking.open_connection(*listener.getsockname(), connect_timeout=time * 1000)
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            reader.readline(time)
        writer.write(b"x" * (32 << 20))
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            writer.drain(time)
        writer.transport.abort()
