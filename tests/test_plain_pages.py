"""Chapters are plain Markdown, which every reader of notebooks shows, numbers of code in it."""

import ast
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from cisp_book.claims import MARKED, claimed, in_text

BOOK, SOURCE = (Path(__file__).parent.parent / name for name in ("book", "src"))
PAGES = sorted(BOOK.glob("*.ipynb"))
CHAPTERS = [page for page in PAGES if page.stem[:2].isdigit()]
EQUATIONS = {
    row["label"]: row["equation"]
    for row in csv.DictReader((BOOK / "equations.csv").read_text(encoding="utf-8").splitlines())
}
ONLY_SPHINX = {
    "role": r"\{[\w:-]+\}`",
    "directive": r"^(?:```+|:::+)\s*\{",
    "label": r"\$\$ \(eq-|^\([\w-]+\)=$",
    "macro": r"\\(?:ket|bra|braket|ReLU|E|R|operatorname)(?![a-zA-Z])",
}
COMMENT = r"<!--(?!index |[\w-]+\.html--)(.*?)-->"
LINK = r"\[([^\]]*)\]\((?!https?:)([\w./-]*)(?:#([\w-]+))?\)"
KINDS = {"eq": r"\((.*)\)", "fig": r"Fig\. (.*)", "ex": r"[Ee]xercise (.*)"}


def texts(page: Path) -> list[str]:
    """The Markdown cells of a page, code in them left out; the one cell that a file.md is."""
    source = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return [source]
    cells = json.loads(source)["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


def not_plain(text: str) -> list[str]:
    """What only Sphinx would understand."""
    found = {kind: re.search(how, text, re.MULTILINE) for kind, how in ONLY_SPHINX.items()}
    return [f"{kind}: {text[m.start() :][:60]}" for kind, m in found.items() if m]


def wrong_numbers(text: str, claims: dict[str, str]) -> list[str]:
    """Numbers with a key that say other than the claim, or keys without a number or a claim."""
    marked = {m.end(): (m[1], m[2]) for m in re.finditer(MARKED, text)}
    wrong = []
    for comment in re.finditer(COMMENT, text):
        number, key = marked.get(comment.end(), ("no number", comment[1]))
        if key not in claims or in_text(claims[key]) != number:
            wrong.append(f"{number} for {key}, claimed as {claims.get(key)}")
    return wrong


def anchors(page: Path) -> dict[str, str]:
    """The anchors of a page, each with the number that stands there."""
    text = "\n\n".join(texts(page))
    found = {m[1]: "" for m in re.finditer(r'<a id="([\w-]+)"></a>', text)}
    tags = r'<a id="(eq-[\w-]+)"></a>\s*\$\$(?:(?!\$\$).)*?\\tag\{([\w.]+)\}\s*\$\$'
    found |= dict(re.findall(tags, text, re.DOTALL))
    found |= dict(re.findall(r'<a id="(fig-[\w-]+)"></a>\*\*Fig\. ([\d.]+?)\.\*\*', text))
    return found | {
        e: k for k, e in re.findall(r"\*\*Exercise ([\d.]+?)\.\*\* <a id=\"(ex-[\d-]+)\"", text)
    }


def wrong_links(page: Path, text: str) -> list[str]:
    """Links that lead to nothing; equations, figures and exercises under another's number."""
    wrong = []
    for shown, file, anchor in re.findall(LINK, text):
        there = anchors(BOOK / file) if (BOOK / file).is_file() else None
        if there is None or (anchor and anchor not in there):
            wrong.append(f"[{shown}]({file}#{anchor})")
            continue
        how = KINDS.get((anchor or "").partition("-")[0])
        number = re.fullmatch(how, shown) if how else None
        if number and number[1] != there[anchor]:
            wrong.append(f"{shown} for {anchor}, which is {there[anchor]}")
    return wrong


def claims() -> dict[str, str]:
    return {key: value for page in PAGES for key, value in claimed(page).items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_nothing_that_only_sphinx_knows_is_needed_to_read_a_page(page: Path) -> None:
    assert [fault for text in texts(page) for fault in not_plain(text)] == []


@pytest.mark.parametrize(
    "text",
    ["See {eq}`eq-5-20`.", "```{margin}\nx\n```", "$$x$$ (eq-5-20)", r"$\ReLU(x)$", "{doc}`a`"],
)
def test_what_only_sphinx_knows_is_noticed(text: str) -> None:
    assert not_plain(text)


def test_every_number_in_the_text_is_the_one_that_a_cell_claims() -> None:
    known = claims()
    assert len(known) > 700
    found = {page.stem: [w for t in texts(page) for w in wrong_numbers(t, known)] for page in PAGES}
    assert {page: wrong for page, wrong in found.items() if wrong} == {}


def test_no_key_is_claimed_on_two_pages() -> None:
    keys = [key for page in PAGES for key in claimed(page)]
    assert sorted({key for key in keys if keys.count(key) > 1}) == []


@pytest.mark.parametrize(
    "text",
    ["0.5<!--a-->", "2<!--a-->", "0.25<!--b-->", "some<!--a-->", "<!--a-->", "12345<!--c-->"],
)
def test_a_number_that_is_not_the_claimed_one_is_noticed(text: str) -> None:
    values = {"a": "0.25", "c": "12345"}
    assert wrong_numbers("It is 0.25<!--a-->, 12,345<!--c-->.", values) == []
    assert wrong_numbers(text, values)


@pytest.mark.parametrize("page", [*PAGES, *BOOK.glob("[!a]*.md")], ids=lambda page: page.stem)
def test_every_link_leads_to_its_number(page: Path) -> None:
    assert [fault for text in texts(page) for fault in wrong_links(page, text)] == []


@pytest.mark.parametrize(
    "link",
    [
        "[(5.31)](05_readout.ipynb#eq-5-30)",
        "[(5.30)](05_readout.ipynb#eq-5-99)",
        "[chapter 5](05_lost.ipynb)",
        "[Fig. 5.3](05_readout.ipynb#fig-1)",
        "[exercise 5.2](05_readout.ipynb#ex-5-1)",
    ],
)
def test_a_link_to_another_number_or_to_nothing_is_noticed(link: str) -> None:
    assert wrong_links(PAGES[0], "[(5.30)](05_readout.ipynb#eq-5-30)") == []
    assert wrong_links(PAGES[0], link)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_equations_and_figures_are_numbered_by_page_and_order(page: Path) -> None:
    there = anchors(page)
    for label, number in there.items():
        if label.startswith("eq-"):
            assert number == EQUATIONS[label]
    figures = [number for label, number in there.items() if label.startswith("fig-")]
    before = f"{int(page.stem[:2])}." if page in CHAPTERS else ""
    assert figures == [f"{before}{k}" for k in range(1, len(figures) + 1)]


def code_cells(page: Path) -> Iterator[Any]:
    return (c for c in nbformat.read(page, 4).cells if c.cell_type == "code")


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_a_chapter_says_what_it_needs_and_begins_with_its_sizes(page: Path) -> None:
    assert "`pip install` the package `cisp`" in texts(page)[0]
    first = next(code_cells(page))
    assert first.metadata.tags[0] == "parameters"
    tree = ast.parse(first.source)
    assert tree.body
    assert all(isinstance(statement, ast.Assign) for statement in tree.body)


def numbers(code: str) -> set[int]:
    """The whole numbers that stand in code."""
    nodes = ast.walk(ast.parse(code))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and type(n.value) is int}


def typed_sizes(captions: list[str], parameters: str, code: str, behind: str) -> list[str]:
    """Sizes of captions that are neither a page's parameter nor in its code, nor, else, behind it.

    Behind a page is what it imports; that counts for sizes that are no parameters.
    """
    given = {
        assigned.targets[0].id: assigned.value.value
        for assigned in ast.parse(parameters).body
        if isinstance(assigned, ast.Assign)
        and isinstance(assigned.targets[0], ast.Name)
        and isinstance(assigned.value, ast.Constant)
    }
    own, all_of_them = numbers(code), numbers(code) | numbers(behind)
    found = [m for text in captions for m in re.findall(r"\b([TDSLMdz]) = (\d[\d,]*\d|\d)", text)]
    return [
        f"{name} = {value}"
        for name, value in found
        if (number := int(value.replace(",", ""))) != given.get(name)
        and number not in (own if name in given else all_of_them)
    ]


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_sizes_in_captions_are_those_of_the_code(page: Path) -> None:
    captions = re.findall(r"\*\*Fig\. [\d.]+\*\* .*", "\n".join(texts(page)))
    parameters, *code = (cell.source for cell in code_cells(page))
    names = re.findall(r"^from (cisp_book[\w.]*) import", "\n".join(code), re.MULTILINE)
    files = [SOURCE.joinpath(*name.split(".")).with_suffix(".py") for name in names]
    behind = "\n".join(file.read_text(encoding="utf-8") for file in files if file.exists())
    assert typed_sizes(captions, parameters, "\n".join(code), behind) == []


def test_a_size_of_a_caption_that_no_code_has_is_noticed() -> None:
    given = "T = 100", "run(S=6)", "D = 800"
    assert typed_sizes(["S = 6, T = 100 and D = 800"], *given) == []
    for wrong in ("T = 557", "S = 5", "D = 1,000"):
        assert typed_sizes([wrong], *given) == [wrong]
    assert typed_sizes(["T = 800"], *given)  # a parameter, and not what stands behind


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_metadata_are_those_that_jupyterlab_writes(page: Path) -> None:
    notebook = nbformat.read(page, 4)
    assert notebook.metadata.kernelspec.display_name == "Python 3 (ipykernel)"
    assert {*notebook.metadata} == {"kernelspec", "language_info"}
    assert len(notebook.metadata.language_info) == 8 - 1
    assert nbformat.writes(notebook) + "\n" == page.read_text(encoding="utf-8")


def test_a_downloaded_chapter_runs_by_itself_and_takes_other_sizes(tmp_path: Path) -> None:
    papermill = pytest.importorskip("papermill")
    chapter = tmp_path / "chapter.ipynb"
    chapter.write_text((BOOK / "05_readout.ipynb").read_text(encoding="utf-8"), encoding="utf-8")
    run = papermill.execute_notebook(
        chapter, chapter, parameters={"T": 100}, cwd=tmp_path, progress_bar=False
    )
    printed = "".join(
        output.text
        for cell in run.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )
    assert "ch5-T = 100, outside 557..557" in printed
