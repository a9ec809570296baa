# SPDX-License-Identifier: MIT
"""JSON-RPC without I/O: messages, dialects, and the machine of a connection (`connection.py`)."""
