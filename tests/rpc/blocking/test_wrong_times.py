# SPDX-License-Identifier: MIT
"""Times that are none are told by the name of their argument, in blocking code."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

import tieline.blocking
from tests.rpc.blocking.peers import METHODS, entries, no_entries, pair
from tests.rpc.test_wrong_times import WRONG
from tieline.blocking import BlockingRequest, SOCKSProxy, connect, serve


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
def test_times_of_calls(given: Any, error: type[Exception], text: str) -> None:
    with pair() as session:
        with pytest.raises(error, match=f"^timeout {text}"):
            session.send_request("add", [1, 2], timeout=given)
        with pytest.raises(error, match=f"^timeout {text}"), session.batch(timeout=given) as batch:
            batch.add_request("add", [1, 2])
        if given != 1:  # one decimal goes the short way, which compares it alone
            with pytest.raises(error, match=f"^timeout {text}"):
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
