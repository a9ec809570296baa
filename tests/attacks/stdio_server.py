# SPDX-License-Identifier: MIT
"""The attacked server on standard input and output: `python -m tests.attacks.stdio_server KIND CONTROL --loop uvloop`.

KIND is one of `server_process.KINDS`. It is asked about itself over a Unix socket, CONTROL, which is there first.
"""

import argparse
import os
from dataclasses import replace

import tieline
from tests import aio
from tests.attacks.server_process import KINDS, Watched
from tests.attacks.victims import methods

MEGA = 1 << 20


async def main(kind: str, control: str, max_errors: int | None) -> None:
    watched = Watched()
    methods.method(watched.trimmed)
    settings = dict(KINDS[kind])
    limits: tieline.Limits = settings.pop("limits", tieline.Limits())
    # Who starts a server is no stranger to it, and may send more; here it is as hostile as those who connect.
    # Its output ends when the program takes its streams back, so it should not linger for long.
    settings["limits"] = replace(limits, max_message=MEGA, max_errors=max_errors, linger=0.1)
    async with tieline.serve(methods, f"unix:{control}") as asked:
        server = tieline.serve(methods, "stdio:", **settings)
        await server.serve_forever(grace=5)
        os.dup2(2, 1)  # the streams are the program's again: it has nothing to say there, so their end is the end
        for session in list(asked.sessions):  # what came of it may still be asked
            await session.wait_closed()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("control", help="the path of a Unix socket")
    parser.add_argument("--lenient", action="store_true", help="bear any number of faults")
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "trio"), default="asyncio")
    options = parser.parse_args()
    most = None if options.lenient else tieline.Limits().max_errors
    aio.run(main, options.kind, options.control, most, loop=options.loop)
