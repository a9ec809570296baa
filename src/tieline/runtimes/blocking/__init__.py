# SPDX-License-Identifier: MIT
"""Blocking code: sockets that are moved by whoever waits, on any number of threads. No thread, no loop of its own."""
