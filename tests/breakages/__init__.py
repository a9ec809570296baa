# SPDX-License-Identifier: MIT
"""Deliberate breakages: for each promise one change of the source that breaks it, and the tests that must see it.

`python -m tests.breakages` plays all of them; `make test` plays two, and sees that each still fits the source.
"""
