"""The errata list what the post prints otherwise than it means, and nothing else."""

import json
import re
from pathlib import Path

BOOK = Path(__file__).parent.parent / "book"


def texts(page: str) -> list[str]:
    """The sources of a page's Markdown cells."""
    notebook = json.loads((BOOK / f"{page}.ipynb").read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]


def listed() -> dict[str, str]:
    """The rows of the table of errata, by each equation that they name first."""
    rows = [line for line in texts("errata")[0].splitlines() if line.startswith("| {eq}")]
    return {
        number.replace("-", "."): row
        for row in rows
        for number in re.findall(r"eq-([\d-]+)", row.split(" | ")[0])
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
