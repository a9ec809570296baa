# SPDX-License-Identifier: MIT
"""`python -m tieline`, and the program `tieline`: the command line, if what it needs is installed."""

from __future__ import annotations

import sys
from importlib import import_module

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    try:
        for name in ("typer", "rich"):  # commands load rich when they need it, which is too late to say so
            import_module(name)

        from tieline.cli.main import run
    except ModuleNotFoundError as exc:
        missing = str(exc.name).partition(".")[0]
        if missing not in {"click", "rich", "typer"}:
            raise
        sys.stderr.write(f"tieline: the command line needs {missing}: pip install 'tieline[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:  # to load it all takes its time, in which nobody else is there to say how it ended
        sys.exit(130)
    sys.exit(run())


if __name__ == "__main__":
    main()
