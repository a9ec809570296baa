# SPDX-License-Identifier: MIT
"""A connection of packets that is read only when somebody wants one."""

from __future__ import annotations

import pytest

from tieline.serializers import StringLineSerializer
from tieline.wire.held_packets import HeldPackets
from tieline.wire.limits import Limits
from tieline.wire.packets import PacketConnection
from tieline.wire.protocols import StreamProtocol

LIMITS = Limits().resolved(accepted=False)


def machine() -> HeldPackets:
    made = HeldPackets(StreamProtocol(StringLineSerializer()), LIMITS, accepted=False)
    made.start(0.0)
    return made


@pytest.mark.row("K19", "K20")
def test_nothing_is_wanted_while_it_is_held() -> None:
    held = machine()
    seen = [held.wants_data, held.hold(False), held.wants_data, held.hold(False), held.hold(True), held.wants_data]
    assert seen == [False, True, True, False, True, False]
    held.hold(False)
    held.receive_data(b"x\n", 0.0)
    assert held.next_packet() == "x"
    smooth = [held.is_smooth]
    held.hold(True)
    smooth.append(held.is_smooth)
    assert smooth == [True, False]  # so that the driver looks
    held.hold(False)
    held.receive_data(b"x\n" * 200_000, 0.0)
    assert not held.wants_data  # there is more than anybody has taken
    while held.is_ready:
        held.next_packet()
    assert held.wants_data


@pytest.mark.row("K10")
@pytest.mark.parametrize("accepted", [False, True])
def test_what_has_come_before_a_reset_is_kept_for_clients_alone(accepted: bool) -> None:
    protocol = StreamProtocol(StringLineSerializer())
    limits = Limits().resolved(accepted=accepted)
    assert HeldPackets(protocol, limits, accepted=accepted).keeps_unread is not accepted
    assert not PacketConnection(protocol, limits, accepted=accepted).keeps_unread


@pytest.mark.row("K19", "K20")
def test_once_it_closes_it_is_read_to_the_end_whoever_holds_it() -> None:
    held = machine()
    held.close()
    assert held.wants_data
    held.hold(False)
    held.hold(True)  # whoever has received ends it so
    assert held.wants_data
    assert held.receive_data(b"thrown away\n", 1.0) == ()
    assert not held.is_ready


@pytest.mark.row("K10")
@pytest.mark.parametrize("accepted", [False, True])
def test_a_send_that_fails_lets_go_of_what_a_client_has_not_read(accepted: bool) -> None:
    protocol = StreamProtocol(StringLineSerializer())
    held = HeldPackets(protocol, Limits().resolved(accepted=accepted), accepted=accepted)
    held.start(0.0)
    held.sending_failed()
    assert held.wants_data is not accepted
