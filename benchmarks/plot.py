# SPDX-License-Identifier: MIT
"""A plot of a run, as SVG without any library: a group of bars for each workload, the longest the fastest."""

from __future__ import annotations

from html import escape

from benchmarks.cases import CASES
from benchmarks.results import Key, Results
from benchmarks.workloads import WORKLOADS

__all__ = ["svg"]

_SHOWN = ("W1", "W2-1000", "W3", "W4")
_WIDTH, _LABELS, _BAR, _GAP = 760, 250, 16, 5
_OURS, _RAW, _THEIRS = "#2f6f4f", "#9aa5b1", "#c98b2b"
_RAW_CASES = {"protocol", "buffered", "uvloop", "blocking"}


def svg(results: Results) -> str:
    """Return the plot: requests a second by peer, for those workloads that were measured."""
    body: list[str] = []
    top = 10
    for workload in _SHOWN:
        rates = [
            (spread.median, peer) for peer in results.peers(workload) if (spread := results.spread(Key(workload, peer)))
        ]
        if rates:
            title = f"{workload}: {WORKLOADS[workload].title} (requests/s)"
            body.append(f'<text x="0" y="{top + 14}" font-weight="bold">{escape(title)}</text>')
            top = _bars(body, sorted(rates, reverse=True), top + 26) + 18
    key = "tieline: green; echoes without any parsing: grey; others: orange"
    body.append(f'<text x="0" y="{top + 6}" font-style="italic">{key}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 16}" width="{_WIDTH}"'
    style = 'font-family="sans-serif" font-size="12" fill="#333"'
    paper = f'<rect width="{_WIDTH}" height="{top + 16}" fill="#fff"/>'
    return "\n".join([f"{head} {style}>", paper, *body, "</svg>", ""])


def _bars(body: list[str], rates: list[tuple[float, str]], top: int) -> int:
    """Add bars to *body* and return where the next thing may begin."""
    room = _WIDTH - _LABELS - 90
    for rate, peer in rates:
        width = max(1, round(room * rate / rates[0][0]))
        colour = _OURS if peer.startswith("tieline") else _RAW if peer in _RAW_CASES else _THEIRS
        text = top + _BAR - 4
        number = f"{rate:,.0f}".replace(",", " ")
        body.append(f'<text x="{_LABELS - 8}" y="{text}" text-anchor="end">{escape(CASES[peer].title)}</text>')
        body.append(f'<rect x="{_LABELS}" y="{top}" width="{width}" height="{_BAR}" fill="{colour}"/>')
        body.append(f'<text x="{_LABELS + width + 6}" y="{text}">{number}</text>')
        top += _BAR + _GAP
    return top
