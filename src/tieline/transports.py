# SPDX-License-Identifier: MIT
"""Base classes of transports and protocols: asyncio's contract, importable without asyncio."""

from __future__ import annotations

from tieline.runtimes.contract import (
    BaseProtocol,
    BaseTransport,
    BufferedProtocol,
    DatagramCallbacks,
    DatagramTransport,
    Protocol,
    ReadTransport,
    SubprocessProtocol,
    SubprocessTransport,
    Transport,
    WriteTransport,
)

__all__ = [
    "BaseProtocol",
    "BaseTransport",
    "BufferedProtocol",
    "DatagramCallbacks",
    "DatagramTransport",
    "Protocol",
    "ReadTransport",
    "SubprocessProtocol",
    "SubprocessTransport",
    "Transport",
    "WriteTransport",
]
