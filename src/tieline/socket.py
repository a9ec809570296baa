# SPDX-License-Identifier: MIT
"""Around sockets: addresses as values, a view of a socket, and what goes beside the data on Unix sockets."""

from __future__ import annotations

from tieline.endpoints.socket_addresses import (
    IPv4SocketAddress,
    IPv6SocketAddress,
    SocketAddress,
    UnixCredentials,
    UnixSocketAddress,
)
from tieline.runtimes.ancillary import SCMCredentials, SCMRights, SocketAncillary
from tieline.runtimes.socket_proxy import SocketProxy

__all__ = [
    "IPv4SocketAddress",
    "IPv6SocketAddress",
    "SCMCredentials",
    "SCMRights",
    "SocketAddress",
    "SocketAncillary",
    "SocketProxy",
    "UnixCredentials",
    "UnixSocketAddress",
]
