# SPDX-License-Identifier: MIT
"""Connections for protocol classes of users' own, and streams of bytes, in blocking code."""
