"""The errata list what the post prints otherwise than it means, and nothing else."""

import json
import re
from pathlib import Path

BOOK = Path(__file__).parent.parent / "book"
EQUAL = {  # the numbered equations of section 6 that the post prints with = and nothing else
    *(f"6.{k}" for k in (5, 7, 8, 9, 10, 11, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30)),
    *(
        f"6.{k}"
        for k in (33, 34, 35, 36, 40, 42, 43, 44, 45, 47, 48, 49, 50, 51, 52, 53, 54, 56, 57)
    ),
}


def texts(page: str) -> list[str]:
    """The sources of a page's Markdown cells."""
    notebook = json.loads((BOOK / f"{page}.ipynb").read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]


def listed() -> dict[str, str]:
    """The rows of the table of errata, by each equation that they name first."""
    rows = [line for line in texts("errata")[0].splitlines() if line.startswith("| [(")]
    return {
        number.replace("-", "."): row
        for row in rows
        for number in re.findall(r"#eq-([\d-]+)", row.split(" | ")[0])
    }


def test_what_the_post_means_as_it_prints_it_is_no_slip() -> None:
    # 6.25 has the embedding matrix of 5.23, whose typeface is lost in copies. 6.33 is for checking
    # 6.32, where w-bar a is the same for all circuits. 5.10 is an assumption, which fails.
    assert not {"5.10", "6.25", "6.33"} & listed().keys()
    assert sum("an assumption that fails: 5.10" in text for text in texts("errata")) == 1


def test_letters_and_words_that_name_another_circuit_or_way_are_listed() -> None:
    rows = listed()
    assert "$x_t$ | $x_v$" in rows["6.48"]
    assert "$a_u$ | $a_v$" in rows["6.49"]
    assert "from on to off" in rows["6.42"]


def test_where_the_book_turns_an_equals_sign_into_an_approximate_one_it_says_so() -> None:
    labelled = re.compile(r"\$\$(?:(?!\$\$).)*\\tag\{(6\.\d+)\}\s*\$\$", re.DOTALL)
    about = {
        match[1]
        for page in sorted(BOOK.glob("[01]*.ipynb"))
        for text in texts(page.stem)
        for match in labelled.finditer(text)
        if r"\approx" in match[0]
    }
    (row,) = {row for row in listed().values() if r"| $=$ | $\approx$ |" in row}
    said = {number.replace("-", ".") for number in re.findall(r"#eq-([\d-]+)", row)}
    assert said == about & EQUAL
