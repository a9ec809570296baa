# SPDX-License-Identifier: MIT
"""Input and output on asyncio's event loops, stock and uvloop.

The loop's own transports are used as they are: on the plain path there is no layer of ours between the loop and a
protocol. asyncio is imported in this folder only.
"""
