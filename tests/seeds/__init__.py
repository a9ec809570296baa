# SPDX-License-Identifier: MIT
"""Conversations that one seed decides in full: what is said, how bytes are cut, who moves when, and what breaks.

`python -m tests.seeds` plays thousands, and names the seed of what fails; `make test` plays a few.
"""
