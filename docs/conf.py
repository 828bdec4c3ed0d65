"""The documentation site: `make site` builds it from the same pages that are read in the repository.

The repository is the source folder, so that links between README, docs and examples hold in both places. What
only a site needs (its table of contents, a front page called index) is added here and nowhere else.
"""

from __future__ import annotations

from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "goflow"
author = "The goflow authors"
version = release = installed("goflow-cli")
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "examples/README.md"]
exclude_patterns = [".venv", "site"]
myst_heading_anchors = 3
# links to folders lead somewhere in the repository only; tests/test_docs.py follows every link
suppress_warnings = ["myst.header", "myst.xref_missing", "misc.highlighting_failure"]
# docstrings are written for people at a terminal: what stands between backticks is code
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
html_theme = "furo"
html_title = f"goflow {release}"
html_copy_source = False
html_show_sphinx = False

#: the order of the pages, under these headings; those not named here come last
CONTENTS = {
    "Use": [
        "docs/tutorial",
        "docs/guide",
        "examples/README",
        "docs/http",
        "docs/dashboard",
        "docs/operations",
    ],
    "Ask": [
        "docs/answers/README",
        "docs/answers/not-moving",
        "docs/answers/failed",
        "docs/answers/again",
        "docs/answers/slow",
        "docs/answers/output",
        "docs/answers/worker-died",
        "docs/answers/redis",
        "docs/export",
    ],
    "Know": [
        "docs/architecture",
        "docs/states",
        "docs/reliability",
        "docs/performance",
        "docs/measurements",
        "docs/backends",
        "docs/api",
    ],
    "Take part": ["CONTRIBUTING", "SECURITY", "CHANGELOG"],
}


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _add_index)


def _add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the front page the table of contents."""
    if page == root_doc:
        named = {name for pages in CONTENTS.values() for name in pages}
        others = sorted(app.env.found_docs - named - {root_doc})
        for caption, pages in {**CONTENTS, "More": others}.items():
            listed = "\n".join(f"/{name}" for name in pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def _add_index(app: Sphinx, error: Exception | None) -> None:
    """Let the site's address lead to its front page."""
    if error is None:
        text = f'<!doctype html><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
        Path(app.outdir, "index.html").write_text(text, encoding="utf-8")
