# SPDX-License-Identifier: MIT
"""The peers: one module each, with a server and a client, run as `python -m benchmarks.peers.<name> server|client`.

Both answer questions of the harness on their standard input and output; see `program.py`.
"""
