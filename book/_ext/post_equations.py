"""Number equations by their labels: `eq-5-20` is shown as (5.20), the number it has in the post."""

from typing import Any

from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.domains.math import MathDomain


class PostMath(MathDomain):
    """Sphinx's mathematics, with numbers read from labels instead of counted."""

    def note_equation(self, docname: str, labelid: str, location: Node | None = None) -> None:
        """Record the label as Sphinx does, under the number that its last two parts spell."""
        super().note_equation(docname, labelid, location)
        number = ".".join(labelid.split("-")[-2:])
        self.equations[labelid] = (docname, number)  # type: ignore[assignment]  # Sphinx only prints it


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_domain(PostMath, override=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
