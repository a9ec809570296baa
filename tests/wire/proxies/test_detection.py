# SPDX-License-Identifier: MIT
"""wire/proxies/survey.py: which protocol a proxy speaks, by what became of the dialogues with it."""

import pytest

from tieline.errors import SOCKSFailure, SOCKSProtocolError
from tieline.wire.proxies.socks4 import SOCKS4, SOCKS4a
from tieline.wire.proxies.socks5 import SOCKS5
from tieline.wire.proxies.survey import detection

WELL, REFUSED, BROKEN = None, SOCKSFailure("no", code=1), SOCKSProtocolError("?")
LATE, GONE = TimeoutError("late"), ConnectionRefusedError("nobody")

ASKED = [b"\x05\x01\x00", b"\x04\x01\x04\x38\0\0\0\x01me\0localhost\0", b"\x04\x01\x04\x38\x7f\0\0\x01me\0"]


@pytest.mark.row("P5")
@pytest.mark.parametrize(
    ("outcomes", "found"),
    [
        ([WELL], SOCKS5),
        ([REFUSED], SOCKS5),
        ([BROKEN, WELL], SOCKS4a),
        ([LATE, WELL], SOCKS4a),
        ([BROKEN, REFUSED, WELL], SOCKS4),
        ([BROKEN, REFUSED, REFUSED], SOCKS4a),
        ([BROKEN, REFUSED, BROKEN], SOCKS4a),
        ([BROKEN, BROKEN, WELL], SOCKS4),
        ([BROKEN, BROKEN, REFUSED], SOCKS4),
        ([BROKEN, LATE, BROKEN], None),
        ([LATE, LATE, LATE], None),
        ([GONE], None),
    ],
)
def test_a_protocol_is_told_by_the_outcomes(outcomes: list[Exception | None], found: type | None) -> None:
    asking = detection(1080, credentials=None, user=b"me")
    dialogue = next(asking)
    for number, outcome in enumerate(outcomes[:-1]):
        assert dialogue.data_to_send() == ASKED[number]
        dialogue = asking.send(outcome)
    assert dialogue.data_to_send() == ASKED[len(outcomes) - 1]
    with pytest.raises(StopIteration) as done:
        asking.send(outcomes[-1])
    assert done.value.value is found


@pytest.mark.row("P5")
def test_credentials_are_offered_and_not_sent() -> None:
    assert next(detection(1080, credentials=(b"ann", b"pw"), user=b"ann")).data_to_send() == b"\x05\x01\x02"
