"""Serve MathJax from the book itself, so that mathematics needs no network."""

from importlib.metadata import distribution
from pathlib import Path
from shutil import copy2, copytree
from typing import Any

from sphinx.application import Sphinx

ENTRY, FONTS = "tex-chtml.js", "output/chtml/fonts/woff-v2"


def copy(app: Sphinx, exception: Exception | None) -> None:
    """Copy the one script and its fonts beside the built pages."""
    if exception is None and app.builder.format == "html":
        found = distribution("sphinx-mathjax-offline").locate_file(
            "sphinx-mathjax-offline/static/mathjax"
        )
        source, target = Path(str(found)), Path(app.outdir, "_static", "mathjax")
        copytree(source / FONTS, target / FONTS, dirs_exist_ok=True)
        copy2(source / ENTRY, target)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.config.mathjax_path = "mathjax/" + ENTRY
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
