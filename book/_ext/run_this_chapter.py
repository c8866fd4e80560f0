"""End every page that is a notebook with a box that says how to run it."""

from pathlib import PurePosixPath
from typing import Any

from sphinx.application import Sphinx

BOX = """
<aside class="admonition run-this-chapter" aria-label="Run this {kind}">
<p class="admonition-title">Run this {kind}</p>
<p><code>make lab</code>, in the folder of the project, opens JupyterLab: choose
<code>{name}</code>{change} and run all cells.
Or <a href="{link}" download>download the notebook</a>:
any Jupyter runs it in which the package <code>cisp</code> is installed.</p>
</aside>
"""


def add_box(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Put the box behind the last section of a notebook's page."""
    source = context.get("sourcename") or ""
    if source.endswith(".ipynb"):
        link = context["pathto"]("_sources/" + source, True)
        name = PurePosixPath(source).name
        kind = "chapter" if name[0].isdigit() else "page"
        change = ", change the sizes in its first code cell" if kind == "chapter" else ""
        context["body"] += BOX.format(kind=kind, name=name, link=link, change=change)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", add_box)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
