# SPDX-License-Identifier: MIT
"""Input and output on asyncio's event loops, stock and uvloop.

On uvloop, and for protocols of users', the loop's own transports are used as they are. Links have one of ours on stock
selector loops (`streams.py`). asyncio is imported in this folder only.
"""
