"""What a page says of itself to search engines, and to whoever is sent a link to it."""

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

LONGEST = 250  # characters: who reads these tags shows no more


def describe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Put title and first paragraph into the head; the first page's title names the book once."""
    if doctree is None:
        return
    title = re.sub("<[^>]*>", "", context["title"])  # escaped already
    if page == app.config.root_doc:  # its own title is the book's, which the theme adds
        context["title"] = "Introduction"
    text = escape(first_paragraph(doctree))
    context["metatags"] += f"""
<meta name="description" content="{text}">
<meta property="og:type" content="article">
<meta property="og:site_name" content="{escape(app.config.html_title)}">
<meta property="og:title" content="{title}">
<meta property="og:description" content="{text}">"""


def first_paragraph(doctree: nodes.document) -> str:
    """The first paragraph of a page as plain text, cut behind a word where it is long."""
    for found in doctree.findall(nodes.paragraph):
        text = re.sub("<[^>]*>", "", found.astext())  # keys of numbers
        text = " ".join(re.sub(r"\\([a-zA-Z]+)", r"\1", text).split())  # of formulas, the names
        if len(text) > LONGEST:
            text = text[:LONGEST].rsplit(" ", 1)[0] + " …"
        if text:
            return text
    return ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
