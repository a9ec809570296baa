# SPDX-License-Identifier: MIT
"""Bring a virtual environment up to date, and say nothing to any network when it already is.

    python tools/venv.py VENV GROUP...

The environment is made with the interpreter that runs this file, and holds tieline (editable) with the named
dependency groups of pyproject.toml. A stamp per group remembers for what it was installed; so the second run works
offline, another interpreter remakes the environment, and an interrupted run starts again.
Reading the groups here, instead of `pip install --group`, keeps the pip of CPython 3.11 and 3.12 good enough.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def requirements(groups: dict[str, list[Any]], name: str) -> list[str]:
    """Return the requirements of group *name*, included groups unfolded."""
    found: list[str] = []
    for entry in groups[name]:
        found += [entry] if isinstance(entry, str) else requirements(groups, entry["include-group"])
    return found


def digest(*parts: object) -> str:
    """Return a short text that changes when any of *parts* does."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def make(venv: Path, interpreter: str) -> None:
    """Make *venv* anew, unless it already belongs to *interpreter*."""
    stamp = venv / "stamps" / "interpreter"
    if stamp.is_file() and stamp.read_text() == interpreter and (venv / "bin" / "python").exists():
        return
    if venv.exists():
        if any(venv.iterdir()) and not (venv / "pyvenv.cfg").is_file():
            raise SystemExit(f"{venv} is not a virtual environment: not touched")
        shutil.rmtree(venv)
    print(f"making {venv} with Python {sys.version.split()[0]}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    stamp.parent.mkdir()
    stamp.write_text(interpreter)


def install(venv: Path, name: str, project: dict[str, Any]) -> None:
    """Install tieline and group *name* into *venv*, unless its stamp says that this was done."""
    wanted = requirements(project["dependency-groups"], name)
    key = digest(project["build-system"], project["project"], wanted)
    stamp = venv / "stamps" / name
    if stamp.is_file() and stamp.read_text() == key:
        return
    print(f"installing what `{name}` needs into {venv}", flush=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    subprocess.run([*pip, "install", "--quiet", "--editable", str(ROOT), *wanted], check=True)
    stamp.write_text(key)


def main(venv_name: str, *names: str) -> None:
    venv = ROOT / venv_name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    # The clone's own place is part of it: scripts and the editable install hold absolute paths.
    make(venv, digest(sys.version, sys.base_prefix, str(ROOT)))
    for name in names:
        install(venv, name, project)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError as exc:
        raise SystemExit(f"set-up failed: {exc}") from None  # the command has said why
