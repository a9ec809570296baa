# SPDX-License-Identifier: MIT
"""The drawn pictures of the documentation are those of their script, readable anywhere, and true."""

import importlib.util
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.architecture import CLI_FLOOR, FACE_FLOOR, FLOORS
from tieline.wire.states import TRANSITIONS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "tieline"
PAGES = ROOT / "docs" / "explanation"


def loaded() -> ModuleType:
    """Return the script, which is no package's."""
    spec = importlib.util.spec_from_file_location("pictures_of_docs", ROOT / "docs" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look it up there
    spec.loader.exec_module(module)
    return module


pictures = loaded()
NAMES = [draw.__name__ for draw in pictures.PICTURES]


@pytest.mark.parametrize("draw", pictures.PICTURES, ids=NAMES)
def test_a_picture_is_what_the_script_draws(draw: Any) -> None:
    drawn = draw().svg()
    assert (PAGES / f"{draw.__name__}.svg").read_text(encoding="utf-8") == drawn, "run: python docs/pictures.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_readable_in_light_and_dark_and_needs_nothing_from_elsewhere(name: str) -> None:
    text = (PAGES / f"{name}.svg").read_text(encoding="utf-8")
    root = ET.fromstring(text)
    words = [element for element in root.iter() if element.tag.endswith("}text")]
    assert len(words) > 4
    assert all(element.get("fill") is None for element in words)  # so it is that of the page
    assert root.get("fill") == "currentColor"
    assert set(re.findall(r'stroke="([^"]+)"', text)) == {"currentColor"}
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|@font-face|<image|<script", text)
    width, height = (float(part) for part in (root.get("viewBox") or "").split()[2:])
    for element in words:
        if element.get("x"):
            assert 0 < float(element.get("x", "")) < width
            assert 0 < float(element.get("y", "")) < height


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_shown_on_a_page(name: str) -> None:
    assert any(f":file: {name}.svg" in page.read_text(encoding="utf-8") for page in PAGES.glob("*.md"))


def test_the_floors_are_those_that_the_imports_are_held_to() -> None:
    ranks = {**FLOORS, "faces": FACE_FLOOR}
    shown = [name for name, *_ in pictures.FLOORS]
    assert shown == sorted(shown, key=lambda name: -ranks[name])
    there = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    built = {name for name, rank in FLOORS.items() if name in there and rank < CLI_FLOOR}
    assert built <= set(shown)


def test_the_files_of_the_floors_are_there() -> None:
    for floor, _, _, boxes in pictures.FLOORS:
        folder = PACKAGE / floor if (PACKAGE / floor).is_dir() else PACKAGE
        for _, names in boxes:
            for name in names:
                assert (folder / name).exists(), f"{floor}: {name}"


def test_the_courses_of_peers_are_what_the_page_says() -> None:
    bursts, once, faulty, garbage = (pictures.course(charges) for _, charges in pictures.PEERS.values())
    assert max(bursts) < 2000  # honest bursts are never delayed
    assert 2000 < max(once) <= 6000  # a large one is, and is forgiven
    assert once[-1] == 0
    assert max(faulty[:12]) <= 4000
    assert max(faulty) > 10_000
    assert max(garbage) == 12_500
    assert sum(cost > 10_000 for cost in garbage) > 100  # most of the time it is not even let in


def test_the_states_and_what_moves_them_are_those_of_the_table() -> None:
    table = {
        (before.name, after.name, cause)
        for before, causes in TRANSITIONS.items()
        for cause, after in causes.items()
        if before is not after
    }
    assert {
        (before, after, cause) for (before, after), (causes, _) in pictures.ARROWS.items() for cause in causes
    } == table
