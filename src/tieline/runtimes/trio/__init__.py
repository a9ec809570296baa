# SPDX-License-Identifier: MIT
"""Input and output on trio.

The transports are ours, over non-blocking sockets, and keep asyncio's contract. Each connection lives in a nursery:
that of the ``async with`` around it, or one that the caller gives. trio is imported in this folder only.
"""
