# SPDX-License-Identifier: MIT
"""Layers between any transport and any protocol: what TLS and WebSocket have alike. No runtime is imported."""
