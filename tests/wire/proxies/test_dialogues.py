# SPDX-License-Identifier: MIT
"""wire/proxies: the dialogues, at every cut, byte by byte, and under hypothesis."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.proxies import rows_http, rows_socks
from tests.wire.proxies.dialogues import TUNNEL, WAYS, Row, cut_at, ended, heard, play
from tieline.errors import HTTPConnectError, LocalProtocolError, SOCKSProtocolError
from tieline.wire.proxies.http_connect import HTTPConnect
from tieline.wire.proxies.socks4 import SOCKS4, SOCKS4a
from tieline.wire.proxies.socks5 import SOCKS5, SOCKS5Resolve, SOCKS5ResolvePTR

TABLES = [
    (rows_socks.GOOD, pytest.mark.row("P1", "P7", "H65")),
    (rows_socks.REAL, pytest.mark.row("P3", "P9", "H64")),
    (rows_socks.BAD, pytest.mark.row("P3", "P9", "H63", "H64")),
    (rows_http.GOOD, pytest.mark.row("P7", "H65")),
    (rows_http.BAD, pytest.mark.row("P7", "H63")),
]
ROWS = [pytest.param(row, marks=mark, id=str(row)) for rows, mark in TABLES for row in rows]
SHORT = [
    pytest.param(row, marks=mark, id=str(row))
    for rows, mark in TABLES
    for row in rows
    if sum(len(reply) for _, reply in row.steps) < 1000
]
SUCCESSES = [row for rows, _ in TABLES for row in rows if row.error is None]


@pytest.mark.parametrize("row", ROWS)
def test_a_dialogue_goes_as_its_row_says_however_it_is_read(row: Row) -> None:
    for way in WAYS:
        play(row, way)


@pytest.mark.parametrize("row", SHORT)
def test_a_dialogue_goes_the_same_at_every_cut(row: Row) -> None:
    for position in range(max(len(reply) for _, reply in row.steps) + 1):
        play(row, cut_at(position))


@pytest.mark.row("P1", "H65")
@pytest.mark.parametrize("row", SUCCESSES, ids=str)
def test_what_follows_the_reply_is_the_tunnel_s(row: Row) -> None:
    for way in WAYS:
        dialogue = play(row, way, TUNNEL)
        assert dialogue.receive_data(TUNNEL) == 0
        dialogue.receive_eof()
        ended(row, dialogue)


@pytest.mark.row("P3", "P9", "H63")
@pytest.mark.parametrize("reason", [None, ConnectionResetError(104, "reset by peer")])
@pytest.mark.parametrize("row", [row for row in SUCCESSES if row.name != "the longest"], ids=str)
def test_a_connection_that_ends_at_any_byte_is_an_error_of_ours(row: Row, reason: OSError | None) -> None:
    for last, (_, reply) in enumerate(row.steps):
        for length in range(len(reply)):
            dialogue = row.make()
            for _, earlier in row.steps[:last]:
                heard(dialogue, earlier)
            heard(dialogue, reply[:length])
            dialogue.receive_eof(reason)
            assert dialogue.wanted == 0
            assert inspect.getgeneratorstate(dialogue._talk) == "GEN_CLOSED", "passwords stand in its frame"
            assert dialogue.receive_data(reply[length:]) == 0
            with pytest.raises(
                (SOCKSProtocolError, HTTPConnectError), match=r"(closed|broke) the connection"
            ) as caught:
                dialogue.result()
            assert caught.value.__cause__ is reason
            assert ("broke" in str(caught.value)) == (reason is not None)


@pytest.mark.row("P9", "H63")
@given(data=st.binary(max_size=600), row=st.sampled_from(SUCCESSES), step=st.integers(0, 2), sizes=st.data())
def test_any_bytes_end_in_a_result_a_typed_error_or_a_wait(
    data: bytes, row: Row, step: int, sizes: st.DataObject
) -> None:
    dialogue = row.make()
    for _, reply in row.steps[: min(step, len(row.steps) - 1)]:
        heard(dialogue, reply)
    whole = row.make()
    for _, reply in row.steps[: min(step, len(row.steps) - 1)]:
        heard(whole, reply)
    assert heard(whole, data) <= len(data)
    rest = data
    while rest:
        piece = rest[: sizes.draw(st.integers(1, len(rest)))]
        rest = rest[len(piece) :]
        heard(dialogue, piece)
    assert dialogue.wanted == whole.wanted
    assert str(dialogue.error) == str(whole.error)
    whole.receive_eof()
    if whole.error is not None:
        assert len(str(whole.error)) < 300
        assert str(whole.error).isprintable()


@pytest.mark.row("P1")
@given(reply=st.binary(max_size=255), tail=st.binary(max_size=40), port=st.integers(0, 65535))
def test_any_bound_name_is_read_to_its_end_and_no_further(reply: bytes, tail: bytes, port: int) -> None:
    dialogue = SOCKS5("h", 1)
    heard(dialogue, b"\x05\x00")
    dialogue.data_to_send()
    bound = b"\x05\x00\x00\x03" + bytes([len(reply)]) + reply + port.to_bytes(2)
    assert dialogue.receive_data(bound + tail) == len(bound)
    host, seen = dialogue.result()
    assert (len(host), seen) == (len(reply), port)
    assert host.isprintable()


@pytest.mark.row("P1", "P9")
def test_what_has_come_before_all_is_said_is_no_answer() -> None:
    """Else a proxy that says everything at once would never be told where to connect to, or by whom it is asked."""
    dialogue = SOCKS5("h", 1, credentials=(b"ann", b"pw"))
    replies = b"\x05\x02\x01\x00\x05\x00\x00\x01" + bytes(6)
    said = []
    while dialogue.wanted:
        assert dialogue.receive_data(replies) == 0
        said.append(dialogue.data_to_send())
        taken = dialogue.receive_data(replies)
        replies = replies[taken:]
    assert said == [b"\x05\x01\x02", b"\x01\x03ann\x02pw", b"\x05\x01\x00\x03\x01h\x00\x01"]
    assert replies == b""


@pytest.mark.row("P1")
@pytest.mark.parametrize("name", ["host1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "7", "h.٣"])
def test_what_ends_like_an_address_and_is_none_is_a_name(name: str) -> None:
    dialogue = SOCKS5(name, 1)
    dialogue.data_to_send()
    dialogue.receive_data(b"\x05\x00")
    known = name.encode("idna")
    assert dialogue.data_to_send() == b"\x05\x01\x00\x03" + bytes([len(known)]) + known + b"\x00\x01"


@pytest.mark.row("P3")
@pytest.mark.parametrize(
    ("reply", "end"), [(b"\x05\xff", "0x05, expected 0x00: it speaks SOCKS5"), (b"HT", "0x48, expected 0x00")]
)
def test_only_what_speaks_socks5_is_said_to_do_so(reply: bytes, end: str) -> None:
    dialogue = SOCKS4("192.0.2.1", 80)
    heard(dialogue, reply)
    assert str(dialogue.error).endswith(end)


def test_a_dialogue_under_way_has_no_result() -> None:
    with pytest.raises(LocalProtocolError, match="has not ended"):
        SOCKS5("h", 1).result()


def test_a_protocol_tells_its_name() -> None:
    assert [one.name() for one in (SOCKS4, SOCKS4a, SOCKS5, HTTPConnect)] == ["SOCKS4", "SOCKS4a", "SOCKS5", "HTTP"]


ALL = [SOCKS4, SOCKS4a, SOCKS5, HTTPConnect]
NAMED = [SOCKS4a, SOCKS5, HTTPConnect]
TOO_LONG = "a" * 61 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 63 + ".ee"


@pytest.mark.row("P1", "H66")
@pytest.mark.parametrize("protocol", NAMED, ids=lambda one: one.name())
@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("", "must not be empty"),
        (TOO_LONG, "256 characters"),
        ("é." * 100, "800 bytes long in its IDNA form"),
        ("a" * 64, "not a valid name"),
        ("a..b", "not a valid name"),
        ("a\0b", r"must not hold '\\x00'"),
        ("a\r\nHost", r"must not hold '\\r'"),
        ("a b", "must not hold ' '"),
        ("a\x7fb", r"must not hold '\\x7f'"),
        ("user@host", "must not hold '@'"),
        ("host/path", "must not hold '/'"),
        ("[::1]", "neither a name nor an IPv6 address"),
        ("host:80", "neither a name nor an IPv6 address"),
        ("fe80::1%eth0", r"has a zone \(behind %\)"),
    ],
)
def test_what_is_no_host_is_refused_before_a_byte_is_sent(protocol: type[SOCKS5], host: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        protocol(host, 80)


@pytest.mark.row("P1", "H66")
@pytest.mark.parametrize(
    ("protocol", "host", "says"),
    [
        (SOCKS4, "host.example", "no names: use SOCKS5, or SOCKS4a"),
        (SOCKS4, "::1", "no IPv6 addresses: use SOCKS5"),
        (SOCKS4, "", "no names"),
        (SOCKS4a, "::1", "no IPv6 addresses: use SOCKS5"),
        (SOCKS4a, "0.0.0.7", "by such addresses it says that a name follows"),
    ],
)
def test_what_a_protocol_cannot_say_is_refused(protocol: type[SOCKS4], host: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        protocol(host, 80)


@pytest.mark.row("H66")
@pytest.mark.parametrize("port", [-1, 0, 65536])
@pytest.mark.parametrize("protocol", ALL, ids=lambda one: one.name())
def test_a_port_out_of_range_is_refused(protocol: type[SOCKS4], port: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 65535"):
        protocol("192.0.2.1", port)


@pytest.mark.row("P2", "H66")
@pytest.mark.parametrize("size", [0, 256])
def test_credentials_of_a_wrong_size_are_refused(size: int) -> None:
    for pair in ((b"x" * size, b"p"), (b"u", b"x" * size)):
        with pytest.raises(ValueError, match="1 to 255 bytes") as caught:
            SOCKS5("h", 1, credentials=pair)
        assert "x" * 9 not in str(caught.value)


@pytest.mark.row("P2", "H66")
def test_what_a_protocol_cannot_say_of_a_user_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold no NUL"):
        SOCKS4("192.0.2.1", 80, user=b"an\0n")
    with pytest.raises(ValueError, match="must hold no colon"):
        HTTPConnect("h", 80, credentials=(b"a:b", b""))


@pytest.mark.row("P7")
def test_tor_s_commands_check_what_they_are_given() -> None:
    with pytest.raises(ValueError, match="takes an IPv4 or IPv6 address"):
        SOCKS5ResolvePTR("host.example")
    with pytest.raises(ValueError, match="must not hold"):
        SOCKS5Resolve("a b")
