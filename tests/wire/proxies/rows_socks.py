# SPDX-License-Identifier: MIT
"""Dialogues of SOCKS4, 4a and 5, to the byte."""

from tests.wire.proxies.dialogues import Row
from tieline.errors import SOCKSFailure, SOCKSProtocolError
from tieline.wire.proxies.socks4 import SOCKS4, SOCKS4a
from tieline.wire.proxies.socks5 import SOCKS5, SOCKS5Associate, SOCKS5Greeting, SOCKS5Resolve, SOCKS5ResolvePTR

ANN = (b"ann", b"pw")
LONG = "a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 63  # 255 bytes

ASK4 = b"\x04\x01\x00\x50\xc0\x00\x02\x01\x00"
ASK4A = b"\x04\x01\x00\x50\x00\x00\x00\x01\x00host.example\x00"
OK4 = b"\x00\x5a\x1f\x90\x7f\x00\x00\x01"

HELLO = (b"\x05\x01\x00", b"\x05\x00")
HELLO_ANN = (b"\x05\x01\x02", b"\x05\x02")
PASSWORD = b"\x01\x03ann\x02pw"
ASK5 = b"\x05\x01\x00\x03\x0chost.example\x00\x50"
OK5 = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


def name4() -> SOCKS4a:
    return SOCKS4a("host.example", 80)


def name5() -> SOCKS5:
    return SOCKS5("host.example", 80)


def name5_ann() -> SOCKS5:
    return SOCKS5("host.example", 80, credentials=ANN)


def refused5(name: str, reply: bytes, says: str, code: int, is_cut: bool = False) -> Row:
    return Row(name, name5, (HELLO, (ASK5, reply)), error=SOCKSFailure, says=says, code=code, is_cut=is_cut)


def fault5(name: str, *steps: tuple[bytes, bytes], says: str, is_cut: bool = False) -> Row:
    return Row(name, name5, steps, error=SOCKSProtocolError, says=says, is_cut=is_cut)


GOOD = [
    Row("4", lambda: SOCKS4("192.0.2.1", 80), ((ASK4, OK4),), ("127.0.0.1", 8080)),
    Row(
        "4 with a user",
        lambda: SOCKS4("192.0.2.1", 80, user=b"ann"),
        ((ASK4[:-1] + b"ann\0", OK4),),
        ("127.0.0.1", 8080),
    ),
    Row("4a", name4, ((ASK4A, OK4),), ("127.0.0.1", 8080)),
    Row(
        "4a with a user",
        lambda: SOCKS4a("h", 80, user=b"ann"),
        ((b"\x04\x01\0\x50\0\0\0\x01ann\0h\0", OK4),),
        ("127.0.0.1", 8080),
    ),
    Row("4a to an address", lambda: SOCKS4a("192.0.2.1", 80), ((ASK4, OK4),), ("127.0.0.1", 8080)),
    Row("4a to 0.0.0.0", lambda: SOCKS4a("0.0.0.0", 80), ((b"\x04\x01\0\x50\0\0\0\0\0", OK4),), ("127.0.0.1", 8080)),
    Row("5", name5, (HELLO, (ASK5, OK5)), ("0.0.0.0", 0)),
    Row(
        "5 to IPv4",
        lambda: SOCKS5("192.0.2.1", 443),
        (HELLO, (b"\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb", OK5)),
        ("0.0.0.0", 0),
    ),
    Row(
        "5 to IPv6",
        lambda: SOCKS5("2001:db8::1", 443),
        (HELLO, (b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x01\xbb", OK5)),
        ("0.0.0.0", 0),
    ),
    Row(
        "5 to a name beyond ASCII",
        lambda: SOCKS5("bücher.example", 80),
        (HELLO, (b"\x05\x01\x00\x03\x15xn--bcher-kva.example\x00\x50", OK5)),
        ("0.0.0.0", 0),
    ),
    Row(
        "5 to a name of odd characters",
        lambda: SOCKS5("!~", 80),
        (HELLO, (b"\x05\x01\x00\x03\x02!~\x00\x50", OK5)),
        ("0.0.0.0", 0),
    ),
    Row(
        "5 to a long name",
        lambda: SOCKS5(LONG, 80),
        (HELLO, (b"\x05\x01\x00\x03\xff" + LONG.encode() + b"\x00\x50", OK5)),
        ("0.0.0.0", 0),
    ),
    Row("5 with a password", name5_ann, (HELLO_ANN, (PASSWORD, b"\x01\x00"), (ASK5, OK5)), ("0.0.0.0", 0)),
    Row(
        "5 with long ones",
        lambda: SOCKS5("host.example", 80, credentials=(b"u" * 255, b"p" * 255)),
        (HELLO_ANN, (b"\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255, b"\x01\x00"), (ASK5, OK5)),
        ("0.0.0.0", 0),
    ),
    Row("5 bound to IPv6", name5, (HELLO, (ASK5, b"\x05\x00\x00\x04" + bytes(15) + b"\x01\x00\x09")), ("::1", 9)),
    Row("5 bound to a name", name5, (HELLO, (ASK5, b"\x05\x00\x00\x03\x01h\x00\x09")), ("h", 9)),
    Row("5 bound to an empty name", name5, (HELLO, (ASK5, b"\x05\x00\x00\x03\x00\x00\x09")), ("", 9)),
    Row(
        "5 bound to a long name",
        name5,
        (HELLO, (ASK5, b"\x05\x00\x00\x03\xff" + b"n" * 255 + b"\x00\x09")),
        ("n" * 255, 9),
    ),
    Row("5 bound to garbage", name5, (HELLO, (ASK5, b"\x05\x00\x00\x03\x06\x1b[\0\xff\x7f~\x00\x09")), ("?[???~", 9)),
    Row("5 with a reserved byte in use", name5, (HELLO, (ASK5, b"\x05\x00\x07" + OK5[3:])), ("0.0.0.0", 0)),
    Row(
        "associate",
        SOCKS5Associate,
        (HELLO, (b"\x05\x03\x00\x01" + bytes(6), b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38")),
        ("127.0.0.1", 1080),
    ),
    Row(
        "associate with a password",
        lambda: SOCKS5Associate(credentials=ANN),
        (HELLO_ANN, (PASSWORD, b"\x01\x00"), (b"\x05\x03\x00\x01" + bytes(6), OK5)),
        ("0.0.0.0", 0),
    ),
    Row(
        "resolve",
        lambda: SOCKS5Resolve("host.example"),
        (HELLO, (b"\x05\xf0\x00\x03\x0chost.example\x00\x00", b"\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x00")),
        "192.0.2.1",
    ),
    Row(
        "resolve to IPv6",
        lambda: SOCKS5Resolve("h"),
        (HELLO, (b"\x05\xf0\x00\x03\x01h\x00\x00", b"\x05\x00\x00\x04" + bytes(15) + b"\x01\x00\x00")),
        "::1",
    ),
    Row(
        "resolve_ptr",
        lambda: SOCKS5ResolvePTR("192.0.2.1"),
        (HELLO, (b"\x05\xf1\x00\x01\xc0\x00\x02\x01\x00\x00", b"\x05\x00\x00\x03\x04name\x00\x00")),
        "name",
    ),
    Row("greeting", SOCKS5Greeting, (HELLO,), None),
    Row("greeting with a password", lambda: SOCKS5Greeting(credentials=ANN), (HELLO_ANN,), None),
]

# section 1 of real_peers.md, by server; what is in GOOD already is not repeated
REAL = [
    *(
        refused5(f"microsocks {code}", bytes([5, code]) + OK5[2:], says, code)
        for code, says in (
            (5, "connection refused"),
            (3, "network unreachable"),
            (4, "host unreachable"),
            (1, "general failure"),
        )
    ),
    Row(
        "microsocks wrong password",
        name5_ann,
        (HELLO_ANN, (PASSWORD, b"\x01\x02")),
        error=SOCKSFailure,
        says="password (status 0x02)",
        code=2,
    ),
    fault5("microsocks split input", HELLO, (ASK5, b""), says="closed the connection without a reply", is_cut=True),
    Row(
        "microsocks is asked in SOCKS4",
        lambda: SOCKS4("192.0.2.1", 80),
        ((ASK4, b"\x05\xff"),),
        error=SOCKSProtocolError,
        says="0x05, expected 0x00: it speaks SOCKS5",
    ),
    Row(
        "ssh refusal 4",
        name4,
        ((ASK4A, b""),),
        error=SOCKSProtocolError,
        says="the SOCKS4a proxy closed the connection without a reply",
        is_cut=True,
    ),
    fault5(
        "ssh refusal 5", HELLO, (ASK5, b""), says="the SOCKS5 proxy closed the connection without a reply", is_cut=True
    ),
    Row(
        "ssh is offered a password",
        name5_ann,
        ((HELLO_ANN[0], b""),),
        error=SOCKSProtocolError,
        says="closed the connection without a reply",
        is_cut=True,
    ),
    refused5("dante names a name in its refusal", b"\x05\x04\x00\x03\x07missing\x00\x50", "host unreachable", 4),
    Row(
        "dante wrong password",
        name5_ann,
        (HELLO_ANN, (PASSWORD, b"\x01\x01")),
        error=SOCKSFailure,
        says="password (status 0x01)",
        code=1,
    ),
    Row(
        "dante refuses 4a",
        name4,
        ((ASK4A, b"\x00\x5b\x1f\x90\x7f\x00\x00\x01"),),
        error=SOCKSFailure,
        says="rejected",
        code=0x5B,
    ),
    Row(
        "v2ray success for IPv6",
        lambda: SOCKS5("::1", 80),
        (HELLO, (b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38")),
        ("127.0.0.1", 1080),
    ),
    Row(
        "v2ray wrong password",
        name5_ann,
        (HELLO_ANN, (PASSWORD, b"\x01\xff")),
        error=SOCKSFailure,
        says="(status 0xFF)",
        code=0xFF,
    ),
    Row(
        "pproxy echoes the request",
        name5,
        (HELLO, (ASK5, b"\x05\x00\x00\x03\x0chost.example\x00\x50")),
        ("host.example", 80),
    ),
    Row(
        "pproxy wrong password",
        name5_ann,
        (HELLO_ANN, (PASSWORD, b"")),
        error=SOCKSProtocolError,
        says="without a reply",
        is_cut=True,
    ),
    Row(
        "pproxy chooses what was not offered",
        name5_ann,
        ((HELLO_ANN[0], b"\x05\x00"),),
        error=SOCKSProtocolError,
        says="chose the authentication method 0x00, and 0x02 alone was offered",
    ),
    Row(
        "tor 4",
        lambda: SOCKS4("192.0.2.1", 80),
        ((ASK4, b"\x00\x5b\x00\x00\x00\x00\x00\x00"),),
        error=SOCKSFailure,
        says="(reply code 0x5B)",
        code=0x5B,
    ),
    refused5("tor times out", b"\x05\x06" + OK5[2:], "TTL expired", 6),
    refused5("tor dislikes the address", b"\x05\xf6" + OK5[2:], "Tor: not a valid onion address", 0xF6),
    Row(
        "tor does not resolve",
        lambda: SOCKS5Resolve("host.example"),
        (HELLO, (b"\x05\xf0\x00\x03\x0chost.example\x00\x00", b"\x05\x04\x00\x00\x00\x00\x00\x00\x00\x00")),
        error=SOCKSFailure,
        says="host unreachable",
        code=4,
    ),
    refused5("socksv5 is short", b"\x05\x05", "connection refused (reply code 0x05)", 5),
    Row(
        "socksv5 wrong password",
        name5_ann,
        (HELLO_ANN, (PASSWORD, b"\x01\x01")),
        error=SOCKSFailure,
        says="refuses the user name or the password",
        code=1,
    ),
    refused5("i2pd echoes the request", b"\x05\x08\x00\x03\x0chost.example\x00\x50", "address type not supported", 8),
    Row(
        "i2pd 4",
        lambda: SOCKS4("192.0.2.1", 80),
        ((ASK4, b"\x00\x5b\x00\x50\xc0\x00\x02\x01"),),
        error=SOCKSFailure,
        says="rejected",
        code=0x5B,
    ),
]

BAD = [
    fault5("nobody", (HELLO[0], b""), says="closed the connection without a reply", is_cut=True),
    fault5("half a greeting", (HELLO[0], b"\x05"), says="in the middle of a reply", is_cut=True),
    fault5("half a reply", HELLO, (ASK5, OK5[:-1]), says="in the middle of a reply", is_cut=True),
    fault5("a reply up to its code", HELLO, (ASK5, OK5[:2]), says="in the middle of a reply", is_cut=True),
    fault5("a reply up to its type", HELLO, (ASK5, OK5[:5]), says="in the middle of a reply", is_cut=True),
    fault5("a page", (HELLO[0], b"HTTP/1.1 400 Bad Request\r\n\r\n"), says="0x48, expected 0x05: it speaks HTTP"),
    fault5("version 4 in the greeting", (HELLO[0], b"\x04\x00"), says="0x04, expected 0x05"),
    fault5("version 4 in the reply", HELLO, (ASK5, b"\x04\x00"), says="0x04, expected 0x05"),
    fault5("a password that was not offered", (HELLO[0], b"\x05\x02"), says="0x02, and 0x00 alone was offered"),
    fault5("type 0 of success", HELLO, (ASK5, b"\x05\x00\x00\x00\x00"), says="address type 0x00, expected 1, 3 or 4"),
    fault5("type 255 of success", HELLO, (ASK5, b"\x05\x00\x00\xff\x00"), says="address type 0xFF"),
    fault5("a megabyte", (HELLO[0], b"\xa5" * 2**20), says="0xA5, expected 0x05"),
    refused5("two bytes", b"\x05\x02", "not allowed by the rules", 2),
    refused5("an error of four bytes", b"\x05\x01\x00\x01", "general failure", 1),
    refused5("an error of type 0", b"\x05\x01\x00\x00\x00\x00", "general failure", 1),
    refused5("an unknown code", b"\x05\x63\x00\x01", "unknown code (reply code 0x63)", 0x63),
    refused5("F2", b"\x05\xf2", "introduction to the onion service failed (reply code 0xF2)", 0xF2),
    *(
        refused5(f"code {code}", bytes([5, code]), f"(reply code 0x{code:02X})", code)
        for code in (*range(1, 9), *range(0xF0, 0xF8))
    ),
    Row(
        "no password accepted",
        name5_ann,
        ((HELLO_ANN[0], b"\x05\xff"),),
        error=SOCKSFailure,
        says="takes no user name and password",
        code=0xFF,
    ),
    Row(
        "a password wanted",
        name5,
        ((HELLO[0], b"\x05\xff"),),
        error=SOCKSFailure,
        says="wants a user name and a password",
        code=0xFF,
    ),
    Row(
        "the wrong version of the password",
        name5_ann,
        (HELLO_ANN, (PASSWORD, b"\x05\x00")),
        error=SOCKSProtocolError,
        says="0x05, expected 0x01",
    ),
    Row(
        "4 unknown code",
        name4,
        ((ASK4A, b"\x00\x00"),),
        error=SOCKSFailure,
        says="unknown code (reply code 0x00)",
        code=0,
    ),
    Row("4 no identd", name4, ((ASK4A, b"\x00\x5c"),), error=SOCKSFailure, says="cannot reach identd", code=0x5C),
    Row("4 other user", name4, ((ASK4A, b"\x00\x5d"),), error=SOCKSFailure, says="another user", code=0x5D),
    Row(
        "4 wrong version",
        name4,
        ((ASK4A, b"\x04\x5a"),),
        error=SOCKSProtocolError,
        says="SOCKS4a proxy began its reply with the byte 0x04, expected 0x00",
    ),
    Row(
        "4 half a reply",
        name4,
        ((ASK4A, OK4[:5]),),
        error=SOCKSProtocolError,
        says="in the middle of a reply",
        is_cut=True,
    ),
    Row(
        "4 a reply up to its code",
        name4,
        ((ASK4A, OK4[:2]),),
        error=SOCKSProtocolError,
        says="in the middle of a reply",
        is_cut=True,
    ),
    Row(
        "greeting refused",
        SOCKS5Greeting,
        ((HELLO[0], b"\x05\xff"),),
        error=SOCKSFailure,
        says="wants a user name",
        code=0xFF,
    ),
]
