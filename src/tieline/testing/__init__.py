# SPDX-License-Identifier: MIT
"""The test kit: what implementations of our contracts are to keep, and what stands in for a network."""
