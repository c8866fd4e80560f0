"""Number equations by their labels: `eq-5-20` is shown as (5.20), the number it has in the post.

The number is also an entry of the index, where the search finds it.
"""

from typing import Any

from docutils.nodes import Node, document, math_block
from sphinx.addnodes import index
from sphinx.application import Sphinx
from sphinx.domains.math import MathDomain


class PostMath(MathDomain):
    """Sphinx's mathematics, with numbers read from labels instead of counted."""

    def note_equation(self, docname: str, labelid: str, location: Node | None = None) -> None:
        """Record the label as Sphinx does, under the number that its last two parts spell."""
        super().note_equation(docname, labelid, location)
        number = ".".join(labelid.split("-")[-2:])
        self.equations[labelid] = (docname, number)  # type: ignore[assignment]  # Sphinx only prints it


def add_numbers_to_index(app: Sphinx, doctree: document) -> None:
    """Make (5.20) an entry of the index that leads to the equation `eq-5-20`."""
    for node in list(doctree.findall(math_block)):
        label = node.get("label") or ""
        if label.startswith("eq-"):
            number = ".".join(label.split("-")[-2:])
            entries = [("single", f"({number})", f"equation-{label}", "", None)]
            node.parent.insert(node.parent.index(node), index(entries=entries))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_domain(PostMath, override=True)
    app.connect("doctree-read", add_numbers_to_index)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
