"""Links to anchors: chapters mark an equation, a figure or an exercise by `<a id="eq-5-20"></a>`,
which every renderer of Markdown knows, and link to it as `[(5.20)](05_readout.ipynb#eq-5-20)`.

MyST is told of these, and an equation's number becomes an entry of the index, where the search
finds it; so does what a comment `<!--index word-->` names. `<!--explorer.html-->` stands for the
part of a page that only a browser runs.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import index
from sphinx.application import Sphinx


def note(app: Sphinx, doctree: nodes.document) -> None:
    """Make the anchors of a page known, put what is found through the index into it.

    A formula that has its own number is left as it stands: Sphinx would put several lines into a
    `split`, in which MathJax allows no number.
    """
    for block in doctree.findall(nodes.math_block):
        if r"\tag{" in block.astext():
            block["nowrap"] = True
            block[:] = [nodes.Text(rf"\[{block.astext()}\]")]
    known = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for raw in list(doctree.findall(nodes.raw)):
        if found := re.fullmatch(r'<a id="([\w-]+)">', raw.astext().strip()):
            known[found[1]] = (0, found[1], found[1])
            if found[1].startswith("eq-"):
                number = ".".join(found[1].split("-")[1:])
                _enter(raw, f"({number})", found[1])
        elif found := re.fullmatch(r"<!--index (.+)-->", raw.astext().strip()):
            _enter(raw, found[1], "")
        elif found := re.fullmatch(r"<!--([\w.-]+\.html)-->", raw.astext().strip()):
            page = Path(app.confdir, "book", "_static", found[1]).read_text(encoding="utf-8")
            raw.replace_self(nodes.raw("", page, format="html"))


def _enter(node: nodes.Node, word: str, anchor: str) -> None:
    """Put a word before a node into the index, leading to an anchor."""
    entries = [("single", word, anchor, "", None)]
    node.parent.insert(node.parent.index(node), index(entries=entries))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("doctree-read", note)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
