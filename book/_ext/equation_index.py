"""The directive `equation-index`: every numbered equation of the post, its place, code and test."""

import csv
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HEAD = ["| equation | chapter | computed by | test |", "|---|---|---|---|"]


class EquationIndex(SphinxDirective):
    """A table made of equations.csv, which lies beside the page."""

    def run(self) -> list[nodes.Node]:
        """Write the table as MyST text and parse it, so that its roles become links."""
        source = Path(self.env.doc2path(self.env.docname)).with_name("equations.csv")
        self.env.note_dependency(str(source))
        rows = [_row(row) for row in csv.DictReader(source.read_text().splitlines())]
        return self.parse_text_to_nodes("\n".join([*HEAD, *rows]))


def _row(row: dict[str, str]) -> str:
    code = "a cell of the chapter"
    if row["code"] != "cell":
        role = "" if "._" in row["code"] else "{py:obj}"  # what is private has no place in the API
        code = f"{role}`{row['code']}`: {_purpose(row['code'])}"
    file, _, name = row["test"].partition("::")
    claim = name.removeprefix("test_").replace("_", " ")
    claim = re.sub(r"\b(\d) (\d+)", r"\1.\2", claim)  # 3.1 is 3_1 in a name
    test = f"{claim} (`{file}`)" if claim else f"`{file}`"
    page = row["page"]
    chapter = f"{{doc}}`{int(page[:2]) if page[:2].isdigit() else page} <{page}>`"
    return f"| {{eq}}`{row['label']}` | {chapter} | {code} | {test} |"


def _purpose(code: str) -> str:
    """The first line of a docstring, which says what the function returns."""
    room, *path = code.removeprefix("cisp.").split(".")
    found: Any = import_module(f"cisp.{room}")
    for name in path:
        found = getattr(found, name)
    return (found.__doc__ or "").split("\n")[0].rstrip(".").replace("|", "\\|")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("equation-index", EquationIndex)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
