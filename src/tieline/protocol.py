# SPDX-License-Identifier: MIT
"""Protocols: what a packet client sends and receives."""

from __future__ import annotations

from tieline.wire.protocols import BufferedStreamProtocol, DatagramProtocol, StreamProtocol

__all__ = ["BufferedStreamProtocol", "DatagramProtocol", "StreamProtocol"]
