"""The directive `equation-index`: numbered equations, each with its place, code and test."""

import csv
import re
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

WHOSE = {"post": r"\d", "book": "C"}  # how their numbers begin
HEAD = ["| equation | chapter | computed by | test |", "|---|---|---|---|"]


class EquationIndex(SphinxDirective):
    """A table made of equations.csv, which lies beside the page: of the post, or of the book."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write the table as MyST text and parse it, so that its links are found."""
        if self.arguments[0] not in WHOSE:
            raise self.error(f"equation-index {self.arguments[0]!r} must be one of {[*WHOSE]}")
        source = Path(self.env.doc2path(self.env.docname)).with_name("equations.csv")
        self.env.note_dependency(str(source))
        every = csv.DictReader(source.read_text(encoding="utf-8").splitlines())
        wanted = re.compile(WHOSE[self.arguments[0]])
        rows = [_row(row) for row in every if wanted.match(row["equation"])]
        return self.parse_text_to_nodes("\n".join([*HEAD, *rows]))


def _row(row: dict[str, str]) -> str:
    code = "a cell of the chapter"
    if row["code"] != "cell":
        role = "" if "._" in row["code"] else "{py:obj}"  # what is private has no place in the API
        code = f"{role}`{row['code']}`: {_purpose(row['code'])}"
    file, _, name = row["test"].partition("::")
    claim = name.removeprefix("test_").replace("_", " ")
    claim = re.sub(r"\b(\d) (\d+)", r"\1.\2", claim)  # 3.1 is 3_1 in a name
    claim = re.sub(r"\bc(\d+) (\d+)", r"C\1.\2", claim)
    test = f"{claim} (`{file}`)" if claim else f"`{file}`"
    page = row["page"]
    chapter = f"[{int(page[:2]) if page[:2].isdigit() else page}]({page}.ipynb)"
    return f"| [({row['equation']})]({page}.ipynb#{row['label']}) | {chapter} | {code} | {test} |"


def _purpose(code: str) -> str:
    """The first line of a docstring, which says what the function returns."""
    found = resolve_name(f"cisp.{code.removeprefix('cisp.')}")
    return (found.__doc__ or "").split("\n")[0].rstrip(".").replace("|", "\\|")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("equation-index", EquationIndex)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
