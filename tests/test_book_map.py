"""book/equations.csv leads from every numbered equation to its label, its code and its test."""

import csv
import json
import re
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "book" / "equations.csv").read_text(encoding="utf-8")
MAP = list(csv.DictReader(TABLE.splitlines()))
SECTIONS = {"3": 4, "4": 2, "5": 35, "6": 57}  # numbered equations in each section of the post
NUMBER = re.compile(r"(?:C\d+|[3-6])\.\d+")


def cells(page: str, kind: str) -> list[str]:
    """The sources of a page's cells of one kind."""
    text = (ROOT / "book" / f"{page}.ipynb").read_text(encoding="utf-8")
    notebook: dict[str, Any] = json.loads(text)
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == kind]


def test_every_equation_of_the_post_is_on_the_map_once_and_the_books_own_follow() -> None:
    wanted = {f"{s}.{k}" for s, last in SECTIONS.items() for k in range(1, last + 1)}
    numbers = [row["equation"] for row in MAP]
    assert len(set(numbers)) == len(numbers)
    assert all(NUMBER.fullmatch(number) for number in numbers)
    assert sorted(numbers[: len(wanted)]) == sorted(wanted)
    assert all(number.startswith("C") for number in numbers[len(wanted) :])


def test_the_label_is_the_number_and_an_own_equation_stands_in_its_chapter() -> None:
    for row in MAP:
        assert row["label"] == f"eq-{row['equation'].replace('.', '-')}"
        if row["equation"].startswith("C"):
            assert row["page"].startswith(f"{int(row['equation'][1:].split('.')[0]):02d}_")


@pytest.mark.parametrize("row", MAP, ids=lambda row: row["equation"])
def test_the_equation_has_its_label_code_and_test(row: dict[str, str]) -> None:
    number = re.compile(rf"(?<![\d.]){re.escape(row['equation'])}(?!\d)")
    shown = f'<a id="{row["label"]}"></a>', rf"\tag{{{row['equation']}}}"
    texts = cells(row["page"], "markdown")
    assert [sum(text.count(part) for text in texts) for part in shown] == [1, 1]
    if row["code"] == "cell":
        assert any(number.search(source) for source in cells(row["page"], "code"))
        assert row["test"] == f"book/{row['page']}.ipynb"
        return
    assert resolve_name(f"cisp.{row['code'].removeprefix('cisp.')}").__doc__
    file, _, test = row["test"].partition("::")
    assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")
    assert (ROOT / file).exists()


def test_every_labelled_equation_is_on_the_map_once() -> None:
    pages = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
    labels = [
        (label, page)
        for page in pages
        for text in cells(page, "markdown")
        for label in re.findall(r'<a id="(eq-[\w-]+)"></a>', text)
    ]
    assert sorted(labels) == sorted((row["label"], row["page"]) for row in MAP)


def test_the_introduction_leads_to_every_page() -> None:
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    pages = re.findall(r"file: book/(\w+)", toc)
    texts = [*cells("intro", "markdown"), (ROOT / "book/api.md").read_text(encoding="utf-8")]
    linked = re.findall(r"\]\((\w+)\.(?:ipynb|md)\)", "\n".join(texts))
    assert pages
    assert [page for page in pages if page not in linked] == []


def test_the_readme_names_files_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"(?:book|tests|src|benchmarks)/[\w./]+\.\w+", readme)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
