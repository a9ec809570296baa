# SPDX-License-Identifier: MIT
"""The framings of the attacked servers that are not by lines, by the kind of the server."""

from typing import Any

from tieline import ContentLengthFramer, FramerBase, LengthPrefixedFramer

FRAMERS: dict[str, type[FramerBase[Any]]] = {"headers": ContentLengthFramer, "prefixed": LengthPrefixedFramer}
