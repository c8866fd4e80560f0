"""Numbers in prose and verdicts on the post: checked where computed, kept in the stored outputs."""

import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from jaxtyping import Float

ENTERED: list[dict[str, str]] = []  # the rows of the page that runs, in their order
OUTSIDE = ", outside"
MARKED = r"(?<![\w.])(-?\d[\d,.]*(?:e[-+]?\d+)?)<!--([\w-]+)-->"  # a number in the text and its key
KINDS = ("exact", "holds", "rough", "in part", "fails")  # of verdicts
Numbers = float | list[float] | Float[np.ndarray, "..."]


def claim(key: str, value: float, low: float, high: float, digits: int = 3) -> None:
    """Print a number under its key, rounded, as the text has it; and whether it leaves low..high.

    With other sizes than a chapter's own it may well be outside: then the text is about others.
    """
    shown = int(value) if isinstance(value, int | np.integer) else float(f"{value:.{digits}g}")
    shown = int(shown) if abs(shown) >= 10 ** (digits - 1) else shown  # 57, not 57.0
    outside = "" if low <= value <= high else f"{OUTSIDE} {low}..{high}, which the text relies on"
    print(f"{key} = {shown}{outside}")


def show_table(table: pd.DataFrame) -> None:
    """Print a table to two digits, rounding below 1e-20 as 0."""
    print(table.mask(table.abs() < 1e-20, 0).to_string(float_format=lambda v: f"{v:.2g}"))


def two_digits(table: pd.DataFrame) -> pd.DataFrame:
    """A table as text of two digits, rounding below 1e-20 as 0, for a notebook to display."""
    return table.map(lambda v: "0" if abs(v) < 1e-20 else f"{float(f'{v:.2g}'):g}")


def verdict(
    equation: str, says: str, predicted: Numbers, measured: Numbers, *, where: str, why: str = ""
) -> None:
    """Compare over all cells, print the verdict, and enter it in the ledger.

    Exact: to rounding. Holds: within a quarter in every cell. Rough: within a factor of 2. Fails:
    beyond, or where 0 is predicted and not measured. `why` says what the difference is due to.
    """
    predicted, measured = np.broadcast_arrays(np.asarray(predicted, float), measured)
    nonzero = predicted != 0
    if np.allclose(measured, predicted, rtol=1e-9, atol=1e-12):
        ratio, found = "1" if nonzero.any() else "0 predicted, 0 measured", "exact"
    elif not (stray := abs(measured[~nonzero]).max(initial=0)) <= 1e-12:  # NaN is no zero
        ratio, found = f"0 predicted, up to {stray:.2g} measured", "fails"
    else:
        r = measured[nonzero] / predicted[nonzero]
        ratio = f"{np.median(r):.2f}" + (f" ({r.min():.2f} to {r.max():.2f})" if r.size > 1 else "")
        factor = max(r.max(), 1 / r.min()) if r.min() > 0 else np.inf
        found = "holds" if factor <= 1.25 else "rough" if factor <= 2 else "fails"
        if factor <= 2:
            found += f", within {100 * (factor - 1):.2g} %"
        elif factor < np.inf:
            found += f", by up to {float(f'{factor:.2g}'):g} times"
    _enter(equation, says=says, ratio=ratio, verdict=found, where=where, why=why)


def counted(
    equation: str, says: str, post: float, ours: Numbers, *, where: str = "T=557", why: str = ""
) -> None:
    """Compare a number of the post with ours (one, or one for each network) for the ledger."""
    ours = np.atleast_1d(np.asarray(ours))
    agree = int((ours == post).sum())
    found = "confirmed" if agree == len(ours) else f"confirmed in {agree} of {len(ours)}"
    shown = f"post {post:g}, ours {', '.join(f'{value:g}' for value in sorted(set(ours.tolist())))}"
    _enter(equation, says=says, ratio=shown, verdict=found, where=where, why=why)


def bounded(
    equation: str,
    says: str,
    measured: Numbers,
    *,
    at_least: float = -np.inf,
    at_most: float = np.inf,
    where: str,
    why: str = "",
) -> None:
    """Check every cell against a bound stated before it was measured, for the ledger."""
    measured = np.ravel(np.asarray(measured, float))
    broken = int((~((measured >= at_least) & (measured <= at_most))).sum())  # NaN breaks it
    found = "fails" if broken == measured.size else f"fails in {broken} of {measured.size}"
    clean = np.where(abs(measured) < 1e-12, 0, measured)  # rounding
    low, high = (f"{float(f'{value:.3g}'):g}" for value in (clean.min(), clean.max()))
    bounds = (f"at least {at_least:g}", at_least), (f"at most {at_most:g}", at_most)
    stated = " and ".join(text for text, bound in bounds if np.isfinite(bound))
    shown = f"{stated}; measured {low}" + (f" to {high}" if high != low else "")
    _enter(
        equation, says=says, ratio=shown, verdict=found if broken else "holds", where=where, why=why
    )


def _enter(equation: str, **row: str) -> None:
    row = {"equation": equation, **row}
    ENTERED.append(row)
    line = f"{equation} {row['says']} ({row['where']}): {row['ratio']}; {row['verdict']}"
    display({"text/plain": line}, raw=True, metadata={"ledger": row})


def entries(page: Path) -> list[dict[str, str]]:
    """The ledger's entries among the stored outputs of one page."""
    found = [output.get("metadata", {}).get("ledger") for output in _outputs(page)]
    return [{**row, "page": page.stem} for row in found if row]


def kind(verdict: str) -> str:
    """Which of KINDS a verdict is: a count that is confirmed holds."""
    if " in 0 of " in verdict:
        return "fails"
    if re.search(r" in \d+ of ", verdict):
        return "in part"
    word = re.split(r"\W", verdict)[0]
    return "holds" if word == "confirmed" else word


def scoreboard(pages: Iterable[Path]) -> Markdown:
    """How many of each page's entries are of which kind, as a Markdown table."""
    lines = [f"| chapter | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 1) + "|"]
    total = Counter[str]()
    for page in pages:
        if rows := entries(page):
            found = Counter(kind(row["verdict"]) for row in rows)
            total += found
            cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
            title = "".join(cells[0]["source"]).split("\n")[0].lstrip("# ")
            number = f"{int(page.stem[:2])}. " if page.stem[:2].isdigit() else ""
            lines.append(_counts(f"{number}[{title}]({page.name})", found))
    return Markdown("\n".join([*lines, _counts("**all**", total)]))


def _counts(name: str, found: Counter[str]) -> str:
    return f"| {' | '.join([name, *(str(found[each] or '') for each in KINDS)])} |"


def claimed(page: Path) -> dict[str, str]:
    """The numbers that one page claims, as stored, by their keys."""
    printed = ("".join(o["text"]) for o in _outputs(page) if o["output_type"] == "stream")
    return dict(re.findall(r"^([\w-]+) = ([-+.\de]+)$", "\n".join(printed), re.MULTILINE))


def in_text(number: str) -> str:
    """A number as the text has it: thousands apart from 10,000 on."""
    return f"{int(number):,}" if re.fullmatch(r"-?\d{5,}", number) else number


def _outputs(page: Path) -> list[dict[str, Any]]:
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]


def show_source(function: Callable[..., object]) -> Markdown:
    """A function as it stands in the package."""
    return Markdown(f"```python\n{inspect.cleandoc(inspect.getsource(function))}\n```")


def ledger_table(rows: Iterable[dict[str, str]], places: Mapping[str, str]) -> Markdown:
    """Rows of the ledger as a Markdown table; `places`: where each numbered equation is."""
    lines = [
        "| equation | claim | measured / predicted | verdict | chapter |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        number, page = row["equation"], row["page"]
        first = f"[({number})]({places[number]})" if number in places else number
        claim = f"{row['says']} ({row['where']})"
        found = f"**{row['verdict']}**" + (f": {row['why']}" if row["why"] else "")
        link = f"[{int(page[:2]) if page[:2].isdigit() else page}]({page}.ipynb)"
        lines.append(f"| {' | '.join([first, claim, row['ratio'], found, link])} |")
    return Markdown("\n".join(lines))
