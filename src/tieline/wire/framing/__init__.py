# SPDX-License-Identifier: MIT
"""Framers: where one message of a byte stream ends and the next begins. They know nothing of what messages mean."""

from __future__ import annotations

from tieline.wire.framing.base import FramerBase, fresh_framer
from tieline.wire.framing.newline import NewlineFramer

__all__ = ["FramerBase", "NewlineFramer", "fresh_framer"]
