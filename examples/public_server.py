# SPDX-License-Identifier: MIT
"""A public server: `CERTIFICATE=server.pem python public_server.py [URL]`; SIGTERM or Ctrl+C stops it.

Shows: TLS, limits for the internet, slow work that reports its progress, and a shutdown that still answers accepted
requests. KEY names the file of the private key, if it is not in that of the certificate; CLIENT_CA the authorities of
client certificates, which every client must then present.
"""

import asyncio
import hashlib
import logging
import os
import sys

import tieline

methods = tieline.Methods()

# At most 100 connections of one peer, as in the preset; the rest suits this service: short messages, quick work.
LIMITS = tieline.Limits.public(max_message=100_000, max_pending=8, handler_timeout=10)


@methods.method
def who_am_i(session: tieline.ServerSession) -> str:
    """Return the name in the caller's certificate."""
    shown = session.peer_certificate()
    names = [] if shown is None else [value for _, value in shown.get("subjectAltName", ())]
    return names[0] if names else "a stranger"


@methods.method
async def stretch(session: tieline.ServerSession, password: str, rounds: int = 5) -> str:
    """Hash a password many times over, in another thread, so that it does not delay the other callers."""
    if not 1 <= rounds <= 20:
        raise tieline.RPCError(1, "rounds must be 1 to 20")
    key = password.encode()
    for number in range(rounds):
        key = await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", key, b"example", 100_000)
        await session.notify("progress", number + 1, rounds)
    return key.hex()


async def main(url: str) -> None:
    tls = tieline.TLS(certificate=os.environ["CERTIFICATE"], key=os.environ.get("KEY"), ca=os.environ.get("CLIENT_CA"))
    async with tieline.serve(methods, url, tls=tls, limits=LIMITS) as server:
        print(server.url, flush=True)
        await server.serve_forever(grace=10)  # until SIGTERM; then running requests have ten seconds
    print("done")


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    if "CERTIFICATE" not in os.environ:
        sys.exit("set CERTIFICATE to the path of a certificate (PEM)")
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tls://:4000"))
    except KeyboardInterrupt:
        print("stopped")
