# SPDX-License-Identifier: MIT
"""Ends a child that leaves a dead orphan behind, and prints how long that took: `python orphans_program.py WHO`.

The orphan is inherited by this process, or by one above it that waits for nobody; as in a container, whose first
process may be anything.
"""

import ctypes
import os
import sys
import time

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <sys/prctl.h>


def inherit_orphans() -> None:
    assert not ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0)


def run() -> None:
    from tests.rpc.children import command, is_known
    from tieline import blocking

    with blocking.connect(command(grace=60)) as session:
        orphan = session.call("orphan")
        pid = session.call("pid")
        began = time.monotonic()
    took = time.monotonic() - began
    assert not is_known(pid)
    print(int(took < 20), int(is_known(orphan)), flush=True)


if sys.argv[1] == "ours":
    inherit_orphans()
    run()
else:
    inherit_orphans()
    child = os.fork()
    if not child:
        run()
        os._exit(0)
    os.waitpid(child, 0)  # and for nobody else
