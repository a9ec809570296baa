# SPDX-License-Identifier: MIT
"""A connection of packets that is read only when somebody wants one.

What goes beside the data of a Unix socket is lost when the data is read by somebody who did not ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.wire.packets import PacketConnection

if TYPE_CHECKING:
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["HeldPackets"]


class HeldPackets(PacketConnection):
    """As `PacketConnection`, but at first nothing is read.

    Attributes:
        is_held: The driver is not to read, as long as anything may be received. Whoever changes it settles the driver.
    """

    __slots__ = ("_is_accepted", "_wants_data", "is_held")

    def __init__(self, protocol: AnyStreamProtocol[Any, Any], limits: Limits, *, accepted: bool) -> None:
        self.is_held = True
        self._is_accepted = accepted
        super().__init__(protocol, limits, accepted=accepted)

    @property
    def wants_data(self) -> bool:
        """Whether the driver is to read on: what would be lost by that is, once nobody is handed anything any more."""
        return self._wants_data and (self.takes_no_more or not self.is_held)

    @wants_data.setter
    def wants_data(self, wants: bool) -> None:
        self._wants_data = wants

    @property
    def keeps_unread(self) -> bool:
        """As of `Life`; so it is for clients: a server is to learn that its peer has gone."""
        return not self._is_accepted

    def sending_failed(self) -> None:
        """As of `Life`: what has come beside the data is lost by that, as all would be otherwise."""
        if not self._is_accepted:
            self.hold(False)

    def hold(self, is_held: bool) -> bool:
        """Set whether it is held, and return whether that is a change."""
        if self.is_held is is_held:
            return False
        self.is_held = is_held
        self.is_smooth = False  # so that the driver looks
        return True
