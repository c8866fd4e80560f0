"""The built book in a real browser: nothing leaves the machine, nothing is broken or unreadable."""

import csv
import json
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BytesIO, StringIO
from pathlib import Path
from shutil import copytree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from browser import BOOK, CHECKS, broken_links, faults, opened, served
from PIL import Image
from playwright.sync_api import Browser, Route
from test_prints import printed

from cisp_book.claims import entries

PAGES = sorted(
    str(path.relative_to(BOOK))
    for path in BOOK.rglob("*.html")
    if not {"_static", "_modules"} & {*path.parts}  # sources of modules: one of them, below
    and 'http-equiv="Refresh"' not in path.read_text(encoding="utf-8")
)
SOURCE = "_modules/cisp/allocation.html"
TEMPLATE = """<!doctype html><html lang="en"><head><title>A page</title><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head>
<body><main><h1 id="top">A page</h1>{}</main></body></html>"""
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="

TABLE = Path(__file__).parent.parent / "book/equations.csv"
EQUATIONS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
REMOVED = {"remove-cell", "remove-output"}
CHAPTERS = sorted(TABLE.parent.glob("*.ipynb"))

Look = Callable[[str], list[str]]


@pytest.fixture
def look(browser: Browser, tmp_path: Path) -> Look:
    """What is found wrong with a page of the given content."""

    def look(content: str) -> list[str]:
        (tmp_path / "page.html").write_text(TEMPLATE.format(content), encoding="utf-8")
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
        ("image", f'<img alt="_images/a.png" src="{DOT}">'),
        ("image", "<canvas></canvas>"),
        ("image", '<img alt="Lost" src="missing.png">'),
        ("link", '<p><a href="missing.html">a page</a></p>'),
        ("link", '<p><a href="#missing">an anchor</a></p>'),
        ("link", '<meta name="named" content="1"><p><a href="#named">an anchor</a></p>'),
        ("link", '<p><a href="file:///a/page.html">a file</a></p>'),
        ("link", '<p><a href="http://localhost:8000/page.html">a server</a></p>'),
        ("hint", '<link rel="preconnect" href="https://fonts.test">'),
        ("hint", '<link rel="dns-prefetch" href="//fonts.test">'),
        ("link", '<p><a href="page.html#missing">an anchor</a></p>'),
        ("formula", '<p class="math notranslate">\\(x^2\\)</p>'),
        ("formula", "<p><mjx-container><mjx-merror>x^2^2</mjx-merror></mjx-container></p>"),
        ("markup", "<p>It is $$x^2$$.</p>"),
        ("markup", "<p>See {numref}`fig-1`.</p>"),
        ("markup", "<table><tr><td>norms; $</td><td>\\delta x</td></tr></table>"),
        ("markup", "<p>squares; $</p>"),
        ("overflow", '<p style="width: 500px">wide</p>'),
        ("overflow", f"<p>{80 * 'x'}</p>"),
        ("overflow", '<div style="overflow-x: clip"><p style="width: 500px">cut off</p></div>'),
        ("overflow", '<p style="margin-left: -99px">to the left</p>'),
        (
            "axe but for code: color-contrast",
            "<style>@media (max-width: 400px) { p { color: #999; background: #fff } }</style>"
            "<p>pale on a phone, in light alone</p>"
            "<style>@media (prefers-color-scheme: dark) { p { color: #000 } }</style>",
        ),
        (
            "axe: color-contrast",
            '<details><summary>more</summary><p style="color: #999; background: #fff">pale</p>'
            "</details>",
        ),
        (
            "table",
            '<table style="display: block; overflow-x: auto"><tr><td style="min-width: 500px">'
            "wide</td></tr></table>",
        ),
        ("weight", f"<!-- {3_000_000 * 'x'} -->"),
        ("axe: color-contrast", '<p style="color: #999; background: #fff">pale</p>'),
        (
            "contrast around: color-contrast",
            "<style>@media (prefers-color-scheme: dark) { p { color: #444; background: #222 } }"
            "</style><p>dark on dark</p>",
        ),
        ("axe: button-name", "<button></button>"),
        ("axe: label", '<input type="range">'),
    ],
)
def test_a_planted_fault_is_found(look: Look, kind: str, content: str) -> None:
    assert [fault for fault in look(content) if fault.startswith(kind)]


@pytest.mark.parametrize("page", [*PAGES, SOURCE] if PAGES else ["the book"])
def test_the_page_has_no_fault(browser: Browser, book: str, page: str) -> None:
    assert broken_links(BOOK, page) + faults(browser, f"{book}/{page}") == []


def test_the_address_of_the_book_leads_to_its_first_page(browser: Browser, book: str) -> None:
    with opened(browser, f"{book}/book/intro.html") as page:
        first = page.title()
        page.goto(book)
        page.wait_for_url("**/intro.html")
        assert page.title() == first


@contextmanager
def spoiled(folder: Path, name: str, old: str, new: str) -> Iterator[str]:
    """The address of the book with a text replaced in one of its files."""
    copytree(BOOK, folder, copy_function=os.symlink, dirs_exist_ok=True)
    file = folder / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.unlink()
    file.write_text(text.replace(old, new), encoding="utf-8")
    with served(folder) as address:
        yield address


def results(browser: Browser, book: str, query: str) -> list[str]:
    """Where the hits lead when a reader types the query into the search field."""
    with opened(browser, f"{book}/search.html") as page:
        page.fill("main input[name=q], input[name=q]:visible", query)
        page.keyboard.press("Enter")
        page.wait_for_selector("#search-results .search-summary >> text=/finished|did not match/")
        found: list[str] = page.evaluate(
            "() => [...document.querySelectorAll('#search-results li a')].map(a => a.href)"
        )
        return [link.removeprefix(book) for link in found]


def early(browser: Browser, book: str, query: str, page: str, hits: int) -> bool:
    """Whether the page, or a place on it, is among the first hits of a search."""
    first = results(browser, book, query)[:hits]
    return any(link.startswith(f"/book/{page}.html") for link in first)


# What the API calls by a name comes first.
SEARCHES = [("chi", "04_embedding_matrix", 2), ("seizure", "06_what_it_computes", 5)]


@pytest.mark.parametrize(("query", "page", "hits"), SEARCHES)
def test_the_search_finds_words(
    browser: Browser, book: str, query: str, page: str, hits: int
) -> None:
    assert early(browser, book, query, page, hits)


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize(("query", "page", "hits"), SEARCHES)
def test_a_word_that_the_search_lacks_is_noticed(
    browser: Browser, tmp_path: Path, query: str, page: str, hits: int
) -> None:
    entry = f'"{query.removesuffix("e")}": '  # the index holds stems
    with spoiled(tmp_path, "searchindex.js", entry, '"lost": ') as book:
        assert not early(browser, book, query, page, hits)


@pytest.mark.parametrize("query", ["557", "S=6", "S = 6"])
def test_the_search_finds_numbers_and_sizes(browser: Browser, book: str, query: str) -> None:
    assert early(browser, book, query, "intro", 50)
    assert not early(browser, book, query, "bridge", 50)


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize(
    ("query", "name", "old"),
    [("557", "_static/book.js", "found[1].add(number)"), ("S=6", "searchindex.js", '"s=6"')],
)
def test_a_number_that_the_search_lacks_is_noticed(
    browser: Browser, tmp_path: Path, query: str, name: str, old: str
) -> None:
    with spoiled(tmp_path, name, old, '"lost"') as book:
        assert not early(browser, book, query, "intro", 50)


def test_what_the_search_shows_of_a_page_has_the_whole_word(browser: Browser, book: str) -> None:
    with opened(browser, f"{book}/search.html?q=rate") as page:
        page.wait_for_selector("#search-results .search-summary >> text=/finished/")
        page.wait_for_timeout(1000)  # pages are fetched one by one
        shown = page.locator("#search-results p.context").all_inner_texts()
        assert shown
        assert [text for text in shown if not re.search(r"\b[Rr]at", text)] == []
        assert not any("import cisp" in text for text in shown)


@pytest.mark.parametrize(
    "row",
    [row for row in EQUATIONS if row["equation"] in ("3.1", "6.55", "6.57")],
    ids=lambda row: row["equation"],
)
def test_the_search_finds_an_equation_by_its_number(
    browser: Browser, book: str, row: dict[str, str]
) -> None:
    place = f"/book/{row['page']}.html#{row['label']}"
    for query in (row["equation"], f"({row['equation']})"):
        assert place in results(browser, book, query)


def test_the_search_finds_a_symbol(browser: Browser, book: str) -> None:
    assert early(browser, book, "χ", "04_embedding_matrix", 1)


@pytest.mark.usefixtures("book")
def test_docstrings_are_whole_paragraphs_and_what_belongs_together_stays_on_a_line() -> None:
    api = [path.read_text(encoding="utf-8") for path in sorted(BOOK.glob("book/api_*.html"))]
    assert sum("uncorrelated weights, is only reported: it need not hold" in page for page in api)
    assert not any("&lt;factory&gt;" in page for page in api)
    readout = (BOOK / "book/05_readout.html").read_text(encoding="utf-8")
    assert "D\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}1000" in readout
    assert '<span class="whole">(<span class="math' in readout


@pytest.mark.usefixtures("book")
def test_the_pages_of_the_package_hold_the_names_that_its_first_page_lists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(TABLE.parent / "_ext")
    documented = import_module("api_names").documented
    found = {f"book/{page.stem}.html": documented(page) for page in TABLE.parent.glob("api_*.md")}
    first = (BOOK / "book/api.html").read_text(encoding="utf-8")
    for page, names in found.items():
        text = (BOOK / page).read_text(encoding="utf-8")
        held = [*names, *(f"{name}.{member}" for name, own in names.items() for member in own)]
        entries = re.findall(r'<dt class="sig[^>]* id="(cisp[\w.]+)"', text)
        assert sorted(entries) == sorted(held)
        assert [name for name in names if f'href="{Path(page).name}#{name}"' not in first] == []


def test_a_chapter_can_be_downloaded_and_says_how_to_run_it(browser: Browser, book: str) -> None:
    with opened(browser, f"{book}/book/04_embedding_matrix.html") as page:
        links = page.locator("a[download], a.btn-download-source-button")
        addresses = {link.get_attribute("href") for link in links.all()}
        assert addresses == {"../_sources/book/04_embedding_matrix.ipynb"}
        assert page.locator(".run-this-chapter").is_visible()
    source = BOOK / "_sources/book/04_embedding_matrix.ipynb"
    notebook = json.loads(source.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4


def test_previous_and_next_lead_through_the_chapters(browser: Browser, book: str) -> None:
    with opened(browser, f"{book}/book/04_embedding_matrix.html") as page:
        page.click(".prev-next-area .right-next")
        page.wait_for_url("**/05_readout.html")
        page.click(".prev-next-area .left-prev")
        page.wait_for_url("**/04_embedding_matrix.html")


def hint_faults(browser: Browser, book: str) -> list[str]:
    """What is wrong with the terms of a chapter, one line each."""
    with opened(browser, f"{book}/book/05_readout.html") as page:
        words = page.locator("a:has(> .term)")
        links = [
            (word.inner_text().lower(), word.get_attribute("href"), word.get_attribute("title"))
            for word in words.all()
        ]
        addresses = [address for _, address, _ in links]
        found = [f"twice: {word}" for word, address, _ in links if addresses.count(address) > 1]
        if "active circuit" not in [word for word, _, _ in links]:
            found.append("no hint: active circuit")
        page.goto(f"{book}/book/glossary.html")
        for word, address, title in links:
            anchor = str(address).removeprefix("glossary.html#")
            meaning = page.locator(f"dt[id='{anchor}'] ~ dd").first
            if not title or meaning.count() == 0 or " ".join(meaning.inner_text().split()) != title:
                found.append(f"meaning: {word}")
        return found


def test_the_first_use_of_a_term_shows_its_meaning(browser: Browser, book: str) -> None:
    assert hint_faults(browser, book) == []


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize(
    ("fault", "name", "old", "new"),
    [
        ("no hint: active circuit", "book/05_readout.html", 'class="term">active', ">active"),
        ("meaning: active circuit", "book/05_readout.html", 'title="A circuit that is', 'lang="en'),
        ("meaning: active circuit", "book/glossary.html", "A circuit that is", "One that is"),
        ("meaning: active circuit", "book/05_readout.html", "#term-active-circuit", "#lost"),
        ("twice: oracle", "book/05_readout.html", "#term-block", "#term-oracle"),
    ],
)
def test_a_term_without_its_meaning_is_noticed(
    browser: Browser, tmp_path: Path, fault: str, name: str, old: str, new: str
) -> None:
    with spoiled(tmp_path, name, old, new) as book:
        assert fault in hint_faults(browser, book)


def test_the_keyboard_shows_the_meaning_of_a_term(browser: Browser, book: str) -> None:
    with opened(browser, f"{book}/book/05_readout.html") as page:
        term = page.locator("a:has(> .term)").first
        term.focus()
        assert page.inner_text(".meaning") == term.get_attribute("title")
        page.keyboard.press("Escape")
        assert page.locator(".meaning").count() == 0


def test_the_first_tap_shows_the_meaning_and_the_second_leads_to_it(
    browser: Browser, book: str
) -> None:
    context = browser.new_context(has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{book}/book/05_readout.html")
    term = page.locator("a:has(> .term)").first
    term.tap()
    assert page.inner_text(".meaning") == term.get_attribute("title")
    term.tap()
    page.wait_for_url("**/glossary.html#**")
    context.close()


def test_a_dark_page_is_printed_light(browser: Browser, book: str) -> None:
    theme = "document.documentElement.dataset.theme"
    with opened(browser, f"{book}/book/05_readout.html", color_scheme="dark") as page:
        seen = [page.evaluate(theme)]
        for event in ("beforeprint", "afterprint"):
            page.evaluate("event => { dispatchEvent(new Event(event)) }", event)
            seen.append(page.evaluate(theme))
        assert seen == ["dark", "light", "dark"]


def test_the_printed_book_holds_every_page_and_its_links_stay_inside(
    browser: Browser, book: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "tools")
    assemble = import_module("pdf").assemble
    with opened(browser, f"{book}/book/intro.html") as page:
        assemble(page)
        names = page.evaluate("() => [...document.querySelectorAll('article')].map(a => a.id)")
        pages = {Path(name).stem for name in PAGES if name.startswith("book/")}
        assert len(names) == len(pages)
        assert set(names) == pages
        for check in ("formula", "markup", "image"):
            assert page.evaluate(CHECKS[check]) == []
        lost = """() => [...document.querySelectorAll('a[href^="#"]')].map(a => a.hash.slice(1))
          .filter(id => !document.getElementById(decodeURIComponent(id)))"""
        assert page.evaluate(lost) == []
        kept = "() => [...document.querySelectorAll('a[href]')].map(a => a.href)"
        own = [link for link in page.evaluate(kept) if link.startswith(book)]
        assert all(link.startswith(f"{book}/book/intro.html#") for link in own)
        assert page.pdf().startswith(b"%PDF")


def test_a_title_is_text_in_the_contents_of_the_printed_book(
    browser: Browser, book: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "tools")
    assemble = import_module("pdf").assemble

    def with_markup(route: Route) -> None:
        found = route.fetch()
        route.fulfill(response=found, body=found.text().replace("<h1>", "<h1>&lt;img&gt; "))

    with opened(browser, f"{book}/book/intro.html") as page:
        page.route("**/05_readout.html", with_markup)
        assemble(page)
        (title,) = page.locator("article > nav a[href='#05_readout']").all_inner_texts()
        assert title.startswith("<img> ")
        assert page.locator("article > nav img").count() == 0


def drawn(browser: Browser, svg: str) -> np.ndarray:
    """The pixels of a figure as an image of a page."""
    with browser.new_page() as page:
        address = "data:image/svg+xml;base64," + b64encode(svg.encode()).decode()
        page.set_content(f'<img src="{address}">')
        page.wait_for_load_state("load")
        with Image.open(BytesIO(page.screenshot())) as image:
            return np.asarray(image.convert("L")).astype(int)


def figure() -> str:
    """A figure as matplotlib writes it: marks, half transparent ones, an image, a formula."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
    left.plot([0, 1 / 3, 1], [0, 1 / 7, 1], "o-", mfc="white", ms=12, label="$x^2$")
    left.scatter([0, 0.5, 1], [1, 0.5, 0], s=[300, 600, 900], alpha=0.3, lw=3, edgecolor="red")
    left.legend()
    right.imshow(np.arange(12).reshape(3, 4))
    fig.savefig(file := StringIO(), format="svg")
    plt.close(fig)
    return file.getvalue()


def test_a_lightened_figure_is_the_same_picture_in_fewer_bytes(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(TABLE.parent / "_ext")
    whole = figure()
    light = import_module("theme_mends").lightened(whole)
    assert len(light) < 0.8 * len(whole)
    before, after = drawn(browser, whole), drawn(browser, light)
    assert np.ptp(before) > 200  # something is drawn
    assert (abs(before - after) > 64).mean() < 1e-4  # edges move by a hundredth of a point


@pytest.mark.usefixtures("book")
def test_every_figure_is_drawn_in_lines_and_lightened() -> None:
    files = [*(BOOK / "_images").iterdir()]
    assert len(files) > 60
    assert {file.suffix for file in files} == {".svg"}
    assert not any("<metadata>" in file.read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize("page", ["intro", "14_embed_without_seizure"])
def test_a_figure_of_one_panel_fits_a_phone(browser: Browser, book: str, page: str) -> None:
    with opened(browser, f"{book}/book/{page}.html", width=375) as there:
        box = there.locator(".figure-box").first
        assert box.evaluate("e => e.scrollWidth <= e.clientWidth")


def stored(notebook: Path) -> list[str]:
    """What the cells of a notebook printed when it was stored, those left out of pages left out."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    seen = [cell for cell in cells if not REMOVED & {*cell["metadata"].get("tags", [])}]
    outputs = [output for cell in seen for output in cell.get("outputs", [])]
    return ["".join(output["text"]) for output in outputs if output["output_type"] == "stream"]


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("page", CHAPTERS, ids=[page.stem for page in CHAPTERS])
def test_a_page_shows_what_its_notebook_stores(page: Path) -> None:
    found = printed((BOOK / "book" / f"{page.stem}.html").read_text(encoding="utf-8"))
    missing = [text for text in stored(page) if text.strip() not in found]
    assert missing == []


def test_the_ledger_shows_the_rows_that_are_asked_for(browser: Browser, book: str) -> None:
    with opened(browser, f"{book}/book/ledger.html") as page:
        rows, said = page.locator("tr:visible:has(td strong)"), ".ledger-filter [role=status]"
        board = page.locator("table").first.locator("tr").last.locator("td").all_inner_texts()
        counts = [int(count or 0) for count in board[1:]]
        assert page.inner_text(said) == f"{sum(counts)} of {sum(counts)} rows"
        page.focus(".ledger-filter input[type=search]")
        page.keyboard.type("6.55 Z=2")
        shown = rows.all_inner_texts()[1:]  # the first is of the scoreboard
        assert page.inner_text(said) == f"{len(shown)} of {sum(counts)} rows"
        assert shown
        assert all("(6.55)" in row and "z=2" in row for row in shown)
        for key in ("Control+A", "Delete", "Tab", "Space"):  # on to the first box
            page.keyboard.press(key)
        assert page.inner_text(said) == f"{sum(counts[1:])} of {sum(counts)} rows"
        boxes = page.locator(".ledger-filter input[type=checkbox]")
        for kind, count in enumerate(counts):
            for other in range(len(counts)):
                boxes.nth(other).set_checked(other == kind)
            assert page.inner_text(said) == f"{count} of {sum(counts)} rows"
            assert rows.count() == count + 1


def test_only_the_ledger_hides_rows(browser: Browser, book: str) -> None:
    with opened(browser, f"{book}/book/26_watch_structure_form.html") as page:
        assert page.locator("th", has_text="verdict").count() == 1
        assert page.locator("tr[hidden]").count() == page.locator(".ledger-filter").count() == 0


def test_without_a_script_the_ledger_is_whole(browser: Browser, book: str) -> None:
    stored = sum(len(entries(page)) for page in CHAPTERS)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{book}/book/ledger.html")
    assert page.locator("tr:visible:has(td strong)").count() == stored + 1  # and the scoreboard's
    assert page.locator(".ledger-filter").count() == 0
    context.close()


@pytest.mark.usefixtures("book")
def test_every_page_says_what_it_is_about() -> None:
    found = {}
    for name in (name for name in PAGES if name.startswith("book/")):
        text = (BOOK / name).read_text(encoding="utf-8")
        title = re.findall(r"<title>(.*?)</title>", text)
        preview = re.findall(r'<meta property="og:title" content="([^"]+)">', text)
        described = re.findall(
            r'<meta (?:name|property)="(?:og:)?description" content="(.+?)">', text
        )
        assert len(title) == len(preview) == 1
        assert preview[0] in title[0].replace("&#8212;", "")
        assert len(described) == 2
        assert described[0] == described[1]
        assert "<" not in described[0]
        found[described[0]] = title[0].count("Circuits in superposition")
    assert len(found) == len([name for name in PAGES if name.startswith("book/")])
    assert set(found.values()) == {1}
