# SPDX-License-Identifier: MIT
"""wire/proxies/survey.py: what a proxy is and can do, by what became of the dialogues with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tieline.errors import HTTPConnectError, SOCKSFailure, SOCKSProtocolError
from tieline.wire.proxies.survey import ProxyFinding, ProxyReport, survey

pytestmark = pytest.mark.row("P5", "P7")

Outcome = Exception | None

BROKEN, LATE = SOCKSProtocolError("closed"), TimeoutError("late")
PAGE = HTTPConnectError("no reply")
WRONG = SOCKSFailure("no", code=1, meaning="user name or password refused")


def failure(code: int, meaning: str = "no") -> SOCKSFailure:
    return SOCKSFailure("refuses", code=code, meaning=meaning)


def status(number: int) -> HTTPConnectError:
    return HTTPConnectError(f"status {number}", status=number)


# What is asked, by its first bytes, credentials "ann" and "pw" where there are any.
OPEN, PASSWORD = b"\x05\x01\x00", b"\x05\x01\x02"
SOCKS4A, SOCKS4 = b"\x04\x01\x04\x38\0\0\0\x01", b"\x04\x01\x04\x38\x7f\0\0\x01"
HTTP, HTTP6 = b"CONNECT localhost:1080 ", b"CONNECT [::1]:1080 "


@dataclass
class Case:
    """What comes of each question in turn, and what that tells."""

    name: str
    asked: list[tuple[bytes, Outcome]]
    protocols: tuple[bool | None, bool | None, bool | None, bool | None]  # SOCKS5, 4a, 4, HTTP
    told: tuple[bool | None, ...]  # open, password, names, IPv6, UDP
    protocol: str = "SOCKS5"
    credentials: tuple[bytes, bytes] | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


NO_OLD: list[tuple[bytes, Outcome]] = [(SOCKS4A, BROKEN), (SOCKS4, BROKEN)]
NO_HTTP: list[tuple[bytes, Outcome]] = [(HTTP, PAGE)]
NO_OLD_AND_HTTP = [*NO_OLD, *NO_HTTP]
NO_SOCKS: list[tuple[bytes, Outcome]] = [(OPEN, LATE), (SOCKS4A, LATE)]
ANN = (b"ann", b"pw")

CASES = [
    Case(
        "all of SOCKS5",
        [(OPEN, None), (PASSWORD, failure(0xFF)), (OPEN, None), (OPEN, None), (OPEN, None), *NO_OLD, *NO_HTTP],
        (True, False, False, False),
        (True, False, True, True, True),
    ),
    Case(
        "SOCKS5 without datagrams, at IPv4 alone",
        [
            (OPEN, None),
            (PASSWORD, None),
            (OPEN, failure(5)),
            (OPEN, failure(8, "type")),
            (OPEN, failure(7)),
            *NO_OLD_AND_HTTP,
        ],
        (True, False, False, False),
        (True, True, True, False, False),
        reasons={"ipv6": "type (reply code 0x08)"},
    ),
    Case(
        "SOCKS5 with rules against loopback, in no network of IPv6, slow with datagrams",
        [
            (OPEN, None),
            (PASSWORD, BROKEN),
            (OPEN, failure(2, "rules")),
            (OPEN, failure(3)),
            (OPEN, LATE),
            *NO_OLD_AND_HTTP,
        ],
        (True, False, False, False),
        (True, False, None, False, None),
        reasons={"names": "rules (reply code 0x02)", "password": "closed", "udp": "no reply in time"},
    ),
    Case(
        "SOCKS5 that goes away when a target refuses",
        [(OPEN, None), (PASSWORD, BROKEN), (OPEN, None), (OPEN, BROKEN), (OPEN, BROKEN), (SOCKS4A, None), *NO_HTTP],
        (True, True, True, False),
        (True, False, True, None, False),
    ),
    Case(
        "SOCKS5 that wants a password, and none is given",
        [(OPEN, failure(0xFF)), (PASSWORD, None), (SOCKS4A, failure(0x5B)), (SOCKS4, failure(0x5B)), *NO_HTTP],
        (True, None, None, False),
        (False, True, None, None, None),
        reasons={"names": "it wants a user name and a password", "udp": "it wants a user name and a password"},
    ),
    Case(
        "SOCKS5 that takes no password, where one is given",
        [(OPEN, None), (PASSWORD, failure(0xFF)), *[(OPEN, None)] * 3, *NO_OLD, *NO_HTTP],
        (True, False, False, False),
        (True, False, True, True, True),
        credentials=ANN,
    ),
    Case(
        "SOCKS5 that takes the password",
        [(OPEN, failure(0xFF)), *[(PASSWORD, None)] * 4, *NO_OLD, *NO_HTTP],
        (True, False, False, False),
        (False, True, True, True, True),
        credentials=ANN,
    ),
    Case(
        "SOCKS5 that refuses the password",
        [(OPEN, failure(0xFF)), (PASSWORD, None), (PASSWORD, WRONG), *NO_OLD, *NO_HTTP],
        (True, False, False, False),
        (False, False, None, None, None),
        credentials=ANN,
        reasons={"password": "it refuses the user name or the password"},
    ),
    Case(
        "SOCKS4a alone",
        [(OPEN, BROKEN), (SOCKS4A, failure(0x5B, "no")), (SOCKS4, failure(0x5B)), *NO_HTTP],
        (False, True, True, False),
        (None, False, True, False, False),
        protocol="SOCKS4a",
        credentials=ANN,
    ),
    Case(
        "SOCKS4 alone",
        [(OPEN, BROKEN), (SOCKS4A, failure(0x5B)), (SOCKS4, None), *NO_HTTP],
        (False, False, True, False),
        (None, False, False, False, False),
        protocol="SOCKS4",
        reasons={"names": "SOCKS4 has none"},
    ),
    Case(
        "HTTP, silent to all others",
        [*NO_SOCKS, (HTTP, None), (HTTP6, status(502))],
        (False, False, False, True),
        (True, None, True, None, False),
        protocol="HTTP CONNECT",
        reasons={"ipv6": "status 502"},
    ),
    Case(
        "HTTP that takes the password",
        [*NO_SOCKS, (HTTP, status(403)), (HTTP6, None)],
        (False, False, False, True),
        (None, True, None, True, False),
        protocol="HTTP CONNECT",
        credentials=ANN,
    ),
    Case(
        "HTTP that wants a password",
        [*NO_SOCKS, (HTTP, status(407))],
        (False, False, False, True),
        (False, True, None, None, False),
        protocol="HTTP CONNECT",
        reasons={"names": "it wants a user name and a password"},
    ),
    Case(
        "HTTP that refuses the password",
        [*NO_SOCKS, (HTTP, status(401))],
        (False, False, False, True),
        (False, False, None, None, False),
        protocol="HTTP CONNECT",
        credentials=ANN,
    ),
    Case(
        "a web server",
        [(OPEN, BROKEN), *NO_OLD, (HTTP, status(405))],
        (False, False, False, False),
        (None, None, None, None, None),
    ),
    Case(
        "nothing that answers",
        [*NO_SOCKS, (HTTP, LATE)],
        (False, False, False, False),
        (None, None, None, None, None),
        reasons={"names": ""},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_a_proxy_is_and_can_do_is_told_by_its_answers(case: Case) -> None:
    asking = survey(1080, protocol=case.protocol, credentials=case.credentials)
    report: ProxyReport | None = None
    dialogue = next(asking)
    for number, (begin, outcome) in enumerate(case.asked):
        sent = dialogue.data_to_send()
        assert sent.startswith(begin), (number, sent)
        assert b"pw" not in sent
        try:
            dialogue = asking.send(outcome)
        except StopIteration as done:
            assert number == len(case.asked) - 1
            report = done.value
    assert report is not None
    names = ("SOCKS5", "SOCKS4a", "SOCKS4", "HTTP CONNECT")
    assert {name: report.protocols[name].answer for name in names} == dict(zip(names, case.protocols, strict=True))
    assert [name for name in names if report.speaks(name)] == [
        name for name, answer in zip(names, case.protocols, strict=True) if answer
    ]
    told = [report.open, report.password, report.names, report.ipv6, report.udp]
    assert tuple(one.answer for one in told) == case.told
    for name, reason in case.reasons.items():
        assert getattr(report, name) == ProxyFinding(getattr(report, name).answer, reason)


@pytest.mark.row("P2")
@pytest.mark.parametrize(
    ("protocol", "where"),
    [("SOCKS5", []), ("SOCKS4a", [2, 3]), ("SOCKS4", [2, 3]), ("HTTP CONNECT", [4])],
)
def test_credentials_are_told_in_their_own_protocol_alone(protocol: str, where: list[int]) -> None:
    asking = survey(1080, protocol=protocol, credentials=(b"horse", b"staple"))
    dialogue = next(asking)
    found = []
    # SOCKS5 wants a password and then refuses it, so that nothing else is asked in it.
    outcomes: list[Outcome] = [failure(0xFF), None, *[WRONG] * (protocol == "SOCKS5"), BROKEN, BROKEN, status(407)]
    for number, outcome in enumerate(outcomes):
        sent = dialogue.data_to_send()
        if b"horse" in sent or b"aG9yc2U6c3RhcGxl" in sent:
            found.append(number)
        try:
            dialogue = asking.send(outcome)
        except StopIteration:
            assert number == len(outcomes) - 1
    # Of SOCKS5 only the first message is looked at here: it tells nothing yet.
    assert found == where
