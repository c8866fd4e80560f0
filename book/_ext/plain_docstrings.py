"""Show docstrings as they stand in the source: they are plain text with formulas, not markup."""

from typing import Any

from sphinx.application import Sphinx


def as_text(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Put the docstring into a block that keeps its lines."""
    text = ["   " + line for line in lines]
    lines[:] = [".. code-block:: text", "   :class: docstring", "", *text, ""] if any(lines) else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", as_text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
