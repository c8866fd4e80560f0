"""Numbers in prose and verdicts on the post: checked where computed, glued for pages to cite."""

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown
from jaxtyping import Float
from myst_nb import glue

ENTERED: list[dict[str, str]] = []  # the rows of the page that runs, in their order
Numbers = float | list[float] | Float[np.ndarray, "..."]


def claim(key: str, value: float, low: float, high: float, digits: int = 3) -> None:
    """Check low <= value <= high, print it, and glue it under `key`, floats rounded."""
    if not low <= value <= high:
        raise AssertionError(f"{key}={value} is outside {low}..{high}, which the text relies on")
    shown = int(value) if isinstance(value, int | np.integer) else float(f"{value:.{digits}g}")
    shown = int(shown) if abs(shown) >= 10 ** (digits - 1) else shown  # 57, not 57.0
    print(f"{key} = {shown}")
    glue(key, shown, display=False)


def show_table(table: pd.DataFrame) -> None:
    """Print a table to two digits, rounding below 1e-20 as 0."""
    print(table.mask(table.abs() < 1e-20, 0).to_string(float_format=lambda v: f"{v:.2g}"))


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
    print(f"{equation} {row['says']}: {row['ratio']}; {row['verdict']}")
    row = {"equation": equation, **row}
    ENTERED.append(row)
    glue(f"ledger {equation} {row['says']}, {row['where']}", json.dumps(row), display=False)


def entries(page: Path) -> list[dict[str, str]]:
    """The ledger's entries among the stored outputs of one page."""
    record, found = "application/papermill.record/text/plain", []
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name", "")
            if name.startswith("ledger "):
                text = ast.literal_eval("".join(output["data"][record]))
                found.append({**json.loads(text), "page": page.stem})
    return found


def ledger_table(rows: Iterable[dict[str, str]], labels: Mapping[str, str]) -> Markdown:
    """Rows of the ledger as a Markdown table; `labels` gives the equations that have one."""
    lines = [
        "| equation | claim | measured / predicted | verdict | chapter |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        number, page = row["equation"], row["page"]
        first = f"{{eq}}`{labels[number]}`" if number in labels else number
        claim = f"{row['says']} ({row['where']})"
        found = f"**{row['verdict']}**" + (f": {row['why']}" if row["why"] else "")
        link = f"{{doc}}`{int(page[:2]) if page[:2].isdigit() else page} <{page}>`"
        lines.append(f"| {' | '.join([first, claim, row['ratio'], found, link])} |")
    return Markdown("\n".join(lines))
