# SPDX-License-Identifier: MIT
"""Layers between any transport and any protocol: what TLS and WebSocket have alike. No runtime is imported."""

from tieline.runtimes.layers.filters import Filter
from tieline.runtimes.layers.layer import Layer

__all__ = ["Filter", "Layer"]
