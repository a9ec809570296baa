# SPDX-License-Identifier: MIT
"""The core, without I/O: bytes and time in; events and bytes out."""
