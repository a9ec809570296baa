# SPDX-License-Identifier: MIT
"""Set a lamp, without an event loop: `python lamp_client.py LAMP [PERCENT [URL]]`, while lamp_server.py runs there.

Shows: a packet client in blocking code, timeouts, and what to catch.
"""

import sys

import msgspec

import tieline.blocking
from tieline.exceptions import StreamProtocolParseError
from tieline.protocol import StreamProtocol
from tieline.serializers import JSONSerializer


class Order(msgspec.Struct):
    lamp: str
    to: int | None


class State(msgspec.Struct, tag="state"):
    lamp: str
    percent: int


class Refusal(msgspec.Struct, tag="refusal"):
    why: str


PROTOCOL: StreamProtocol[Order, State | Refusal] = StreamProtocol(JSONSerializer(type=State | Refusal))


def main(lamp: str, percent: str = "", url: str = "tcp://127.0.0.1:4008") -> None:
    order = Order(lamp, int(percent) if percent else None)
    with tieline.blocking.connect(url, protocol=PROTOCOL, connect_timeout=5) as client:
        client.send_packet(order)
        answer = client.recv_packet(timeout=5)
    if isinstance(answer, Refusal):
        sys.exit(f"refused: {answer.why}")
    print(f"{answer.lamp}: {answer.percent} %")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:] or ["hall"])
    except StreamProtocolParseError:
        sys.exit("that is no server of lamps")
    except TimeoutError as exc:
        sys.exit(f"the server takes too long: {exc}")
    except OSError as exc:  # nobody there, or no more: ConnectionLost and EndOfStream are such
        sys.exit(f"no connection: {exc}")
