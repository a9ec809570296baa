# SPDX-License-Identifier: MIT
"""Ask a suitable server for the outline of a text, in blocking code: `outline_blocking.py URL DIALECT [PROXY]`.

The twin of outline.py: the same calls, without `async` and `await`.
"""

import sys

from tieline import blocking

DOCUMENT = {"uri": "file:///answer.c", "languageId": "c", "version": 1, "text": "answer = 42;\n"}


def main(url: str, dialect: str, proxy: str | None = None) -> None:
    with blocking.connect(url, dialect=dialect, proxy=proxy) as session:
        told = session.call("initialize", processId=None, rootUri=None, capabilities={})
        session.notify("initialized")
        session.notify("textDocument/didOpen", textDocument=DOCUMENT)
        symbols = session.call("textDocument/documentSymbol", textDocument={"uri": DOCUMENT["uri"]})
        print(told["serverInfo"]["name"], "finds", ", ".join(symbol["name"] for symbol in symbols))
        session.call("shutdown")


if __name__ == "__main__":
    main(*sys.argv[1:])
