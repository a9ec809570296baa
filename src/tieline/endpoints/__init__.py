# SPDX-License-Identifier: MIT
"""Where to connect or listen, as frozen values, and the URLs that name them.

All checks happen when a value is made, before any I/O, so whoever holds an endpoint holds a possible one. What it
resolves to, and whether anybody is there, is for the runtimes.

Each part is loaded from its file when somebody asks for it, and none by this package itself: see `tieline.loading`.
"""
