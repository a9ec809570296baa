# SPDX-License-Identifier: MIT
"""Framers: where one message of a byte stream ends and the next begins. They know nothing of what messages mean.

Here are those that every session needs. A program uses one framer, nearly always that by lines: the others are loaded
from their files when somebody asks for them.
"""

from __future__ import annotations

from tieline.wire.framing.base import FramerBase, fresh_framer
from tieline.wire.framing.newline import NewlineFramer

__all__ = ["FramerBase", "NewlineFramer", "fresh_framer"]
