# SPDX-License-Identifier: MIT
"""Attacks on a server in a process of its own, byte for byte, and hostile servers for our client."""
