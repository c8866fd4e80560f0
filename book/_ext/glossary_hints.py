"""Show what a term means where it is first used: each page's first use of a word of the glossary
becomes a link to its entry, with the definition as the link's title, which browsers show on hover.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

GLOSSARY = "book/glossary"
Terms = dict[str, tuple[str, str]]
COMMON = {"cell", "code", "dealing", "feature", "law", "meet", "side by side", "step"}  # too plain
PLAIN = (nodes.reference, nodes.literal, nodes.math, nodes.caption, nodes.title, nodes.Admonition)


def terms(app: Sphinx) -> Terms:
    """Each term of the glossary in lower case, with its anchor and its definition."""
    found: Terms = {}
    for item in app.env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        definition = " ".join(item.children[-1].astext().split())
        for term in item.findall(nodes.term):
            found[term.astext().lower()] = (term["ids"][0], definition)
    return found


def link_first_uses(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Link the first use of each term in the paragraphs of a chapter."""
    chapter = app.env.doc2path(page).endswith(".ipynb")
    if not chapter or GLOSSARY not in app.env.found_docs:
        return
    left = {word: about for word, about in terms(app).items() if word not in COMMON}
    for text in list(doctree.findall(nodes.Text)):
        if _in(text, nodes.paragraph) and not _in(text, *PLAIN):
            _link(app, page, text, left)


def _link(app: Sphinx, page: str, text: nodes.Text, left: Terms) -> None:
    if not left:
        return
    longest_first = "|".join(re.escape(term) for term in sorted(left, key=len, reverse=True))
    match = re.search(rf"(?<![\w-])({longest_first})s?(?![\w-])", text, re.IGNORECASE)
    if match:
        anchor, definition = left.pop(match[1].lower())
        address = app.builder.get_relative_uri(page, GLOSSARY) + "#" + anchor
        word = nodes.inline("", match[0], classes=["term"])
        link = nodes.reference("", "", word, internal=True, refuri=address, reftitle=definition)
        before, after = nodes.Text(text[: match.start()]), nodes.Text(text[match.end() :])
        text.parent.replace(text, [before, link, after])
        _link(app, page, after, left)


def _in(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    return node.parent is not None and (isinstance(node.parent, kinds) or _in(node.parent, *kinds))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", link_first_uses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
