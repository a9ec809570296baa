# SPDX-License-Identifier: MIT
"""Serializers: packets to bytes and back. `tieline.serializers` is where users find them."""
