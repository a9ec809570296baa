# SPDX-License-Identifier: MIT
"""Taking several datagrams at once, from a socket that may have trouble to tell in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.errors import DatagramProtocolParseError

if TYPE_CHECKING:
    from tieline.runtimes.connected_datagrams import ConnectedDatagrams
    from tieline.wire.datagram_packets import DatagramPackets

__all__ = ["taken", "tell_first"]

# So many packets are taken at once; a peer that never stops is to keep nobody.
MOST_AT_ONCE: Final = 64


def taken(
    engine: ConnectedDatagrams, packets: DatagramPackets[Any, Any], first: Any, faults: list[Exception]
) -> list[Any]:
    """Return *first* and the packets that have come behind it. What is wrong with the next goes behind all *faults*."""
    found = [first]
    try:
        while len(found) < MOST_AT_ONCE:
            datagram = engine.take_now()
            if datagram is None:
                break
            found.append(packets.built(datagram[0]))
    except (DatagramProtocolParseError, RuntimeError, OSError) as exc:
        faults.append(exc.with_traceback(None))  # its frames would keep all that was found until it is told
    return found


def tell_first(faults: list[Exception]) -> None:
    """Raise the first of *faults*, of which nobody was told yet, unless other threads have taken them all."""
    try:
        fault = faults.pop(0)
    except IndexError:
        return
    try:
        raise fault
    finally:
        del fault  # by which its traceback would refer to it
