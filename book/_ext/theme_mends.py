"""Mend what is too heavy or wrong for this book: icons, figures, roles, search, breaks in lines."""

import re
from itertools import chain
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_nb.core import render
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

ICON = re.compile(
    r'(?:"([\w-]+)"|([\w]+)):\[\d+,\d+,\[[^\]]*\],"\w+",(?:"[^"]*"|\[[^\]]*\])\],?',
)
REFERENCE = re.compile(r"""(?<=["(])#([^")]*)""")
MARK = re.compile(r'<use xlink:href="#m[^>]*>')
BARE = re.compile(r"<g>\n?((?:[^<]|<(?!/?g[ >]))*)</g>\n?")
FINE = re.compile(r"-?\d+\.\d{3,}")
MARKS = re.compile(
    r'<g((?: clip-path="[^"]*")?)>\n'
    r'((?:<use [^>]*?( style="[^"]*")/>\n)(?:<use [^>]*?\3/>\n)+)</g>'
)
FONT = re.compile(r"@font-face\{[^}]*Awesome[^}]*\}|(?:\.fa-[\w-]+:before,?)+\{content:[^}]*\}")


class Sizes(SearchEnglish):
    """Words as before, and sizes: T = 557 and S=6 are found as such, however they are spaced."""

    js_splitter_code = r"""
function splitQuery(query) {
  const size = /(?<!\w)[A-Za-z]\s*=\s*\d+/g
  const sizes = (query.match(size) ?? []).map(found => found.replace(/\s/g, ''))
  const words = query.replace(size, ' ').split(/[^\p{Letter}\p{Number}_\p{Emoji_Presentation}]+/gu)
  return [...words.filter(word => word), ...sizes]
}
"""

    def split(self, text: str) -> list[str]:
        """The words of a text, and the sizes in it once more, as one word each."""
        sizes = re.findall(r"(?<!\w)([A-Za-z])\s*=\s*(\d+)", text)
        return [*super().split(text), *("=".join(size) for size in sizes)]


def paragraphs_of_parameters(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Sphinx writes a parameter a line as a list of definitions without a term: not as a list."""
    if "sig-param" in context.get("body", ""):
        parts = re.split(r"(<dl>\n(?:<dd><em class=\"sig-param.*\n)+</dl>)", context["body"])
        for k in range(1, len(parts), 2):
            parts[k] = parts[k].replace("<dl>", '<span class="parameters">')
            parts[k] = re.sub(r"(</?)d[ld]>", r"\1span>", parts[k])
        context["body"] = "".join(parts)


def keep_used_icons(app: Sphinx, exception: Exception | None) -> None:
    """Drop from the theme's icon script, 1.5 MB, what no page and no script asks for, and its font.

    The script draws the icons; the style would load a font of 156 kB for them as well.
    """
    if exception is not None or app.builder.format != "html":
        return
    pages, scripts = Path(app.outdir), Path(app.outdir, "_static", "scripts")
    icons = scripts / "fontawesome.js"
    texts = [*pages.rglob("*.html"), *(s for s in scripts.glob("*.js") if s != icons)]
    found = (re.findall(r"\bfa-([\w-]+)", text.read_text(encoding="utf-8")) for text in texts)
    used = set(chain.from_iterable(found))
    script = icons.read_text(encoding="utf-8")
    script = ICON.sub(lambda m: m[0] if (m[1] or m[2]) in used else "", script)
    icons.write_text(script, encoding="utf-8")
    style = Path(app.outdir, "_static", "styles", "pydata-sphinx-theme.css")
    style.write_text(FONT.sub("", style.read_text(encoding="utf-8")), encoding="utf-8")


def lighten_figures(app: Sphinx, exception: Exception | None) -> None:
    """Store figures without what nobody sees: the same picture in half the bytes."""
    if exception is None and app.builder.format == "html":
        for file in Path(app.outdir, "_images").glob("*.svg"):
            file.write_text(lightened(file.read_text(encoding="utf-8")), encoding="utf-8")


def lightened(svg: str) -> str:
    """A figure in hundredths of a point, with short names, and nothing said twice."""
    svg = re.sub(r"<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= )(?:d|x|y)="[^"]*"', lambda m: FINE.sub(_rounded, m[0]), svg)
    svg = MARK.sub(lambda m: re.sub(r"; stroke[\w-]*: [^;\"]*", "", m[0]), svg)  # as in its path
    svg = re.sub(r"\s*\n\s*", "\n", svg.replace("xlink:href", "href").replace("; ", ";"))
    names = {name: f"i{k}" for k, name in enumerate(dict.fromkeys(REFERENCE.findall(svg)))}
    svg = REFERENCE.sub(lambda m: f"#{names[m[1]]}", svg)
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{names[m[1]]}"' if m[1] in names else "", svg)
    svg = MARKS.sub(lambda m: f"<g{m[1]}{m[3]}>" + m[2].replace(m[3], "") + "</g>", svg)
    while BARE.search(svg):
        svg = BARE.sub(r"\1", svg)
    return svg


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs of a cell, all that went to one stream as one, as `tools/refresh.py` stores them.

    A kernel sends what is printed in pieces that depend on the moment. MyST-NB's own merge breaks
    the line after each piece.
    """
    found, streams = [], dict[str, NotebookNode]()
    for output in outputs:
        if output["output_type"] == "stream" and output["name"] in streams:
            streams[output["name"]]["text"] += output["text"]
            continue
        found.append(NotebookNode(output))
        if output["output_type"] == "stream":
            streams[output["name"]] = found[-1]
    return found


def bind(app: Sphinx, doctree: nodes.document) -> None:
    """Keep on one line: a number and its %, T = 557, a formula and the punctuation around it."""
    apart = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.raw)
    for text in list(doctree.findall(nodes.Text)):
        bound = re.sub(
            r" (?=%)|(?<=\b\w) (?== [-\d])|(?<=\b\w =) (?=[-\d])", "\N{NO-BREAK SPACE}", text
        )
        if bound != text and not isinstance(text.parent, apart):
            text.parent.replace(text, nodes.Text(bound))
    for formula in list(doctree.findall(nodes.math)):
        parent = formula.parent
        at = parent.index(formula)
        before, after = (_text(parent, k) for k in (at - 1, at + 1))
        first, last = re.search(r"[(\[“]*$", before), re.match(r"(?:(?![(\[“])[^\w\s])*", after)
        assert first is not None
        assert last is not None
        if first[0]:
            parent[at - 1] = nodes.Text(before[: first.start()])
        if last[0]:
            parent[at + 1] = nodes.Text(after[last.end() :])
        if first[0] or last[0]:
            around = nodes.Text(first[0]), formula.deepcopy(), nodes.Text(last[0])
            parent[at] = nodes.inline("", "", *around, classes=["whole"])


def _text(parent: nodes.Element, at: int) -> str:
    """The text at a place among the children, or nothing."""
    found = parent[at] if 0 <= at < len(parent) else None
    return found if isinstance(found, nodes.Text) else ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    render.coalesce_streams = joined
    app.add_search_language(Sizes)
    app.connect("doctree-read", bind)
    app.connect("html-page-context", paragraphs_of_parameters)
    app.connect("build-finished", keep_used_icons)
    app.connect("build-finished", lighten_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
