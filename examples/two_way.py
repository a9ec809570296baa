# SPDX-License-Identifier: MIT
"""A handler that calls its caller back while it works: both ends of a connection serve, and both call.

A parameter that is annotated with a session class (`session: tieline.ServerSession`) receives the calling session; the
peer can neither see nor set it.
"""

import asyncio

import tieline

server_methods = tieline.Methods()
client_methods = tieline.Methods()


@server_methods.method
async def delete_files(session: tieline.ServerSession, names: list[str]) -> list[str]:
    """Ask the caller about each file; tell it how far the work is."""
    deleted = []
    for number, name in enumerate(names, 1):
        if await session.call("confirm", f"delete {name}?"):
            deleted.append(name)
        await session.notify("progress", number, len(names))
    return deleted


@client_methods.method
def confirm(question: str) -> bool:
    answer = "notes" not in question
    print(question, "yes" if answer else "no")
    return answer


@client_methods.method
def progress(done: int, total: int) -> None:
    print(f"{done} of {total}")


async def main() -> None:
    async with (
        tieline.serve(server_methods, "tcp://127.0.0.1:0") as server,
        tieline.connect(server.url, client_methods) as session,
    ):
        print("deleted:", await session.call("delete_files", ["draft.txt", "notes.txt", "old.txt"]))


if __name__ == "__main__":
    asyncio.run(main())
