# SPDX-License-Identifier: MIT
"""What no session or server can be made of is told where it is given, by its name, and not at the first connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import tieline
from tieline import blocking
from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.other_codecs import DecimalCodec

URL = "tcp://127.0.0.1:0"


class Lacking:
    """Can do all but write."""

    def decode(self, data: bytes) -> object: ...

    def convert(self, obj: object, type: object) -> object: ...


class OfBlockingCode(blocking.ServerSession):
    def __init__(self, **_: Any) -> None: ...


class Dials(tieline.ClientSession): ...


# Any: what is given is wrong on purpose.
connect: Any = tieline.connect
blocking_connect: Any = blocking.connect
serve: Any = tieline.serve
blocking_serve: Any = blocking.serve

MAKERS: dict[str, Callable[..., object]] = {
    "connect": partial(connect, URL),
    "blocking.connect": partial(blocking_connect, URL),
    "ServerSession": tieline.ServerSession,
    "serve": partial(serve, tieline.Methods(), URL),
    "blocking.serve": partial(blocking_serve, tieline.Methods(), URL),
    "serve a class": partial(serve, tieline.ServerSession, URL),
}
GIVEN: dict[str, tuple[str, object, str]] = {
    "a number as protocol": ("rpc_protocol", 5, "rpc_protocol must be a subclass of JSONRPC, not 5"),
    "an object as protocol": ("rpc_protocol", tieline.JSONRPCv2(), "rpc_protocol must be a subclass of JSONRPC"),
    "a number as codec": ("codec", 5, "codec must be a Codec, and 5 has no encode"),
    "half a codec": ("codec", Lacking(), "codec must be a Codec, and .* has no encode"),
    "the class of a codec": ("codec", DecimalCodec, r"not the class DecimalCodec: did you mean DecimalCodec\(\)\?"),
    "a number as framer": ("framer", 5, "framer must be a .*, not int"),
}


@pytest.mark.row("S1", "S3")
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("case", GIVEN)
def test_what_nothing_can_be_spoken_with_is_refused_where_it_is_given(maker: str, case: str) -> None:
    name, value, told = GIVEN[case]
    with pytest.raises(TypeError, match=told):
        MAKERS[maker](**{name: value})


@pytest.mark.parametrize("maker", [tieline.connect, blocking.connect])
def test_a_session_factory_that_cannot_be_called_is_refused_by_its_name(maker: Any) -> None:
    with pytest.raises(TypeError, match="session_factory must be a class of sessions, not int"):
        maker(URL, session_factory=5)


def test_a_class_may_be_a_codec_if_it_does_all_by_itself() -> None:
    class Static:
        encode = staticmethod(MsgspecCodec().encode)
        decode = staticmethod(MsgspecCodec().decode)
        convert = staticmethod(MsgspecCodec().convert)

    codec: Any = Static  # type checkers want class variables of a class
    assert tieline.ServerSession(codec=codec).protocol.codec is Static


@pytest.mark.row("S2", "S3")
@pytest.mark.parametrize(
    "maker", [tieline.serve, blocking.serve, tieline.Server], ids=["serve", "blocking.serve", "Server"]
)
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (tieline.Methods, r"Methods is the class of a registry: did you mean Methods\(\)\?"),
        (tieline.ClientSession, r"ClientSession is no class for the sessions of a server \(it dials\): derive it from"),
        (Dials, r"Dials is no class .* \(it dials\)"),
        (OfBlockingCode, r"OfBlockingCode is no class .* \(it is one of blocking code\): derive it from tie"),
        (blocking.ClientSession, r"\(it is one of blocking code\)"),
        (blocking.MessageSession, r"\(it is one of blocking code\)"),
    ],
)
def test_a_class_that_serves_no_connection_is_refused_where_it_is_given(maker: Any, kind: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        maker(kind, URL)


@pytest.mark.parametrize("kind", [tieline.ServerSession, tieline.MessageSession, tieline.SessionBase])
def test_a_class_that_serves_connections_is_taken(kind: Any) -> None:
    assert isinstance(tieline.serve(kind, URL), tieline.Server)


class Visit(tieline.ServerSession):
    calls = 0


class Desk(blocking.ServerSession):
    pass


@pytest.mark.row("S4")
@pytest.mark.parametrize(
    ("maker", "hint", "lead"),
    [
        (tieline.serve, Visit, r"did you mean serve\(lambda: Visit\(methods=methods\), ...\)\?"),
        (tieline.serve, Visit | None, r"did you mean serve\(lambda: Visit\("),
        (blocking.serve, Visit, r"did you mean serve\(lambda: Visit\("),
        (blocking.serve, Desk, "keep what belongs to one in a dict, by session"),
    ],
)
def test_a_registry_whose_handlers_want_another_class_than_its_sessions_are_of_is_not_served(
    maker: Any, hint: Any, lead: str
) -> None:
    methods = tieline.Methods()

    def count(visit: Any) -> None: ...

    count.__annotations__["visit"] = hint
    methods.method(count)
    kind = "Desk" if hint is Desk else "Visit"
    text = f"method 'count' wants a session of class {kind}, and a registry is served with sessions of class ServerSes"
    with pytest.raises(TypeError, match=rf"{text}.*{lead}"):
        maker(methods, URL)


@pytest.mark.row("S4")
@pytest.mark.parametrize("hint", [tieline.ServerSession, tieline.SessionBase, Visit | tieline.ServerSession, None])
def test_a_registry_whose_handlers_take_what_its_sessions_are_is_served(hint: Any) -> None:
    methods = tieline.Methods()

    def count(visit: Any = None) -> None: ...

    count.__annotations__["visit"] = hint
    methods.method(count)
    assert isinstance(tieline.serve(methods, URL), tieline.Server)
    assert isinstance(blocking.serve(methods, URL), blocking.Server)
    assert isinstance(tieline.serve(lambda: Visit(methods=methods), URL), tieline.Server)
