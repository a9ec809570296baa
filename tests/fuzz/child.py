# SPDX-License-Identifier: MIT
"""The process that fuzzes one target: ``python -m tests.fuzz.child TARGET FLAGS OF LIBFUZZER``.

Fuzzing goes by what code is reached, so the core is loaded here with marks in it.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["tieline.wire", "tieline.endpoints"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    (target,) = [target for target in TARGETS if target.name == sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.play)
    atheris.Fuzz()


main()
