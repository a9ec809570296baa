# SPDX-License-Identifier: MIT
"""WebSocket (RFC 6455) without I/O: the core of the package websockets, bounded, and as a filter of bytes.

Each part is loaded from its file when somebody asks for it, and none by this package itself: see `tieline.loading`.
"""
