# SPDX-License-Identifier: MIT
"""Draw the pictures of the pages: `python docs/pictures.py` writes them beside the pages, as SVG.

They take the colour of the text around them, so they are readable in light and dark; alone, a file says both itself.
Texts are texts, in a font of the reader's. A test sees to it that the files are what this draws, and that it tells the
truth about states and modules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Final

__all__ = ["ARROWS", "FLOORS", "PICTURES", "main"]

HERE: Final = Path(__file__).resolve().parent / "explanation"

_SANS: Final = "system-ui, sans-serif"
_MONO: Final = "ui-monospace, monospace"
_TINTS: Final = {"": "none", "code": "#7f7f7f", "rpc": "#3b82f6", "wire": "#22a06b", "io": "#d97706", "end": "#c2410c"}

# Where the file is a page of its own, and only there (in a page, :root is that).
_ALONE: Final = (
    "<style>svg:root{color:#1f2328;background:#fff}"
    "@media (prefers-color-scheme:dark){svg:root{color:#d1d7e0;background:#151b23}}</style>"
)


@dataclass
class Picture:
    """Shapes on a plane, in the order in which they were drawn."""

    name: str
    title: str
    width: int
    height: int
    parts: list[str] = field(default_factory=list)

    def box(self, x: int, y: int, width: int, height: int, *lines: str, tint: str = "", mono: bool = False) -> None:
        """Draw a box with lines of text in its middle; the first is bold unless it is alone."""
        fill = _TINTS[tint]
        opacity = "" if fill == "none" else ' fill-opacity="0.13"'
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}"{opacity} '
            'stroke="currentColor" stroke-width="1.2"/>'
        )
        top = y + height / 2 - 8.5 * (len(lines) - 1) + 4.5
        for number, line in enumerate(lines):
            is_bold = number == 0 and len(lines) > 1
            self.text(x + width / 2, top + 17 * number, line, anchor="middle", bold=is_bold, mono=mono and not is_bold)

    def text(
        self, x: float, y: float, line: str, *, anchor: str = "start", bold: bool = False, mono: bool = False,
        size: int = 13,
    ) -> None:  # fmt: skip
        weight = ' font-weight="bold"' if bold else ""
        family = f' font-family="{_MONO}"' if mono else ""
        place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size - mono}"'
        self.parts.append(f"<text {place}{weight}{family}>{escape(line)}</text>")

    def arrow(self, *points: tuple[int, int], dashed: bool = False) -> None:
        """Draw a line through *points* with a head at its end."""
        path = " ".join(f"{'L' if number else 'M'}{x} {y}" for number, (x, y) in enumerate(points))
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.4"{dashes} '
            f'marker-end="url(#{self.name}-head)"/>'
        )

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(self.title)}" font-family="{_SANS}" fill="currentColor" '
            f'style="width:100%;max-width:{self.width}px;height:auto">'
        )
        marker = (
            f'<defs><marker id="{self.name}-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="currentColor"/></marker></defs>'
        )
        return "\n".join([head, f"<title>{escape(self.title)}</title>", _ALONE, marker, *self.parts, "</svg>", ""])


# --- the floors ------------------------------------------------------------------------------------------------------

# Of each floor: what it is, its tint, and its boxes: what is in them, and the files where that is.
FLOORS: Final = [
    ("faces", "only names", "code", [("imported at their first use", ["__init__.py", "exceptions.py"])]),
    ("rpc", "what you use", "rpc", [
        ("sessions, servers", ["session.py", "client.py", "server.py"]),
        ("what runs them", ["engine.py", "tasks.py"]),
        ("your methods", ["methods.py", "binding.py", "handling.py"]),
    ]),
    ("streams", "what you use", "rpc", [
        ("connections for your own protocols", ["dialling.py", "server.py", "opening.py"]),
    ]),
    ("servers", "what you use", "rpc", [
        ("packet servers", ["async_tcp.py", "blocking.py"]),
    ]),
    ("clients", "what you use", "rpc", [
        ("packet clients", ["async_tcp.py", "tcp.py", "abc.py"]),
    ]),
    ("runtimes", "the only I/O", "io", [
        ("drives a machine", ["link.py"]),
        ("what each runtime has", ["host.py", "backend.py"]),
        ("the runtimes", ["asyncio/", "layers/"]),
    ]),
    ("endpoints", "where, as values", "code", [
        ("TCP, Unix sockets, TLS, URLs", ["tcp.py", "unix.py", "tls.py", "urls.py"]),
    ]),
    ("wire", "no I/O, no clock", "wire", [
        ("where a message ends", ["framing/"]),
        ("JSON-RPC", ["jsonrpc/connection.py"]),
        ("for all machines", ["states.py", "flow.py", "limits.py"]),
    ]),
    ("errors", "one hierarchy", "code", [("by fault and cause", ["errors.py"])]),
    ("finite", "below everything", "code", [("checks of users' numbers", ["finite.py"])]),
    ("loading", "below everything", "code", [("import at first use", ["loading.py"])]),
]  # fmt: skip


def floors() -> Picture:
    """Who may import whom."""
    picture = Picture(
        "floors", "The floors of tieline: each file imports only what is on its own floor or below", 760, 862
    )
    top = 8
    for name, what, tint, boxes in FLOORS:
        height = 62 if len(boxes) == 1 else 84
        picture.box(8, top, 700, height, tint=tint)
        picture.text(22, top + height / 2 - 3, name, bold=True, size=14)
        picture.text(22, top + height / 2 + 15, what, size=12)
        room = 552
        width = (room - 10 * (len(boxes) - 1)) // len(boxes)
        for number, (title, files) in enumerate(boxes):
            left = 146 + number * (width + 10)
            rows = (
                [" ".join(files)] if len(" ".join(files)) * 7.3 < width else [" ".join(files[:2]), " ".join(files[2:])]
            )
            picture.box(left, top + 8, width, height - 16, title, *rows, mono=True)
        top += height + 10
    picture.arrow((726, 10), (726, top - 12))
    turned = f'transform="translate(744 {top // 2}) rotate(90)" text-anchor="middle" font-size="13"'
    picture.parts.append(f"<text {turned}>imports go down only</text>")
    return picture


# --- the way of a call -----------------------------------------------------------------------------------------------

_CALLER: Final = [
    ("your code", 'await session.call("add", 1, 2)', "code"),
    ("session", "waits for the reply", "rpc"),
    ("machine", "gives it an id, encodes it, frames it", "wire"),
    ("link", "one write for the whole turn", "io"),
    ("transport of the loop", "TCP, TLS or a Unix socket", "io"),
]
_SERVER: Final = [
    ("your method", "add(1, 2)", "code"),
    ("engine, binding", "check arguments by type hints", "rpc"),
    ("machine", "splits, decodes, checks, counts", "wire"),
    ("link", "passes on everything of one read", "io"),
    ("transport of the loop", "reads into a shared buffer", "io"),
]


def call() -> Picture:
    """From the caller's code to the method, and back."""
    picture = Picture(
        "call", "The path of a call: down on the caller's side, up on the server's, and back again", 760, 446
    )
    for left, title, column in ((8, "caller", _CALLER), (412, "server", _SERVER)):
        picture.text(left + 170, 20, title, anchor="middle", bold=True, size=14)
        for number, (name, what, tint) in enumerate(column):
            top = 32 + 78 * number
            picture.box(left, top, 340, 50, name, what, tint=tint, mono=number == 0)
            if number:
                asks, answers = (left + 110, left + 230) if left == 8 else (left + 230, left + 110)
                if left == 8:
                    picture.arrow((asks, top - 28), (asks, top - 1))
                    picture.arrow((answers, top), (answers, top - 27), dashed=True)
                else:
                    picture.arrow((answers, top), (answers, top - 27))
                    picture.arrow((asks, top - 28), (asks, top - 1), dashed=True)
    picture.arrow((118, 394), (118, 420), (522, 420), (522, 395))
    picture.arrow((642, 394), (642, 438), (238, 438), (238, 395), dashed=True)
    picture.text(300, 414, "bytes", size=12)
    return picture


# --- how a connection ends -------------------------------------------------------------------------------------------

_PLACES: Final = {
    "OPEN": (20, 20),
    "DRAINING": (470, 20),
    "LINGERING": (245, 140),
    "FINISHED": (470, 220),
    "CLOSED": (20, 220),
}
# By which causes a connection goes from one state to another, and what the picture says there.
ARROWS: Final = {
    ("OPEN", "DRAINING"): (["CLOSE_CALLED", "PEER_EOF"], "close(), or the peer's end of stream"),
    ("OPEN", "LINGERING"): (["VIOLATION"], "the peer violated the protocol"),
    ("DRAINING", "LINGERING"): (["VIOLATION", "LAST_WORD"], "the same, or a last message"),
    ("DRAINING", "FINISHED"): (["LAST_REPLY"], "the last reply is sent"),
    ("LINGERING", "FINISHED"): (["PEER_EOF", "LINGERED"], "the peer has read it, or time is up"),
    ("FINISHED", "CLOSED"): (["LOST"], "the transport is gone"),
    ("OPEN", "CLOSED"): (["LOST"], "the transport is gone"),
    ("DRAINING", "CLOSED"): (["LOST"], ""),
    ("LINGERING", "CLOSED"): (["LOST"], ""),
}


def ending() -> Picture:
    """The states of a connection."""
    picture = Picture("ending", "The five states of a connection, and what moves it from one to the next", 700, 290)
    for state, (x, y) in _PLACES.items():
        tint = {"OPEN": "wire", "CLOSED": "end"}.get(state, "code")
        picture.box(x, y, 130, 44, state, tint=tint)
    said = {pair: text for pair, (_, text) in ARROWS.items()}
    picture.arrow((150, 42), (469, 42))
    picture.text(310, 34, said["OPEN", "DRAINING"], anchor="middle", size=12)
    picture.arrow((110, 64), (110, 162), (244, 162))
    picture.text(118, 112, said["OPEN", "LINGERING"], size=12)
    picture.arrow((500, 64), (500, 162), (376, 162))
    picture.text(492, 112, said["DRAINING", "LINGERING"], anchor="end", size=12)
    picture.arrow((570, 64), (570, 219))
    picture.text(578, 138, "the last", size=12)
    picture.text(578, 153, "reply is sent", size=12)
    picture.arrow((310, 184), (310, 232), (469, 232))
    picture.text(320, 208, said["LINGERING", "FINISHED"], size=12)
    picture.arrow((470, 252), (151, 252), dashed=True)
    picture.text(310, 270, "the transport is gone (from any state)", anchor="middle", size=12)
    picture.arrow((50, 64), (50, 219), dashed=True)
    return picture


# --- flow control ----------------------------------------------------------------------------------------------------


def trap() -> Picture:
    """Two ends that have both stopped to read."""
    picture = Picture(
        "trap", "Two ends that are full of requests: the replies that would free them are behind", 700, 190
    )
    for x, name in ((8, "one end"), (562, "the other end")):
        picture.box(x, 40, 130, 110, name, "is full", "of requests:", "does not read", tint="end")
    for y, goes_right in ((52, True), (104, False)):
        picture.box(146, y, 408, 34)
        for number in range(8):
            is_request = number < 6
            place = 7 - number if goes_right else number
            picture.box(151 + 50 * place, y + 5, 47, 24, tint="io" if is_request else "wire")
            word = "request" if is_request else "reply"
            picture.text(174.5 + 50 * place, y + 21, word, anchor="middle", size=11)
    picture.arrow((200, 32), (500, 32))
    picture.arrow((500, 158), (200, 158))
    picture.text(350, 24, "requests first, then replies", anchor="middle", size=12)
    picture.text(350, 178, "requests first, then replies", anchor="middle", size=12)
    return picture


# --- what peers cost over time ---------------------------------------------------------------------------------------

MINUTES: Final = 120
# Of each peer: its name, its dashes, and what it is charged in a minute, as an exact clock would tell.
PEERS: Final[dict[str, tuple[str, Callable[[int], float]]]] = {
    "100 MB at once, every ten minutes": ("", lambda minute: 1000.0 * (minute % 10 == 1)),
    "600 MB in a minute, once": ("7 4", lambda minute: 6000.0 * (minute == 15)),
    "an error every twelve seconds": ("2 3", lambda _minute: 500.0),
    "nothing but garbage, reconnecting each time": ("1 2", lambda _minute: 60_000.0),
}


def course(charges: Callable[[int], float]) -> list[float]:
    """Return what a peer has cost after each minute, by the default policy."""
    from tieline.wire.governance import Account, Governance

    policy = Governance().resolved(accepted=True)
    account = Account(policy, 0.0)
    costs = [0.0]
    for minute in range(1, MINUTES + 1):
        now = 60.0 * minute
        is_out = account.cost(now) > policy.hard_limit  # it is refused, and can do nothing
        costs.append(account.cost(now) if is_out else account.charge(charges(minute), now))
    return costs


def costs() -> Picture:
    """What four peers cost over two hours, and what becomes of them."""
    picture = Picture("costs", "The cost of four peers over two hours, beside the soft and the hard limit", 760, 400)
    left, right, top, bottom = 70, 590, 24, 330
    most = 13_000

    def place(minute: float, cost: float) -> tuple[float, float]:
        return left + (right - left) * minute / MINUTES, bottom - (bottom - top) * cost / most

    def line(points: Sequence[tuple[float, float]], dashes: str, width: float) -> None:
        path = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(points))
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        shape = f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="{width:g}"{dashed}/>'
        picture.parts.append(shape)

    line([(left, top), (left, bottom), (right, bottom)], "", 1.2)
    for limit, what in ((2000, "soft limit: slower above it"), (10_000, "hard limit: disconnected")):
        line([place(0, limit), place(MINUTES, limit)], "", 0.6)
        x, y = place(MINUTES, limit)
        picture.text(x + 6, y + 4, what, size=11)
    for cost in (0, 2000, 10_000):
        picture.text(left - 8, place(0, cost)[1] + 4, f"{cost}", anchor="end", size=11)
    for minute in range(0, MINUTES + 1, 30):
        picture.text(place(minute, 0)[0], bottom + 16, f"{minute} min", anchor="middle", size=11)
    for number, (name, (dashes, charges)) in enumerate(PEERS.items()):
        line([place(minute, cost) for minute, cost in enumerate(course(charges))], dashes, 1.6)
        x, y = left + 300 * (number % 2), bottom + 40 + 20 * (number // 2)
        line([(x, y - 4), (x + 30, y - 4)], dashes, 1.6)
        picture.text(x + 38, y, name, size=11)
    return picture


PICTURES: Final = (floors, call, ending, trap, costs)


def main() -> None:
    for draw in PICTURES:
        (HERE / f"{draw.__name__}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
