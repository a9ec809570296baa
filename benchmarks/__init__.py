# SPDX-License-Identifier: MIT
"""Benchmarks of tieline and its peers, all in one interleaved run: `make bench`, or `python -m benchmarks --help`."""
