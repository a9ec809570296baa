# SPDX-License-Identifier: MIT
"""What strangers may send, each kind as a target that any bytes may be given to.

`make fuzz` has atheris look for bytes that break one; `make test` plays the corpus, and spoils it for a moment.
"""
