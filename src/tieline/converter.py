# SPDX-License-Identifier: MIT
"""Converters: between the packets that a serializer knows and the objects that a program wants."""

from __future__ import annotations

from tieline.wire.converters import (
    AbstractPacketConverter,
    AbstractPacketConverterComposite,
    StapledPacketConverter,
)

__all__ = ["AbstractPacketConverter", "AbstractPacketConverterComposite", "StapledPacketConverter"]
