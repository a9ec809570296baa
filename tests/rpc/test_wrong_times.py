# SPDX-License-Identifier: MIT
"""Times that are none are told by the name of their argument, and what they were given to has not begun."""

from __future__ import annotations

import socket
from decimal import Decimal
from fractions import Fraction
from math import nan
from typing import Any

import pytest

import tieline
from tests import aio
from tests.rpc.sessions import no_entries, pair, turns
from tieline import Limits, Methods, Server, SOCKSProxy

# What is given, the class of the error, and what it says besides the name.
WRONG: list[Any] = [
    pytest.param("1", TypeError, "must be a number.*, not str", id="text"),
    pytest.param(Decimal(1), TypeError, "must be a number.*, not Decimal", id="decimal"),
    pytest.param(-1, ValueError, "must be 0 or more seconds.*, not -1", id="negative"),
    pytest.param(nan, ValueError, "must be 0 or more seconds.*, not nan", id="nan"),
    pytest.param(1j, TypeError, "must be a number.*, not complex", id="complex"),
    pytest.param(10**400, ValueError, "must be 0 or more seconds.*, not one beyond 1e308", id="beyond floats"),
]


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
async def test_times_of_calls(given: Any, error: type[Exception], text: str) -> None:
    methods = Methods()

    @methods.method
    def double(n: int) -> int:
        return 2 * n

    async with pair(methods) as both:
        client = both.client
        with pytest.raises(error, match=f"^timeout {text}"):
            await client.call("double", 1, timeout=given)
        with pytest.raises(error, match=f"^timeout {text}"):
            client.send_request("double", [1], timeout=given)
        with pytest.raises(error, match=f"^timeout {text}"):
            async with client.batch(timeout=given) as batch:
                batch.add_request("double", [1])
        assert no_entries(client)
        assert client.stats.messages_out == 0
        assert await client.call("double", 1, timeout=5) == 2


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
async def test_the_time_of_a_call_that_would_wait_for_room(given: Any, error: type[Exception], text: str) -> None:
    methods = Methods()
    gate = aio.Event()

    @methods.method
    async def wait() -> None:
        await gate.wait()

    async with pair(methods, client_limits=Limits(max_calls=1)) as both:
        first = aio.create_task(both.client.call("wait"))
        await turns()
        with pytest.raises(error, match=f"^timeout {text}"):
            await both.client.call("wait", timeout=given)
        gate.set()
        await first
        assert no_entries(both.client)


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
async def test_the_time_of_a_close(given: Any, error: type[Exception], text: str) -> None:
    methods = Methods()

    @methods.method
    def double(n: int) -> int:
        return 2 * n

    async with pair(methods) as both:
        with pytest.raises(error, match=f"^force_after {text}"):
            await both.client.aclose(given)
        assert await both.client.call("double", 1) == 2


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
async def test_times_to_connect_and_to_ask_proxies(given: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^connect_timeout {text}"):
        tieline.connect("tcp://127.0.0.1:1", connect_timeout=given)
    with pytest.raises(error, match=f"^connect_timeout {text}"):
        await tieline.create_connection(object, "127.0.0.1", 1, connect_timeout=given, nursery=aio.nursery())
    proxy = SOCKSProxy(("127.0.0.1", 1), tieline.SOCKS5, None)
    with pytest.raises(error, match=f"^timeout {text}"):
        await proxy.create_connection(object, "127.0.0.1", 1, timeout=given, nursery=aio.nursery())
    with pytest.raises(error, match=f"^timeout {text}"):
        await proxy.resolve("name", timeout=given)
    with pytest.raises(error, match=f"^timeout {text}"):
        await tieline.check_proxy(proxy, timeout=given)
    with pytest.raises(error, match=f"^timeout {text}"):
        await SOCKSProxy.auto_detect_address(("127.0.0.1", 1), timeout=given)


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
async def test_times_of_a_server_to_end(given: Any, error: type[Exception], text: str) -> None:
    server: Server = tieline.serve(Methods(), "tcp://127.0.0.1:0")
    with pytest.raises(error, match=f"^grace {text}"):
        await server.serve_forever(grace=given)
    with pytest.raises(error, match=f"^deadline {text}"):
        await server.shutdown(given)
    async with server:  # nothing has happened
        assert server.is_serving()


async def test_a_fraction_is_a_time_wherever_one_is_taken() -> None:
    methods = Methods()
    gate = aio.Event()

    @methods.method
    async def wait() -> None:
        await gate.wait()

    time: Any = Fraction(1, 100)
    async with pair(methods) as both:
        with pytest.raises(TimeoutError):
            await both.client.call("wait", timeout=time)
        gate.set()
        await both.client.aclose(time)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        secure = tieline.connect(f"tls://127.0.0.1:{silent.getsockname()[1]}", connect_timeout=time)
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            async with secure:
                pass
