# SPDX-License-Identifier: MIT
"""What carries an endpoint: itself, or for a WebSocket the stream below."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import tieline

__all__ = ["Carrier", "carrier_of", "with_carrier"]

Carrier: TypeAlias = tieline.TCP | tieline.UnixStream | tieline.Command | tieline.Stdio


def carrier_of(endpoint: tieline.Endpoint) -> Carrier:
    """Return what carries *endpoint*."""
    return endpoint.under if isinstance(endpoint, tieline.WebSocket) else endpoint


def with_carrier(endpoint: tieline.Endpoint, carrier: tieline.TCP | tieline.UnixStream) -> tieline.Endpoint:
    """Return *endpoint*, carried by *carrier*."""
    return replace(endpoint, under=carrier) if isinstance(endpoint, tieline.WebSocket) else carrier
