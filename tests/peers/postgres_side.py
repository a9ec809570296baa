# SPDX-License-Identifier: MIT
"""The least of PostgreSQL's protocol (version 3.0) as a framer of calls: so any session of ours can speak it.

    call("ssl_request")            the one byte that the server says: "S" = TLS may start
    call("startup", user, base)    what the server tells of itself, by name
    call("query", text)            the rows, each a list of texts

See chapter 55 of PostgreSQL's documentation, "Frontend/Backend Protocol".
"""

import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from tieline import FramerBase

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
VERSION = 196608  # 3.0


class PostgresFramer(FramerBase):
    """One call at a time: what comes until the server is ready again is the answer to the last one."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._id: Any = None
        self._is_asked_for_tls = False
        self._told: dict[str, str] = {}
        self._rows: list[list[str]] = []
        self._error: str | None = None

    @property
    def pending(self) -> int:  # type: ignore[override]  # an attribute there
        return len(self._buffer)

    def frame(self, messages: Iterable[bytes]) -> bytes:
        (message,) = map(json.loads, messages)
        method: str = message["method"]
        self._id, params = message["id"], message.get("params", [])
        self._told, self._rows, self._error = {}, [], None
        match method:
            case "ssl_request":
                self._is_asked_for_tls = True
                return SSL_REQUEST
            case "startup":
                user, base = params
                body = struct.pack("!i", VERSION) + f"user\0{user}\0database\0{base}\0\0".encode()
                return struct.pack("!i", 4 + len(body)) + body
            case "query":
                body = str(params[0]).encode() + b"\0"
                return b"Q" + struct.pack("!i", 4 + len(body)) + body
        raise ValueError(f"no message of PostgreSQL's: {method}")

    def messages(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        if self._is_asked_for_tls and self._buffer:
            self._is_asked_for_tls = False
            yield self._answer(result=chr(self._buffer.pop(0)))
        while len(self._buffer) >= 5:
            (size,) = struct.unpack_from("!i", self._buffer, 1)
            if len(self._buffer) < 1 + size:
                return
            kind, body = chr(self._buffer[0]), bytes(self._buffer[5 : 1 + size])
            del self._buffer[: 1 + size]
            self._take(kind, body)
            if kind == "Z":
                if self._error is not None:
                    yield self._answer(error={"code": 1, "message": self._error})
                else:
                    yield self._answer(result=self._told or self._rows)

    def _take(self, kind: str, body: bytes) -> None:
        match kind:
            case "S":
                name, value, _ = body.decode().split("\0")
                self._told[name] = value
            case "D":
                row, at = [], 2
                for _ in range(struct.unpack_from("!h", body)[0]):
                    (size,) = struct.unpack_from("!i", body, at)
                    row.append(body[at + 4 : at + 4 + size].decode())
                    at += 4 + size
                self._rows.append(row)
            case "E":
                fields = [field.decode() for field in body.split(b"\0") if field]
                self._error = next(field[1:] for field in fields if field[0] == "M")

    def _answer(self, **outcome: Any) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": self._id, **outcome}).encode()
