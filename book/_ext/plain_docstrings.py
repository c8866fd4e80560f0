"""Show docstrings as they stand in the source: they are plain text with formulas, not markup."""

import re
from itertools import groupby
from typing import Any

from sphinx.application import Sphinx

KEPT = re.compile(r" |>>>|.*\S {3,}\S", re.DOTALL)  # formulas, examples, tables
ENTRY = re.compile(r"[A-Za-z]\w*(, \w+| \([^)]*\))*: ")  # "w: (T, d, d) when ..."


def as_text(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Put the docstring into a block; paragraphs become one line, which the browser breaks."""
    text = []
    for blank, part in groupby(lines, lambda line: not line.strip()):
        found = list(part)
        text += found if blank or KEPT.match("\n".join(found)) else _joined(found)
    text = ["   " + line.replace("`", "") for line in text]
    lines[:] = [".. code-block:: text", "   :class: docstring", "", *text, ""] if any(lines) else []


def _joined(lines: list[str]) -> list[str]:
    joined = lines[:1]
    for line in lines[1:]:
        if ENTRY.match(lines[0]) and ENTRY.match(line):
            joined.append(line)
        else:
            joined[-1] += " " + line.strip()
    return joined


def readable_defaults(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """Write {} for a default that is made anew, a function by its name: Sphinx can read these.

    And ArrayLike for the ten types that it stands for.
    """
    if signature is None:
        return None
    signature = signature.replace("<factory>", "{}")
    signature = re.sub(r"[\w.]*_Buffer \|.*?complex \| bytes \| str\]", "ArrayLike", signature)
    return re.sub(r"<function (\w+)( at \w+)?>", r"\1", signature), returns


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", as_text)
    app.connect("autodoc-process-signature", readable_defaults)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
