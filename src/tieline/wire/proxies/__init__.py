# SPDX-License-Identifier: MIT
"""What is said to proxies before the tunnel stands: SOCKS and HTTP CONNECT, without I/O.

Each part is loaded from its file when somebody asks for it, and none by this package itself: see `tieline.loading`.
"""
