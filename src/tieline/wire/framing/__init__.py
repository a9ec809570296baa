# SPDX-License-Identifier: MIT
"""Framers: where one message of a byte stream ends and the next begins. They know nothing of what messages mean.

Each is loaded from its file when somebody asks for it, and none by this package itself: threads that load the package
and its parts at the same time would come to wait for each other, which importlib ends with an error.
"""
