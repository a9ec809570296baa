# SPDX-License-Identifier: MIT
"""The command line of tieline: `tieline`, or `python -m tieline`. It needs the extra ``cli``.

Each command has a file of its own. What they share: `peer.py` (whom to talk to, and the options that say it),
`failures.py` (what went wrong, in one line), `exits.py` (how that becomes an exit code).
"""
