# SPDX-License-Identifier: MIT
"""Taking several datagrams at once, from a socket that may have trouble to tell in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.errors import DatagramProtocolParseError

if TYPE_CHECKING:
    from tieline.runtimes.connected_datagrams import ConnectedDatagrams
    from tieline.wire.datagram_packets import DatagramPackets

__all__ = ["taken"]

# So many packets are taken at once; a peer that never stops is to keep nobody.
MOST_AT_ONCE: Final = 64


def taken(
    engine: ConnectedDatagrams, packets: DatagramPackets[Any, Any], first: Any
) -> tuple[list[Any], Exception | None]:
    """Return *first* and the packets that have come behind it; and what is wrong with the next, if that is known."""
    found = [first]
    try:
        while len(found) < MOST_AT_ONCE:
            datagram = engine.take_now()
            if datagram is None:
                break
            found.append(packets.built(datagram[0]))
    except (DatagramProtocolParseError, RuntimeError, OSError) as exc:
        return found, exc
    return found, None
