# SPDX-License-Identifier: MIT
"""Sphinx configuration. Nothing here asks the network: no intersphinx, no remote fonts."""

import tomllib
from pathlib import Path

_project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "tieline"
author = "the tieline contributors"
copyright = f"2026, {author}"
version = release = _project["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "furo"
html_title = "tieline"
html_copy_source = False
# Without intersphinx, the names of others' classes stay plain text.
nitpick_ignore_regex = [("py:.*", r"(?!tieline\b).*")]
