"""What pages keep and enter: sweeps under the code that made them, and the ledger's verdicts."""

import importlib
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from tqdm import tqdm

import cisp

BOOK = Path(__file__).parent.parent / "book"
CALLS: list[int] = []


def toy(scale: int) -> pd.DataFrame:
    """A table that leaves a trace of being made."""
    CALLS.append(scale)
    return pd.DataFrame({"value": [scale * 1.5]})


def barred() -> pd.DataFrame:
    """A table whose making shows a bar."""
    return pd.DataFrame({"value": list(tqdm(range(3)))})


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("cisp_book.kept")


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("cisp_book.claims")


@pytest.fixture
def entered(claims: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    monkeypatch.setattr(
        claims, "display", lambda *_, metadata, **__: rows.append(metadata["ledger"])
    )
    return rows


class StaleError(Exception):
    """A table is about to be made again."""


def recomputed(*_: object, **__: object) -> None:
    raise StaleError("run python -m cisp_book.studies")


@pytest.mark.parametrize(
    ("study", "name", "rows"),
    [
        ("grid", "figures_8_to_11", 41 * 4 * 20),
        ("grid", "figures_8_to_11_masked", 41 * 4 * 20),
        ("grid", "first_layer", 41 * 4 * 4),
        ("grid", "figures_8_to_11_predicted", 41 * 4 * 20),
        ("chosen", "chosen_networks", 23 * 16 + 4 * 8),  # 4 with another step have no rotations
        ("critical", "critical_lines", 33 + 23),
        ("critical", "critical_predicted", 33),
        ("redundancy", "redundancy_predicted", 7 * 2 * 20),
        ("ablation", "ablations", 20 * 4),
        ("frontier", "frontier", 60),
        ("exact", "exact_pairs", 7),
        ("exact", "exact_noise", 4 * 2 * 9),
        ("exact", "exact_beyond", 18 * 9),
        ("exact_tables", "exact_denser", 30),
        ("exact_edges", "exact_least_M", 2 * 8),
        ("exact_edges", "exact_switching", 2 * 4 * 4),
        ("apart", "apart_settings", 12),
        ("apart", "apart_latents", 5 * (4 * 10 + 2 * 4 * 5)),
        ("two_truths", "apart_truths", 5 * 4),
        ("rewritten", "apart_rewritten", 5 * 2),
        ("in_pieces", "apart_pieces", 3 * 5),
        ("known", "apart_known", 5 * 2 * 5),
        ("learned", "learned", 10 * 3 * 4),
        ("pairs_trained", "pairs_drawn", 6 * 5),
        ("pairs_trained", "pairs_trained", 40 * 3),
        ("perturbed", "perturbed_moved", 4 * 3 * 13 * 9),
        ("perturbed", "perturbed_walked", 4 * 3 * (3 * 3 * 10 + 3)),
        ("sorting", "sorting_watched", (5 + 2) * 8),
        ("sorting", "sorting_heads", 5 * 2 * 51),
        ("sorting", "sorting_noised", 6 * 2 * 6),
        ("sorting", "sorting_narrow", 4 * 2 * 6),
        ("store", "store_pentagons", 11 * 100),
        ("store", "store_hexagons", 2 * 40),
        ("store", "store_perturbed", 9 * 3),
        ("store", "store_phases", 2 * 9 * 9),
        ("store", "store_basics", 7 * 2 * 5 * 20),
        ("store", "store_uniform", 231),
        ("store_absolute", "absolute_small", 4 * 100),
        ("store_absolute", "absolute_motifs", 289 + 2 * 40),  # neurons that serve two, and models
        ("store_absolute", "absolute_large", 5 * 3 * 2 * 40),
        ("exponent", "exponent", 62),
        ("exponent", "exponent_predicted", 3),
        ("frontier_at_scale", "frontier_at_scale", 15 + 2),
        ("worst_directions", "worst_directions", 3 * 2 * 5),
        ("held_out", "held_out", 792),  # 4 errors in each layer of 34 configurations
        ("held_out", "held_out_tails", 656),  # 4 levels in each layer but the first
    ],
)
def test_the_kept_tables_are_of_this_code(
    kept: ModuleType, study: str, name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = importlib.import_module(f"cisp_book.studies.{study}")
    for making in ("Parallel", "delayed"):
        monkeypatch.setattr(joblib, making, recomputed)
    monkeypatch.setattr(cisp, "sweep", recomputed)
    monkeypatch.setattr(cisp, "measure", recomputed)
    monkeypatch.setattr(cisp, "worst_case", recomputed)
    assert len(getattr(page, name)()) == rows


@pytest.mark.parametrize("asked", [False, True])
def test_a_table_is_made_anew_with_a_bar_only_where_it_was_asked_for(
    kept: ModuleType,
    asked: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(kept, "DATA", tmp_path)
    monkeypatch.setattr(kept, "asked", asked)
    assert len(kept.kept("barred", barred)) == 3
    assert bool(capsys.readouterr().err) == asked


def test_every_study_is_made_again_by_one_command(kept: ModuleType) -> None:
    every = importlib.import_module("cisp_book.studies.__main__").ALL
    data = {path.stem for path in (kept.DATA).glob("*.csv")}
    assert len(every) == len(data)


def test_a_kept_prediction_is_what_the_code_gives(kept: ModuleType) -> None:
    fresh = cisp.density_evolution(T=300, D=1000, S=6, z=2, L=5).errors
    stored = pd.read_csv(kept.DATA / "predicted.csv", comment="#")
    stored = stored.query("T == 300 and D == 1000 and z == 2")
    assert list(stored.circuits) == list(fresh.circuits)
    # six digits are stored; below 1e-9 there is rounding
    assert stored.mse.to_numpy() == pytest.approx(fresh.mse.to_numpy(), rel=1e-4, abs=1e-9)


def test_a_kept_sweep_is_what_the_code_gives(kept: ModuleType) -> None:
    cells = [{"T": 200, "D": 800, "S": 6, "z": 1, "seed": seed} for seed in range(16)]
    again = cisp.sweep(cells, samples=500, L=5, progress=False)
    fresh = again.groupby(["layer", "quantity", "circuits"]).mse.mean()
    stored = pd.read_csv(kept.DATA / "figures_8_to_11.csv", comment="#")
    stored = stored.query("T == 200 and D == 800 and z == 1")
    stored = stored.set_index(["layer", "quantity", "circuits"]).mse.reindex(fresh.index)
    big = fresh > 1e-9  # single precision leaves rounding in the exact cells
    assert stored[big].to_numpy() == pytest.approx(fresh[big].to_numpy(), rel=1e-3)


def test_a_configuration_held_out_is_what_the_code_gives(kept: ModuleType) -> None:
    page = importlib.import_module("cisp_book.studies.held_out")
    fresh = page.one_held_out(28, networks=120, samples=100)
    stored = page.held_out().query("T == 157")
    assert len(stored) == len(fresh) == 4 * 4
    for name in ("mse", "predicted", "off"):  # six digits are stored, of rounding below 1e-9 less
        assert stored[name].to_numpy() == pytest.approx(fresh[name].to_numpy(), rel=1e-4, abs=1e-9)
    fresh = page.one_tail(28, networks=40, samples=100)
    stored = page.held_out_tails().query("T == 157")
    assert len(stored) == len(fresh) == 3 * 4
    for name in ("above", "predicted"):
        assert stored[name].to_numpy() == pytest.approx(fresh[name].to_numpy(), rel=1e-4, abs=1e-9)


def test_a_table_is_made_again_when_its_parameters_or_its_code_change(
    kept: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "DATA", tmp_path)
    CALLS.clear()
    for scale in (1, 1, 2, 2):
        assert kept.kept("toy", toy, scale=scale).value.item() == scale * 1.5
    assert CALLS == [1, 2]
    monkeypatch.setattr(kept, "digest", lambda *_, **__: "other code")
    kept.kept("toy", toy, scale=2)
    assert CALLS == [1, 2, 2]


def test_a_long_table_is_made_when_asked_and_warned_of_till_then(
    kept: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "DATA", tmp_path)
    CALLS.clear()
    with pytest.raises(FileNotFoundError, match=r"no data/toy.csv: `make studies`.* in a minute"):
        kept.kept("toy", toy, long="a minute", scale=1)
    monkeypatch.setattr(kept, "asked", True)
    kept.kept("toy", toy, long="a minute", scale=1)
    monkeypatch.setattr(kept, "asked", False)
    assert kept.kept("toy", toy, long="a minute", scale=1).value.item() == 1.5
    with pytest.warns(kept.StaleWarning, match=r"of other parameters than {'scale': 2}"):
        assert kept.kept("toy", toy, long="a minute", scale=2).value.item() == 1.5
    monkeypatch.setattr(kept, "digest", lambda *_, **__: "other code")
    with pytest.warns(kept.StaleWarning, match=r"data/toy.csv is of other code: `make studies`"):
        kept.kept("toy", toy, long="a minute", scale=1)
    assert CALLS == [1]
    monkeypatch.setattr(kept, "asked", True)
    kept.kept("toy", toy, long="a minute", scale=2)
    assert CALLS == [1, 2]


def doubled() -> pd.DataFrame:
    """A table made from another."""
    kept = importlib.import_module("cisp_book.kept")
    return kept.kept("toy", toy, long="a minute", scale=2) * 2


def test_no_table_is_made_from_a_stale_one(
    kept: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "DATA", tmp_path)
    kept.kept("toy", toy, scale=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(kept.StaleWarning, match=r"toy.csv is of other parameters"):
            kept.kept("doubled", doubled)
    assert not (tmp_path / "doubled.csv").exists()


def traced(k: int, folder: Path) -> int:
    """A part that leaves a trace of being made."""
    trace = folder / f"made {k}"
    trace.write_text("again" if trace.exists() else "once", encoding="utf-8")
    return k // 2


def test_parts_that_are_finished_are_not_made_again(
    kept: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "finished", lambda: joblib.Memory(tmp_path / "memory", verbose=0))

    def run(**_: object) -> Callable[..., list[int]]:
        def each(jobs: object) -> list[int]:
            return [function(*args) for function, args, _ in jobs]  # type: ignore[attr-defined]

        return each

    monkeypatch.setattr(joblib, "Parallel", run)
    cells = [(k, tmp_path) for k in (4, 5, 6)]
    assert kept.in_parts(traced, cells[:2]) == [2, 2]
    assert kept.in_parts(traced, cells) == [2, 2, 3]
    assert sorted(path.name for path in tmp_path.glob("made *")) == ["made 4", "made 5", "made 6"]
    assert {path.read_text(encoding="utf-8") for path in tmp_path.glob("made *")} == {"once"}
    monkeypatch.setattr(kept, "digest", lambda *_, **__: "other code")
    kept.in_parts(traced, cells[:1])
    assert (tmp_path / "made 4").read_text(encoding="utf-8") == "again"


@pytest.mark.parametrize(
    ("study", "name", "old", "new"),
    [
        ("grid", "figures_8_to_11", "800: (200, 300)", "800: (200,)"),
        ("grid", "first_layer", '"masked": cisp.measure_masked', '"masked": cisp.measure'),
        ("chosen", "chosen_networks", "(1000, 900, 3, 1", "(1000, 900, 3, 2"),
        ("chosen", "critical_lines", '"random": cisp.random_subsets', '"random": None'),
        ("critical", "critical_lines", "(2, 0.6), (4, 0.6)", "(2, 0.6)"),
        ("held_out", "held_out", "DRAWN, SEED = 34, 20261210", "DRAWN, SEED = 34, 20261211"),
        ("ablation", "ablations", "SEEN = 1e-3", "SEEN = 1e-4"),
        ("grid", "ablations", "800: (200, 300)", "800: (200,)"),
        ("frontier", "frontier", "STEP = 1500, range(3), 1.07", "STEP = 1500, range(3), 1.08"),
        ("exact", "exact_pairs", '(3, 68, 680, "all")', "(3, 68, 680, 3000)"),
        ("exact", "exact_noise", "1e-2, 1e-1)", "1e-2)"),
        ("exact", "exact_beyond", "CORRECT = 1e-6", "CORRECT = 1e-5"),
        ("exact", "exact_switching", "CORRECT = 1e-6", "CORRECT = 1e-5"),
        ("exact_tables", "exact_denser", "Q, SLOPES = 55", "Q, SLOPES = 49"),
        ("exact_edges", "exact_least_M", "0.98, 1)", "1)"),
        (
            "apart",
            "apart_latents",
            "NETWORKS, SIXTH = 16_384, 300, 5",
            "NETWORKS, SIXTH = 16_384, 300, 4",
        ),
        ("apart", "apart_pieces", '"pieces": {"price": 1e-2', '"pieces": {"price": 1e-3'),
        ("rewritten", "apart_rewritten", "RATE = 2 * CIRCUITS, 6e-3", "RATE = 2 * CIRCUITS, 3e-3"),
    ],
)
def test_a_table_is_stale_when_a_list_behind_it_changes(
    kept: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    study: str,
    name: str,
    old: str,
    new: str,
) -> None:
    page = {
        table.__name__: table for table in importlib.import_module("cisp_book.studies.__main__").ALL
    }[name]
    copy = tmp_path / "cisp_book"
    shutil.copytree(kept.HERE, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    monkeypatch.setattr(kept, "HERE", copy)
    for making in ("Parallel", "delayed"):
        monkeypatch.setattr(joblib, making, recomputed)
    monkeypatch.setattr(cisp, "sweep", recomputed)
    monkeypatch.setattr(cisp, "measure", recomputed)
    monkeypatch.setattr(cisp, "worst_case", recomputed)
    page()  # the copy says the same
    file = copy / "studies" / f"{study}.py"
    assert file.read_text(encoding="utf-8").count(old) == 1
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises((StaleError, kept.StaleWarning)):
        page()


@pytest.mark.parametrize(
    ("embedding", "z"),
    [("post", 1), ("post", 2), ("tuned", 1), ("tuned", 2), ("extrinsic", 2), ("redundant", 2)],
)
def test_the_frontier_is_where_the_code_puts_it(kept: ModuleType, embedding: str, z: int) -> None:
    frontier = importlib.import_module("cisp_book.studies.frontier")
    stored = frontier.frontier()
    stored = stored.query(f"embedding == '{embedding}' and D == 1000 and z == {z}")
    assert not stored.empty
    make = getattr(frontier, embedding)
    for cell in stored.itertuples():
        exponent = round(np.log(cell.T) / np.log(frontier.STEP))
        assert round(frontier.STEP**exponent) == cell.T
        assert frontier.check(make, exponent, 1000, z, cell.criterion)
        assert not frontier.check(make, exponent + 1, 1000, z, cell.criterion)


@pytest.mark.parametrize("z", [2, 3])
def test_the_exact_frontier_is_what_can_be_placed(kept: ModuleType, z: int) -> None:
    frontier = importlib.import_module("cisp_book.studies.frontier")
    stored = frontier.frontier().query(f"embedding == 'exact' and D == 1000 and z == {z}")
    assert set(stored.criterion) == {"worst", "mean"}
    (T,) = set(stored["T"])
    network = frontier.exact(T, 1000, z, 5)
    found = cisp.worst_case(network, z=z, samples=500, keep=20, starts=1, progress=False)
    assert found.error < frontier.ROUNDING
    with pytest.raises(ValueError, match=f"these are T={T + 1}$"):
        frontier.exact(T + 1, 1000, z, 5)


def test_an_interrupted_table_finds_its_finished_parts_again(
    kept: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frontier = importlib.import_module("cisp_book.studies.frontier")
    monkeypatch.setattr(kept, "finished", lambda: joblib.Memory(tmp_path, verbose=0))
    monkeypatch.setattr(frontier, "RUNS", {frontier.post: (("mean",), (3,))})
    for name, value in (("WIDTHS", (100, 200)), ("INPUTS", 20), ("SEEDS", (0,))):
        monkeypatch.setattr(frontier, name, value)
    calls: list[int] = []
    with joblib.parallel_config(backend="threading"):
        first = frontier.all_lines()
        monkeypatch.setattr(cisp, "measure", lambda *_, **__: calls.append(1))
        assert frontier.all_lines().equals(first)
    assert calls == []


def test_rows_of_the_exact_studies_are_what_the_code_gives(kept: ModuleType) -> None:
    tables = importlib.import_module("cisp_book.studies.exact_tables")
    edges = importlib.import_module("cisp_book.studies.exact_edges")
    row = tables.denser_row("design", 3, 2, L=6, draws=8, sets=800)
    stored = tables.exact_denser().query("z == 2 and slopes == 3 and table == 'design'")
    assert stored.places.item() == pytest.approx(row["places"])
    assert stored.readings.item() == pytest.approx(row["readings"])
    fresh = pd.DataFrame(edges.changing("planned", "put in", T=216, L=6, layer=3))
    again = edges.exact_switching().query("form == 'planned' and change == 'put in'")
    assert again.pairs.tolist() == fresh.pairs.tolist()
    assert again.exact.to_numpy() == pytest.approx(fresh.exact.to_numpy(), abs=1e-5)


def test_the_exact_studies_count_neurons_and_circuits_as_the_networks_do(kept: ModuleType) -> None:
    exact = importlib.import_module("cisp_book.studies.exact")
    tables = importlib.import_module("cisp_book.studies.exact_tables")
    for z in (1, 2, 3, 4):
        network = cisp.superpose_exact(exact.turning(5, 2), D=400, z=z)
        assert network.d == tables.width_each(z)
    table = tables.capacities((1000,)).set_index(["embedding", "z"])["T"]
    assert table["exact", 2] == 910
    assert table["extrinsic", 1] == cisp.transversal_design_capacity(n=250, S=6)
    assert table["side by side", "any"] == 250


def test_tables_of_any_slopes_are_those_of_the_designs(kept: ModuleType) -> None:
    tables = importlib.import_module("cisp_book.studies.exact_tables")
    consecutive = tables.table_of_slopes(np.arange(4), q=11, S=3)
    design = cisp.transversal_design(T=44, n=33, S=3)
    mirrored = design.reshape(44, 3)[:, ::-1] % 11 + 11 * np.arange(3)  # r + k (S-1-x) there
    assert sorted(consecutive.tolist()) == sorted(mirrored.tolist())


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


def test_a_claim_outside_its_range_says_so(
    claims: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    claims.claim("key", 3, 0, 2)
    claims.claim("key", 2, 0, 2)
    says = f"key = 3{claims.OUTSIDE} 0..2, which the text relies on"
    assert capsys.readouterr().out.splitlines() == [says, "key = 2"]


def test_every_equation_that_has_a_verdict_is_on_the_map(claims: ModuleType) -> None:
    pages: Callable[[Path], list[dict[str, str]]] = claims.entries
    rows = [row for page in sorted(BOOK.glob("*.ipynb")) for row in pages(page)]
    known = {
        line.split(",")[0]
        for line in (BOOK / "equations.csv").read_text(encoding="utf-8").splitlines()
    }
    numbers = {re.sub(r".+ \((.+)\)", r"\1", row["equation"]) for row in rows}
    assert len(rows) > 60
    unknown = {
        n for n in numbers - known if not n.startswith(("section", "comments", "book", "texts"))
    }
    assert unknown == set()
