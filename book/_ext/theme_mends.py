"""Mend what the theme and docutils get wrong for this book: heavy icons, roles without sense."""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ICON = re.compile(
    r'(?:"([\w-]+)"|([\w]+)):\[\d+,\d+,\[[^\]]*\],"\w+",(?:"[^"]*"|\[[^\]]*\])\],?',
)


def keep_used_icons(app: Sphinx, exception: Exception | None) -> None:
    """Drop from the theme's icon script, 1.5 MB, what no page and no script asks for."""
    if exception is not None or app.builder.format != "html":
        return
    pages, scripts = Path(app.outdir), Path(app.outdir, "_static", "scripts")
    icons = scripts / "fontawesome.js"
    texts = [*pages.rglob("*.html"), *(s for s in scripts.glob("*.js") if s != icons)]
    used = {name for text in texts for name in re.findall(r"\bfa-([\w-]+)", text.read_text())}
    icons.write_text(ICON.sub(lambda m: m[0] if (m[1] or m[2]) in used else "", icons.read_text()))


def plain_citations(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Drop roles that docutils puts on a bibliography and that contradict each other."""
    if "citation-list" in context.get("body", ""):
        body = context["body"].replace('<div role="list" class="citation-list">', "<div>")
        context["body"] = body.replace(' role="doc-biblioentry"', "")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", keep_used_icons)
    app.connect("html-page-context", plain_citations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
