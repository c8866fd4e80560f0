"""Every row of the ledger says for which networks it speaks."""

import json
import re
from pathlib import Path

import pytest

from cisp_book import claims

BOOK = Path(__file__).parent.parent / "book"
SIZE = r"\b[TDnq]=|\(D, T\)|\d circuits|400 pairs"
NEEDED = {  # of a law of this book on the errors of a network
    "sizes": SIZE,
    "redundancy": r"\bS=",
    "active circuits": r"\bz ?=",
    "table": r"prime steps|design",
}


def rows(pages: str) -> list[dict[str, str]]:
    return [row for page in sorted(BOOK.glob(pages)) for row in claims.entries(page)]


def missing(row: dict[str, str]) -> list[str]:
    """What a row of a law should say of its domain, and does not."""
    said = f"{row['where']}, {row['says']}"
    return [name for name, pattern in NEEDED.items() if not re.search(pattern, said)]


def test_every_row_names_a_size() -> None:
    found = rows("*.ipynb")
    assert len(found) > 100
    assert [(r["equation"], r["where"]) for r in found if not re.search(SIZE, r["where"])] == []


def test_the_line_of_a_verdict_names_its_settings() -> None:
    lines = [
        ("".join(output["data"]["text/plain"]), output["metadata"]["ledger"]["where"])
        for page in sorted(BOOK.glob("*.ipynb"))
        for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]
        for output in cell.get("outputs", [])
        if "ledger" in output.get("metadata", {})
    ]
    assert len(lines) > 100
    assert [line for line, where in lines if f"({where})" not in line] == []


def test_a_law_of_this_book_names_sizes_redundancy_active_circuits_and_table() -> None:
    laws = [
        row
        for row in rows("*.ipynb")
        if re.fullmatch(r"C([789]|10)\.[123]|C14\.4|density evolution .*", row["equation"])
    ]
    laws = [row for row in laws if not row["page"].startswith(("15", "16", "17"))]
    assert len(laws) > 30
    assert {(r["equation"], r["says"], r["where"]): m for r in laws if (m := missing(r))} == {}


def test_c9_2_has_a_row_for_each_number_of_active_circuits() -> None:
    found = {row["where"] for row in rows("09*.ipynb") if row["equation"] == "C9.2"}
    assert sorted(re.findall(r"\bz=(\d)", " ".join(found))) == ["1", "2", "3", "4"]


def test_c8_1_has_rows_for_prime_steps_and_for_designs_filled_up_or_not() -> None:
    found = {row["where"].split(",")[0] for row in rows("08*.ipynb") if row["equation"] == "C8.1"}
    assert found == {"prime steps", "designs", "a filled design"}


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        ("exact", "exact"),
        ("holds", "holds"),
        ("holds, within 6.7 %", "holds"),
        ("confirmed", "holds"),
        ("rough, within 28 %", "rough"),
        ("confirmed in 4 of 5", "in part"),
        ("fails in 1 of 3", "in part"),
        ("confirmed in 0 of 1", "fails"),
        ("fails, by up to 150 times", "fails"),
        ("fails", "fails"),
    ],
)
def test_a_verdict_is_of_one_kind(verdict: str, kind: str) -> None:
    assert claims.kind(verdict) == kind


def test_the_scoreboard_counts_every_row_once(tmp_path: Path) -> None:
    found = ["exact", "holds, within 2 %", "confirmed", "fails in 1 of 3"]
    outputs = [
        {"output_type": "display_data", "metadata": {"ledger": {"verdict": verdict}}}
        for verdict in found
    ]
    page = tmp_path / "07_page.ipynb"
    cells = [{"source": ["# A page\n", "text"]}, {"source": [], "outputs": outputs}]
    page.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    empty = tmp_path / "errata.ipynb"
    empty.write_text('{"cells": []}', encoding="utf-8")
    lines = str(claims.scoreboard([page, empty, page]).data).splitlines()
    assert lines[2:] == [
        "| 7. [A page](07_page.ipynb) | 1 | 2 |  | 1 |  |",
        "| 7. [A page](07_page.ipynb) | 1 | 2 |  | 1 |  |",
        "| **all** | 2 | 4 |  | 2 |  |",
    ]
