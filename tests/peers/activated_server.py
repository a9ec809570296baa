# SPDX-License-Identifier: MIT
"""A server of ours that listens where it is told by whoever starts it: python activated_server.py LOOP [NAME]."""

import sys

import tieline
from tests import aio
from tests.peers.our_side import our_methods


async def main(*names: str) -> None:
    (sock,) = tieline.inherited_sockets(*names)
    methods = our_methods()
    async with tieline.Server(lambda: tieline.ServerSession(methods=methods), sock=sock) as server:
        print(server.url, tieline.inherited_sockets(), flush=True)
        await server.serve_forever()
    print("all is answered", flush=True)


if __name__ == "__main__":
    loop, *given = sys.argv[1:]
    aio.run(main, *given, loop=loop)
