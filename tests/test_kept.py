"""What pages keep and enter: sweeps under the code that made them, and the ledger's verdicts."""

import ast
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

BOOK = Path(__file__).parent.parent / "book"
CALLS: list[int] = []


def toy(scale: int) -> pd.DataFrame:
    """A table that leaves a trace of being made."""
    CALLS.append(scale)
    return pd.DataFrame({"value": [scale * 1.5]})


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BOOK))
    return importlib.import_module("kept")


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BOOK))
    return importlib.import_module("claims")


@pytest.fixture
def entered(claims: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    monkeypatch.setattr(claims, "glue", lambda name, text, display: rows.append(json.loads(text)))
    return rows


@pytest.mark.parametrize("name", ["figures_8_to_11", "figures_8_to_11_masked", "first_layer"])
def test_the_kept_sweeps_are_of_this_code(
    kept: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recomputed(**parameters: object) -> pd.DataFrame:
        raise AssertionError(f"{name} is stale: run python kept.py in book/")

    monkeypatch.setattr(kept.cisp, "sweep", recomputed)
    assert len(getattr(kept, name)()) == 41 * 4 * (4 if name == "first_layer" else 20)


@pytest.mark.parametrize(
    ("room", "name", "rows"),
    [
        ("kept", "figures_8_to_11_predicted", 41 * 4 * 20),
        ("kept", "chosen_networks", 23 * 16 + 4 * 8),  # 4 with another step have no rotations
        ("kept", "critical_lines", 33),
        ("kept", "redundancy_predicted", 7 * 2 * 20),
        ("ablations", "ablations", 14 * 4),
    ],
)
def test_the_kept_predictions_are_of_this_code(
    kept: ModuleType, room: str, name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recomputed(**_: object) -> None:
        raise AssertionError(f"{name} is stale: run python {room}.py in book/")

    page = importlib.import_module(room)
    monkeypatch.setattr(page.joblib, "Parallel", recomputed)
    assert len(getattr(page, name)()) == rows


def test_a_kept_prediction_is_what_the_code_gives(kept: ModuleType) -> None:
    fresh = kept.cisp.density_evolution(T=300, D=1000, S=6, z=2, L=5).errors
    stored = pd.read_csv(BOOK / "data" / "predicted.csv", comment="#")
    stored = stored.query("T == 300 and D == 1000 and z == 2")
    assert list(stored.circuits) == list(fresh.circuits)
    # six digits are stored; below 1e-9 there is rounding
    assert stored.mse.to_numpy() == pytest.approx(fresh.mse.to_numpy(), rel=1e-4, abs=1e-9)


def test_a_kept_sweep_is_what_the_code_gives(kept: ModuleType) -> None:
    cells = [{"T": 200, "D": 800, "S": 6, "z": 1, "seed": seed} for seed in range(16)]
    again = kept.cisp.sweep(cells, samples=500, L=5, progress=False)
    fresh = again.groupby(["layer", "quantity", "circuits"]).mse.mean()
    stored = pd.read_csv(BOOK / "data" / "figures_8_to_11.csv", comment="#")
    stored = stored.query("T == 200 and D == 800 and z == 1")
    stored = stored.set_index(["layer", "quantity", "circuits"]).mse.reindex(fresh.index)
    big = fresh > 1e-9  # single precision leaves rounding in the exact cells
    assert stored[big].to_numpy() == pytest.approx(fresh[big].to_numpy(), rel=1e-3)


def test_a_table_is_made_again_when_its_parameters_or_its_code_change(
    kept: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "DATA", tmp_path)
    CALLS.clear()
    for scale in (1, 1, 2, 2):
        assert kept.kept("toy", toy, scale=scale).value.item() == scale * 1.5
    assert CALLS == [1, 2]
    monkeypatch.setattr(kept, "MEASURING", ("arguments",))
    kept.kept("toy", toy, scale=2)
    assert CALLS == [1, 2, 2]


def test_comments_and_layout_do_not_change_the_fingerprint(
    kept: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MEASURING", ("room",))
    monkeypatch.setattr(kept.cisp, "__file__", str(tmp_path / "__init__.py"))
    prints = []
    for text in ("x = f(1, 2)", "x = f(1,  2)  # why", "x = f(1, 3)"):
        (tmp_path / "room.py").write_text(text)
        prints.append(kept.fingerprint(kept.grid))
    assert prints[0] == prints[1] != prints[2]


def test_what_only_describes_code_does_not_change_the_fingerprint(kept: ModuleType) -> None:
    plain = kept.bare("def f(x, y=1):\n    z = x + y\n    return z")
    described = kept.bare(
        'import numpy as np\nArray = Float[np.ndarray, "a"]\n\n'
        'def f(x: Array, y: int = 1) -> Array:\n    """The sum."""\n    z = x + y\n    return z'
    )
    assert plain == described != kept.bare("def f(x, y=2):\n    z = x + y\n    return z")


def test_a_newer_python_with_more_fields_in_its_trees_keeps_the_fingerprint(
    kept: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, text = ast.parse, "def f(x):\n    return x"

    def newer(text: str) -> ast.Module:
        tree = parse(text)
        tree.body[0]._fields += ("type_params",)  # type: ignore[misc]  # as in Python 3.12
        tree.body[0].type_params = []  # type: ignore[attr-defined]
        return tree

    before = kept.bare(text)
    with monkeypatch.context() as patched:
        patched.setattr(ast, "parse", newer)
        after = kept.bare(text)
    assert after == before


@pytest.mark.parametrize(
    ("name", "what", "entry", "value"),
    [
        ("figures_8_to_11", "PAIRS", 800, (200,)),
        ("first_layer", "NAMES", 0, {}),
        ("chosen_networks", "CHOSEN", 0, ()),
        ("chosen_networks", "NAMES", 1, {}),
        ("critical_lines", "NAMES", 2, {}),
    ],
)
def test_a_table_is_stale_when_a_list_behind_it_changes(
    kept: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, what: str, entry: int, value: Any
) -> None:
    class StaleError(Exception):
        pass

    def recomputed(*_: object, **__: object) -> None:
        raise StaleError

    monkeypatch.setattr(kept.joblib, "Parallel", recomputed)
    monkeypatch.setattr(kept.cisp, "sweep", recomputed)
    old = getattr(kept, what)
    try:
        before, old[entry] = old[entry], value
        with pytest.raises(StaleError):
            getattr(kept, name)()
    finally:
        old[entry] = before


@pytest.mark.parametrize(
    ("embedding", "z"),
    [("post", 1), ("post", 2), ("tuned", 1), ("tuned", 2), ("extrinsic", 2), ("extrinsic_12", 2)],
)
def test_the_frontier_is_where_the_code_puts_it(
    monkeypatch: pytest.MonkeyPatch, embedding: str, z: int
) -> None:
    monkeypatch.syspath_prepend(str(BOOK.parent / "benchmarks"))
    frontier = importlib.import_module("frontier")
    stored = pd.read_csv(BOOK / "data" / "frontier.csv")
    stored = stored.query(f"embedding == '{embedding}' and D == 1000 and z == {z}")
    assert not stored.empty
    make = getattr(frontier, embedding)
    for cell in stored.itertuples():
        exponent = round(np.log(cell.T) / np.log(frontier.STEP))
        assert round(frontier.STEP**exponent) == cell.T
        criterion = ("worst", "mean").index(cell.criterion)
        assert frontier.check(make, exponent, 1000, z)[criterion]
        assert not frontier.check(make, exponent + 1, 1000, z)[criterion]


@pytest.mark.parametrize(
    ("predicted", "measured", "found"),
    [
        (2.0, 2.0, "exact"),
        (0.0, 0.0, "exact"),
        ([1, 1], [0.9, 1.2], "holds, within 20 %"),
        ([1, 1], [1, 1 / 1.5], "rough, within 50 %"),
        ([1, 1], [1, 7], "fails, by up to 7 times"),
        ([1, 1], [1, 0.1], "fails, by up to 10 times"),
        ([0, 0], [0, 0.3], "fails"),
        ([0, 1], [0.3, 1], "fails"),
        ([0, 1], [-0.3, 1], "fails"),
        ([0, 1], [np.nan, 1], "fails"),
        ([0, 1], [0, 1.2], "holds, within 20 %"),
        ([1, 1], [1, 1968], "fails, by up to 2000 times"),
        ([1, 1], [1, -1], "fails"),
        ([1, 1], [1, 0], "fails"),
    ],
)
def test_the_verdict_is_the_worst_cell(
    claims: ModuleType, entered: list[dict[str, str]], predicted: Any, measured: Any, found: str
) -> None:
    claims.verdict("6.3", "q", np.asarray(predicted, float), np.asarray(measured, float), where="x")
    assert entered[0]["verdict"] == found


def test_counts_are_confirmed_network_by_network(
    claims: ModuleType, entered: list[dict[str, str]]
) -> None:
    claims.counted("section 4", "rotations", 2, [2, 2])
    claims.counted("section 4", "rotations", 2, [2, 3, 2])
    assert [row["verdict"] for row in entered] == ["confirmed", "confirmed in 2 of 3"]


@pytest.mark.parametrize(
    ("measured", "bounds", "ratio", "found"),
    [
        ([20, 55], {"at_least": 20}, "at least 20; measured 20 to 55", "holds"),
        ([19.5, 55, 60], {"at_least": 20}, "at least 20; measured 19.5 to 60", "fails in 1 of 3"),
        ([0.1, 0.2], {"at_most": 0.1}, "at most 0.1; measured 0.1 to 0.2", "fails in 1 of 2"),
        (3, {"at_least": 1, "at_most": 2}, "at least 1 and at most 2; measured 3", "fails"),
        ([1e-30, 0.1], {"at_most": 0.1}, "at most 0.1; measured 0 to 0.1", "holds"),
        ([1, np.nan], {"at_least": 0}, "at least 0; measured nan", "fails in 1 of 2"),
    ],
)
def test_a_bound_holds_only_if_every_cell_keeps_it(
    claims: ModuleType,
    entered: list[dict[str, str]],
    measured: Any,
    bounds: dict[str, float],
    ratio: str,
    found: str,
) -> None:
    claims.bounded("book", "q", measured, **bounds, where="x")
    assert (entered[0]["ratio"], entered[0]["verdict"]) == (ratio, found)


def test_a_claim_outside_its_range_stops_the_page(claims: ModuleType) -> None:
    with pytest.raises(AssertionError, match=r"key=3 is outside 0\.\.2"):
        claims.claim("key", 3, 0, 2)


def test_every_equation_that_has_a_verdict_is_on_the_map(claims: ModuleType) -> None:
    pages: Callable[[Path], list[dict[str, str]]] = claims.entries
    rows = [row for page in sorted(BOOK.glob("*.ipynb")) for row in pages(page)]
    known = {line.split(",")[0] for line in (BOOK / "equations.csv").read_text().splitlines()}
    numbers = {row["equation"] for row in rows}
    assert len(rows) > 60
    unknown = {n for n in numbers - known if not n.startswith(("section", "comments", "book"))}
    assert unknown == set()
