# SPDX-License-Identifier: MIT
"""Case 80: what repr() and str() of public objects and the texts of exceptions tell: never what a caller passed."""

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tieline
import tieline.blocking
from tieline import TCP, TLS, Limits, Methods, RPCBatch, RPCError, RPCRequest, RPCResponse, UnixStream

SECRET = "correct horse"
# Also in parts: what is cut still tells enough.
PARTS = ("correct", "horse")

IN_TLS = TLS(certificate="a.pem", password=SECRET, server_hostname="localhost")


@dataclass
class Login:
    user: str
    password: str


class LoginStruct(msgspec.Struct):
    user: str
    password: str


def hides(*shown: object) -> None:
    """See that nothing tells the secret, however it is shown: by itself, in a container, in a traceback."""
    for one in shown:
        texts = [repr(one), str(one), repr([one]), f"{one}", f"{one!r:.1000}"]
        if isinstance(one, BaseException):
            texts += [repr(one.args), *traceback.format_exception_only(one), *getattr(one, "__notes__", ())]
            if one.__cause__ is not None:
                hides(one.__cause__)
        for text in texts:
            assert not [part for part in PARTS if part in text], text


ARGUMENTS: list[Any] = [
    [SECRET],
    (SECRET, [SECRET]),
    {"password": SECRET},
    {"deep": {"down": [SECRET]}},
    Login("ann", SECRET),
    LoginStruct("ann", SECRET),
]

ITEMS: list[tuple[str, Callable[[Any], object]]] = [
    ("request", lambda value: RPCRequest("login", value, 1)),
    ("notification", lambda value: RPCRequest("login", value, None)),
    ("response", lambda value: RPCResponse(value, 1)),
    ("error response", lambda value: RPCResponse(RPCError(1, "no", data=value), 1)),
    ("request batch", lambda value: RPCBatch([RPCRequest("login", value, 1)])),
    ("response batch", lambda value: RPCBatch([RPCResponse(value, 1), RPCResponse(RPCError(1, "no", data=value), 2)])),
    ("error", lambda value: RPCError(1, "no", data=value)),
    ("ill-formed request", lambda value: RPCRequest(RPCError(1, "no", data=value), value, 1)),
    ("reply, then the end", tieline.ReplyAndDisconnect),
    ("error, then the end", lambda value: tieline.ReplyAndDisconnect(RPCError(1, "no", data=value))),
    ("reply, then TLS", lambda value: tieline.ReplyAndStartTLS(value, IN_TLS)),
]


@pytest.mark.row("H80")
@pytest.mark.parametrize("value", ARGUMENTS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(("name", "make"), ITEMS, ids=[name for name, _ in ITEMS])
def test_no_item_shows_what_it_carries(name: str, make: Callable[[Any], object], value: Any) -> None:
    hides(make(value))


PLACES: list[Callable[[], object]] = [
    lambda: IN_TLS,
    lambda: TCP("localhost", 1, tls=IN_TLS),
    lambda: TCP(None, 1, tls=IN_TLS),
    lambda: UnixStream("/run/x", tls=IN_TLS),
    lambda: tieline.connect("tls://localhost:1", tls=IN_TLS),
    lambda: tieline.connect("unix:///run/x", tls=IN_TLS),
    lambda: tieline.connect(TCP("localhost", 1, tls=IN_TLS)).endpoint,
    lambda: tieline.serve(Methods(), "tls://localhost:0", tls=IN_TLS),
    lambda: tieline.serve(Methods(), "unix:///run/x", tls=IN_TLS).endpoint,
    lambda: tieline.ClientSession("localhost", 1, ssl=IN_TLS),
]


AUTH = tieline.SOCKSUserAuth(SECRET, SECRET)
IN_URL = SECRET.replace(" ", "%20")

PROXIES: list[Callable[[], object]] = [
    lambda: AUTH,
    lambda: tieline.SOCKSProxy(("h", 1), tieline.SOCKS5, AUTH),
    lambda: tieline.SOCKSProxy("/run/x", tieline.SOCKS4a, AUTH),
    lambda: tieline.HTTPConnectProxy(("h", 1), (SECRET, SECRET)),
    lambda: tieline.HTTPConnectProxy("@x", AUTH),
    lambda: tieline.SOCKSProxy(("h", 1), tieline.SOCKS5, AUTH).dialogue("h", 1),
    lambda: tieline.blocking.SOCKSProxy(("h", 1), tieline.SOCKS5, AUTH),
    lambda: tieline.blocking.HTTPConnectProxy(("h", 1), AUTH),
    lambda: tieline.HTTPConnectProxy(("h", 1), AUTH).dialogue("h", 1),
    lambda: tieline.proxy_from_environment(variables={"ALL_PROXY": f"socks5://{IN_URL}:{IN_URL}@h:1"}),
    lambda: tieline.blocking.connect("tcp://h:1", proxy=f"http://{IN_URL}:{IN_URL}@h:1").proxy(),
    lambda: tieline.connect("tcp://h:1", proxy=f"socks5://{IN_URL}:{IN_URL}@h:1"),
    lambda: tieline.connect("tcp://h:1", proxy=f"socks5://{IN_URL}:{IN_URL}@h:1").proxy(),
    lambda: tieline.connect("tcp://h:1", proxy=[f"http://{IN_URL}:{IN_URL}@h:1", f"socks4a://{IN_URL}@h:1"]).proxy(),
]


@pytest.mark.row("P2", "H80")
@pytest.mark.parametrize("make", PROXIES)
def test_no_proxy_shows_what_it_is_told(make: Callable[[], object]) -> None:
    hides(make())


@pytest.mark.row("H80")
@pytest.mark.parametrize("make", PLACES)
def test_no_place_shows_the_password_of_its_key(make: Callable[[], object]) -> None:
    hides(make())


REFUSED: list[Callable[[], object]] = [
    lambda: tieline.parse(f"tcp://ann:{SECRET.replace(' ', '-')}@localhost:1"),
    lambda: tieline.parse(f"tls://ann:{SECRET.replace(' ', '-')}@localhost:1"),
    lambda: tieline.parse(f"tcp://localhost:1?password={SECRET.replace(' ', '-')}"),
    lambda: tieline.parse(f"tcp://localhost:1#{SECRET.replace(' ', '-')}"),
    lambda: tieline.connect(f"tcp://ann:{SECRET}@localhost:1"),
    lambda: tieline.serve(Methods(), f"tcp://ann:{SECRET}@localhost:1"),
    lambda: TCP(f"ann:{SECRET}@localhost", 1),
    lambda: TLS(server_hostname=f"ann:{SECRET}@localhost"),
    lambda: TLS(certificate="a.pem", password=[SECRET]),  # type: ignore[arg-type]  # that is the fault
    lambda: TLS(password=SECRET),
    lambda: TCP("localhost", 1, tls=SECRET),  # type: ignore[arg-type]  # as above
    lambda: tieline.ReplyAndStartTLS(SECRET, SECRET),  # type: ignore[arg-type]  # as above
    lambda: tieline.ReplyAndStartTLS(RPCError(1, "no", data=SECRET), IN_TLS),
    lambda: TLS(certificate=str(Path(__file__)), password=SECRET).server_context(),
]


@pytest.mark.row("H80")
@pytest.mark.parametrize("make", REFUSED)
def test_no_refusal_repeats_a_secret(make: Callable[[], object]) -> None:
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        make()
    hides(caught.value)


def handlers() -> Methods:
    methods = Methods()

    @methods.method
    def login(password: str) -> str:
        return password

    @methods.method
    def count(number: int) -> int:
        return number

    @methods.method
    def leak() -> None:
        raise ValueError(SECRET)

    @methods.method
    async def wait(password: str) -> None:
        await asyncio.sleep(60)

    return methods


@pytest.mark.row("H80")
async def test_no_session_shows_what_went_over_it(tmp_path: Path) -> None:
    async with (
        tieline.serve(handlers(), f"unix://{tmp_path / 's'}") as server,
        tieline.connect(server.url) as session,
    ):
        assert await session.call("login", SECRET) == SECRET
        answered = session.send_request("login", [SECRET])
        await answered
        waiting = session.send_request("wait", [SECRET])
        batch = session.new_batch()
        batch.add_request("login", [SECRET])
        batch.add_notification("login", {"password": SECRET})
        hides(batch, *batch.items)
        session.send_batch(batch)
        await batch
        hides(session, session.stats, session.endpoint, answered, waiting, batch, *batch.items, batch.results[:0])
        (accepted,) = server.sessions
        hides(server, accepted, accepted.stats)
        waiting.cancel()
        hides(waiting)


FAILING: list[tuple[str, list[Any]]] = [
    ("count", [SECRET]),
    ("count", [1, SECRET]),
    ("count", [{"number": SECRET}]),
    ("count", [{SECRET: SECRET}]),
    ("login", [SECRET, SECRET]),
    ("leak", []),
    ("nothing", [SECRET]),
    ("login", [SECRET * 1000]),  # over max_message
    ("login", [iter([SECRET])]),
    ("login", [{(SECRET,): 1}]),
]


@pytest.mark.row("H80")
async def test_no_failure_tells_what_was_passed(tmp_path: Path) -> None:
    limits = Limits(max_message=2000)
    async with (
        tieline.serve(handlers(), f"unix://{tmp_path / 's'}") as server,
        tieline.connect(server.url, limits=limits) as session,
    ):
        for method, params in FAILING:
            with pytest.raises((tieline.TielineError, TypeError, ValueError)) as caught:
                await session.call(method, *params)
            hides(caught.value)
        with pytest.raises(TimeoutError) as late:
            await session.call("wait", SECRET, timeout=0.01)
        hides(late.value)
