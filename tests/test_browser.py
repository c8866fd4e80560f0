"""The built book in a real browser: nothing leaves the machine, nothing is broken or unreadable."""

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import BOOK, broken_links, faults, opened, served
from playwright.sync_api import Browser

PAGES = sorted(
    str(path.relative_to(BOOK))
    for path in BOOK.rglob("*.html")
    if "_static" not in path.parts and 'http-equiv="Refresh"' not in path.read_text()
)
TEMPLATE = """<!doctype html><html lang="en"><head><title>A page</title><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head>
<body><main><h1 id="top">A page</h1>{}</main></body></html>"""
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="

Look = Callable[[str], list[str]]


@pytest.fixture
def look(browser: Browser, tmp_path: Path) -> Look:
    """What is found wrong with a page of the given content."""

    def look(content: str) -> list[str]:
        (tmp_path / "page.html").write_text(TEMPLATE.format(content))
        with served(tmp_path) as address:
            found = broken_links(tmp_path, "page.html")
            return found + faults(browser, f"{address}/page.html")

    return look


def test_a_page_without_faults_passes(look: Look) -> None:
    assert (
        look(
            f'<p class="math"><mjx-container>x</mjx-container></p><img alt="A dot" src="{DOT}">'
            '<p><a href="#top">up</a> <a href="page.html#top">here</a> <a href="https://cdn.test">'
            'elsewhere</a></p><pre tabindex="0" style="overflow-x: auto">' + 200 * "x" + "</pre>"
        )
        == []
    )


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("request", '<script src="https://cdn.test/script.js"></script>'),
        ("request", '<link rel="stylesheet" href="https://fonts.test/font.css">'),
        ("request", "<script>fetch('https://count.test/visit').catch(() => 0)</script>"),
        ("console", "<script>console.error('lost')</script>"),
        ("console", "<script>missing()</script>"),
        ("console", '<script src="missing.js"></script>'),
        ("image", f'<img src="{DOT}">'),
        ("image", f'<img alt=" " src="{DOT}">'),
        ("image", "<canvas></canvas>"),
        ("image", '<img alt="Lost" src="missing.png">'),
        ("link", '<p><a href="missing.html">a page</a></p>'),
        ("link", '<p><a href="#missing">an anchor</a></p>'),
        ("link", '<p><a href="page.html#missing">an anchor</a></p>'),
        ("formula", '<p class="math notranslate">\\(x^2\\)</p>'),
        ("formula", "<p><mjx-container><mjx-merror>x^2^2</mjx-merror></mjx-container></p>"),
        ("markup", "<p>It is $$x^2$$.</p>"),
        ("markup", "<p>See {numref}`fig-1`.</p>"),
        ("overflow", '<p style="width: 500px">wide</p>'),
        ("overflow", f"<p>{80 * 'x'}</p>"),
        ("overflow", '<div style="overflow-x: clip"><p style="width: 500px">cut off</p></div>'),
        ("weight", f"<!-- {3_000_000 * 'x'} -->"),
        ("axe: color-contrast", '<p style="color: #999; background: #fff">pale</p>'),
        (
            "contrast",
            "<style>@media (prefers-color-scheme: dark) { p { color: #444; background: #222 } }"
            "</style><p>dark on dark</p>",
        ),
        ("axe: button-name", "<button></button>"),
        ("axe: label", '<input type="range">'),
    ],
)
def test_a_planted_fault_is_found(look: Look, kind: str, content: str) -> None:
    assert [fault for fault in look(content) if fault.startswith(kind)]


@pytest.mark.parametrize("page", PAGES or ["the book"])
def test_the_page_has_no_fault(browser: Browser, book: str, page: str) -> None:
    assert broken_links(BOOK, page) + faults(browser, f"{book}/{page}") == []


def test_the_address_of_the_book_leads_to_its_first_page(browser: Browser, book: str) -> None:
    with opened(browser, f"{book}/book/intro.html") as page:
        first = page.title()
        page.goto(book)
        page.wait_for_url("**/intro.html")
        assert page.title() == first
