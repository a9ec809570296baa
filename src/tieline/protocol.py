# SPDX-License-Identifier: MIT
"""Protocols: what a packet client sends and receives."""

from __future__ import annotations

from tieline.wire.protocols import AnyStreamProtocol, BufferedStreamProtocol, DatagramProtocol, StreamProtocol

__all__ = ["AnyStreamProtocol", "BufferedStreamProtocol", "DatagramProtocol", "StreamProtocol"]
