"""Streamed statistics against brute force over the same inputs; sweeps that are interrupted."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from itertools import combinations
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

import cells
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import cisp.experiment
import cisp.keys
import cisp.tally
from cisp import (
    Measurement,
    Network,
    SmallCircuits,
    conditional_rotations,
    errors,
    mean_squared_overlap,
    measure,
    measure_masked,
    step_indicators,
    superpose,
    sweep,
)

HERE = Path(__file__).parent
INPUT = ["worst_circuit", "worst_active", "worst_a0"]
Inputs = tuple[Tensor, Tensor]


def rotations(*, T: int = 20, D: int = 72, S: int = 3, L: int | None = None) -> Network:
    """float64; 18 positions for 20 circuits of 3, so every circuit meets others."""
    circuits = conditional_rotations(T=T, rng=1, dtype=torch.float64)
    return superpose(circuits, D=D, S=S, L=L, rng=2)


def unread() -> Network:
    """Circuits without read-outs, with weights and biases of their own in each layer."""
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(3, 15, 3, 3)) / 3**0.5, rng.normal(size=(3, 3)) / 4
    return superpose(SmallCircuits(w=torch.from_numpy(w), b=torch.from_numpy(b)), D=60, S=3)


NETWORKS: dict[str, Callable[[], Network]] = {"rotations": rotations, "no read-outs": unread}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def draw(network: Network, *, z: int, samples: int, rng: int) -> Inputs:
    return network.sample(batch=samples, z=z, rng=rng)


def on(network: Network, layer: int, active: Tensor) -> Tensor:
    """1 where a position belongs to an active circuit of the input: (batch, n) (5.21)."""
    marks = torch.zeros(len(active), network.n, dtype=network.w.dtype)
    for k, row in enumerate(active.tolist()):
        marks[k, network.tables[layer - 1, row].flatten()] = 1
    return marks


def dense_run(network: Network, inputs: Inputs, masked: bool) -> Tensor:
    """A^0..A^L by dense weights (5.17)."""
    active, a0 = inputs
    A = [network.embed(a0, active)]
    for layer in range(1, network.L + 1):
        flat = A[-1].flatten(1) @ network.W(layer).T + network.B(layer)
        after = torch.relu(flat).unflatten(1, (network.d, network.n))
        A.append(after * on(network, layer, active)[:, None] if masked else after)
    return torch.stack(A)


def brute(
    network: Network, inputs: Inputs, *, masked: bool = False, again: Inputs | None = None
) -> Measurement:
    """The three tables with all errors of all inputs at hand, but for the worst inputs.

    again: the same active sets with other inputs, where the standard error is that of the inputs.
    """
    second = brute_errors(network, again, masked) if again else {}
    active, a0 = inputs
    A, a = dense_run(network, inputs, masked), network.circuits.run(a0, active)
    batch, z = active.shape
    is_on = torch.zeros(batch, network.T, dtype=torch.bool).scatter(1, active, True)
    rows, parts, circuits = [], [], []
    for layer in range(1, network.L + 1):
        head = {"z": z, "layer": layer}
        for name, error in errors(network, A, a, active, layer).items():
            if name == "activations" and network.circuits.readouts:
                continue
            squared = error.square().sum(-1)  # (batch, T)
            for kind, chosen in (("active", is_on), ("inactive", ~is_on)):
                each = squared[chosen].reshape(batch, -1)
                spread = each.mean(1).std()
                if again:
                    off = each.mean(1) - second[layer, name, kind]
                    spread = (off.square().mean() / 2).sqrt()
                rows.append(
                    {
                        **head,
                        "quantity": name,
                        "circuits": kind,
                        "mse": float(each.mean()),
                        "mse_stderr": float(spread / batch**0.5),
                        "worst": float(each.max() ** 0.5),
                        "samples": batch,
                    }
                )
            for t in range(network.T):
                own = squared[is_on[:, t], t]
                row = {"quantity": name, "circuit": t, "mse": float(own.mean())}
                circuits.append({**head, **row, "samples": len(own)})
        for block, above in enumerate((A[layer] > 1e-4).double().mean((0, 2)).tolist()):
            parts.append({**head, "block": block, "fraction": above})
    return Measurement(pd.DataFrame(rows), pd.DataFrame(parts), pd.DataFrame(circuits))


def brute_errors(
    network: Network, inputs: Inputs, masked: bool
) -> dict[tuple[int, str, str], Tensor]:
    """The squared error of each input, averaged over its active or inactive circuits."""
    active, a0 = inputs
    A, a = dense_run(network, inputs, masked), network.circuits.run(a0, active)
    is_on = torch.zeros(len(active), network.T, dtype=torch.bool).scatter(1, active, True)
    return {
        (layer, name, kind): error.square().sum(-1)[chosen].reshape(len(active), -1).mean(1)
        for layer in range(1, network.L + 1)
        for name, error in errors(network, A, a, active, layer).items()
        for kind, chosen in (("active", is_on), ("inactive", ~is_on))
    }


def assert_same(ours: Measurement, theirs: Measurement) -> None:
    """All but the worst inputs, which may be others when errors tie.

    float64: sums of some thousand terms after five layers. The standard error is the root of a
    difference of two averages, which leaves sqrt(1e-16) of their size where all inputs agree.
    """
    for name in ("errors", "activity", "circuits"):
        one, other = getattr(ours, name), getattr(theirs, name)
        one, other = (x.drop(columns=INPUT, errors="ignore") for x in (one, other))
        same = partial(pd.testing.assert_frame_equal, check_dtype=False, rtol=1e-9)
        loose = ["mse_stderr"] if name == "errors" else []
        same(one.drop(columns=loose), other.drop(columns=loose), atol=1e-12)
        same(one[loose], other[loose], atol=1e-8)


def as_lists(table: pd.DataFrame) -> pd.DataFrame:
    """The table of errors with its arrays as lists, which pandas compares."""
    return table.assign(worst_a0=[a0.tolist() for a0 in table.worst_a0])


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Inputs]:
    """The inputs that networks embed from here on, as (active, a0)."""
    record: list[Inputs] = []
    embed = Network.embed

    def spy(network: Network, a0: Tensor, active: Tensor) -> Tensor:
        record.append((active, a0))
        return embed(network, a0, active)

    monkeypatch.setattr(Network, "embed", spy)
    return record


@pytest.mark.parametrize("z", [1, 2, 5])
@every_network
def test_the_statistics_equal_brute_force(make: Callable[[], Network], z: int) -> None:
    network = make()
    ours = measure(network, z=z, samples=60, rng=3)
    assert_same(ours, brute(network, draw(network, z=z, samples=60, rng=3)))


@pytest.mark.parametrize("z", [1, 2, 5])
@every_network
def test_masked_statistics_equal_a_dense_pass_with_idle_neurons_off(
    make: Callable[[], Network], z: int
) -> None:
    network = make()
    inputs = draw(network, z=z, samples=60, rng=3)
    assert_same(
        measure_masked(network, z=z, samples=60, rng=3), brute(network, inputs, masked=True)
    )


def test_masked_activity_stays_on_the_positions_of_active_circuits() -> None:
    network = rotations()
    active, _ = draw(network, z=2, samples=60, rng=3)
    room = np.array([float(on(network, layer, active).mean()) for layer in range(1, 6)])
    free = measure(network, z=2, samples=60, rng=3).activity
    masked = measure_masked(network, z=2, samples=60, rng=3).activity
    # the two are equal where all these neurons are on: up to rounding of the mean
    assert (masked.fraction <= room[masked.layer - 1] + 1e-12).all()
    assert (free.fraction > room[free.layer - 1]).any()


def test_without_overlap_the_mask_changes_nothing() -> None:
    network = rotations(T=8, D=96, S=3)
    masked = measure_masked(network, z=2, samples=60)
    assert_same(masked, measure(network, z=2, samples=60))
    assert (masked.errors.worst < 1e-12).all()  # rounding: every circuit has its own neurons


@pytest.mark.parametrize("run", [measure, measure_masked])
@every_network
def test_the_worst_cases_can_be_replayed(
    make: Callable[[], Network],
    run: Callable[..., Measurement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cisp.experiment, "DRAWN", 90)
    network = make()
    for row in run(network, z=3, samples=300, rng=4).errors.itertuples():
        active, a0 = torch.tensor([row.worst_active]), torch.from_numpy(row.worst_a0)[None]
        A = dense_run(network, (active, a0), run is measure_masked)
        error = errors(network, A, network.circuits.run(a0, active), active, row.layer)
        norm = float(error[row.quantity][0, row.worst_circuit].norm())
        assert norm == pytest.approx(row.worst, rel=1e-9, abs=1e-12)  # float64, five layers
        assert (row.worst_circuit in row.worst_active) == (row.circuits == "active")


def test_batches_change_nothing() -> None:
    network = rotations()
    whole = measure(network, z=2, samples=450)
    for batch in (1, 7, 64, 10_000):
        assert_same(measure(network, z=2, samples=450, batch=batch), whole)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Torch on so many threads, and back on the one that conftest.py sets."""
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(1)


def seen_by_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_lots_merge_to_one_run_that_is_the_same_on_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cisp.experiment, "DRAWN", 30)
    network, rng = rotations(), np.random.default_rng(5)
    lots = [network.sample(batch=size, z=2, rng=rng) for size in (30, 30, 30, 30, 5)]
    active, a0 = (torch.cat(parts) for parts in zip(*lots, strict=True))
    expected = brute(network, (active, a0))
    found = []
    for number in (1, 2, 4):
        with threads(number):
            found.append(measure(network, z=2, samples=125, rng=5, batch=20))
            assert torch.get_num_threads() == seen_by_a_new_thread() == number
        assert_same(found[-1], expected)
        # each lot runs on one thread, and they are merged in order: no rounding differs
        assert as_lists(found[0].errors).equals(as_lists(found[-1].errors))
        assert found[0].circuits.equals(found[-1].circuits)


def test_the_number_of_threads_is_restored_after_an_error() -> None:
    broken = rotations()
    broken.tables[0] = 10**6
    with threads(2):
        with pytest.raises((IndexError, RuntimeError)):
            measure(broken, z=1)
        assert torch.get_num_threads() == seen_by_a_new_thread() == 2


def test_the_seed_fixes_the_inputs() -> None:
    network = rotations()
    first, again, other = (
        measure(network, z=2, samples=50, rng=seed) for seed in (0, np.random.default_rng(0), 1)
    )
    for name in ("errors", "activity", "circuits"):
        a, b, c = (
            getattr(m, name).drop(columns=INPUT[1:], errors="ignore") for m in (first, again, other)
        )
        pd.testing.assert_frame_equal(a, b)
        assert not a.equals(c)
    changed = first.errors.mse != other.errors.mse
    assert changed[first.errors.layer > 1].all()


def test_one_active_circuit_runs_each_circuit_once(
    monkeypatch: pytest.MonkeyPatch, seen: list[Inputs]
) -> None:
    monkeypatch.setattr(cisp.experiment, "DRAWN", 8)
    network = rotations()
    found = measure(network, z=1, rng=6)
    once, again = (torch.cat([active for active, _ in seen[k::2]]).flatten() for k in (0, 1))
    assert once.tolist() == again.tolist() == list(range(20))
    assert set(found.errors.samples) == {20}
    assert set(found.circuits.samples) == {1}
    row = found.errors.query("layer == 1 and quantity == 'indicator' and circuits == 'inactive'")
    # an active circuit's neurons read alpha = 1, so an idle one sees <e_t|e_u>/S; float64
    squared = mean_squared_overlap(network.tables[0].numpy(), n=network.n)
    assert row.mse.item() == pytest.approx(squared, rel=1e-12)


def test_all_pairs_run_once(monkeypatch: pytest.MonkeyPatch, seen: list[Inputs]) -> None:
    monkeypatch.setattr(cisp.experiment, "DRAWN", 50)
    network = rotations()
    found = measure(network, z=2, samples="all", rng=6)
    once, again = ([torch.cat(parts) for parts in zip(*seen[k::2], strict=True)] for k in (0, 1))
    active, a0 = once
    assert sorted(map(sorted, active.tolist())) == list(map(list, combinations(range(20), 2)))
    assert set(found.circuits.samples) == {19}
    assert torch.equal(again[0], active)
    assert_same(found, brute(network, (active, a0), again=(active, again[1])))
    drawn = torch.cat([a0, again[1]])[..., 2]
    assert len(torch.unique(drawn)) == drawn.numel()  # lots draw afresh


@pytest.mark.parametrize(("z", "samples"), [(1, None), (2, "all"), (2, 150)])
def test_the_standard_error_is_the_spread_over_seeds_of_the_inputs(
    z: int, samples: int | Literal["all"] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cisp.experiment, "AGAIN", 60)  # of 190 pairs, 64 again
    network = rotations(L=3)
    runs = [measure(network, z=z, samples=samples, rng=seed).errors for seed in range(60)]
    spread = np.std([run.mse for run in runs], axis=0, ddof=1)
    stderr = np.mean([run.mse_stderr**2 for run in runs], axis=0) ** 0.5
    where = runs[0].quantity == "rotation"
    if samples != 150:  # indicators do not depend on the inputs
        assert stderr[~where].max() < 1e-8 > spread[~where].max()
    some = where & (spread > 1e-8)
    assert some.sum() >= 4
    # a spread over 60 seeds is known to 1/sqrt(118) = 9 %; heavy tails and 12 rows ask for more
    assert spread[some] / stderr[some] == pytest.approx(np.ones(some.sum()), abs=0.3)


def test_active_sets_are_uniform_over_all_pairs(seen: list[Inputs]) -> None:
    measured = measure(rotations(D=64, S=2, L=1), z=2, samples=20_000, rng=7)
    active = torch.cat([active for active, _ in seen])
    pairs = Counter(tuple(sorted(row)) for row in active.tolist())
    assert sum(pairs.values()) == 20_000
    assert len(pairs) == 190
    # a binomial share with p = 1/10 of 20,000 draws; four standard deviations
    neighbours = sum(pairs[t, t + 1] for t in range(19)) / 20_000
    assert abs(neighbours - 0.1) < 4 * (0.1 * 0.9 / 20_000) ** 0.5
    # chi-square with 189 degrees of freedom: mean 189, standard deviation sqrt(2 * 189)
    chi_square = sum((pairs[pair] - 20_000 / 190) ** 2 / (20_000 / 190) for pair in pairs)
    assert abs(chi_square - 189) < 4 * (2 * 189) ** 0.5
    # each of 20 circuits is in a tenth of the draws; four standard deviations
    times = measured.circuits.query("layer == 1 and quantity == 'rotation'").samples
    assert (abs(times - 2_000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5).all()
    assert times.sum() == 40_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_memory_does_not_grow_with_the_inputs() -> None:
    # VmHWM, since ru_maxrss of a child process starts at what its parent held
    code = """
import cisp, torch
def peak():
    return int(next(x for x in open("/proc/self/status") if x.startswith("VmHWM")).split()[1])
torch.set_num_threads(1)
network = cisp.superpose(cisp.conditional_rotations(T=20), D=72, S=3)
peaks = []
for samples in (12_000, 300_000):
    cisp.measure(network, z=2, samples=samples)
    peaks.append(peak())
print(peaks[1] - peaks[0])
"""
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, encoding="utf-8"
    )
    # active circuits and their a^0 alone, 48 bytes an input, would be 14 MB; all read-outs 460 MB.
    # Seen: below 1 MB
    assert int(printed.stdout) < 7_000  # kB


KEYS = ["z", "layer", "quantity", "circuits"]


def figures(seed: int) -> pd.Series:
    """What the reference file holds, from a network of ours."""
    angles, dealing, inputs = np.random.default_rng(seed).spawn(3)
    network = superpose(conditional_rotations(T=557, rng=angles), D=1000, S=6, rng=dealing)
    found = []
    for z in (1, 2, 3):
        measured = measure(network, z=z, samples=None if z == 1 else 557, rng=inputs)
        blocks = "block" + measured.activity.block.astype(str)
        activity = measured.activity.assign(
            quantity=blocks, circuits="all", mse=lambda x: x.fraction
        )
        found += [table.set_index(KEYS).mse for table in (measured.errors, activity)]
    return pd.concat(found).sort_index()


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|difference of means| over seeds (axis 1), in its standard errors.

    The file keeps six decimals, so 1e-6 is added to these: equal zeros are at distance 0.
    """
    spread = ((one.var(1, ddof=1) + other.var(1, ddof=1)) / one.shape[1]) ** 0.5
    return abs(one.mean(1) - other.mean(1)) / (spread + 1e-6)


def test_errors_and_activity_agree_with_the_posts_own_code() -> None:
    file = HERE / "data" / "reference_figures_5_to_7.csv"
    reference = pd.read_csv(file, comment="#").query("statistic != 'worst'")
    theirs = reference.pivot(index=KEYS, columns="seed", values="value").sort_index()
    ours = pd.concat([figures(seed) for seed in range(5)], axis=1)
    assert ours.index.equals(theirs.index)
    assert len(ours) == 120
    actual = distances(ours.to_numpy(), theirs.to_numpy())
    # Student's t with 8 degrees of freedom exceeds 7.1 in 1e-4 of cases; 120 of them: 1.2e-2
    assert actual.max() < 7.1
    # were all ten runs of one kind, ours and theirs would be any of the 126 splits into fives;
    # a bias shows as a median distance that few splits reach, however the 120 depend on another
    both = np.concatenate([ours, theirs], axis=1)
    splits = [[0, *rest] for rest in combinations(range(1, 10), 4)]
    medians = [np.median(distances(both[:, k], np.delete(both, k, 1))) for k in splits]
    assert np.mean(medians >= np.median(actual)) > 0.05


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("progress", [None, False, True])
def test_a_bar_is_shown_on_terminals_or_if_asked_for(
    progress: bool | None,
    terminal: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    measure(rotations(), z=1, progress=progress)
    sweep([cell(T=10)], progress=progress)
    printed = capsys.readouterr()
    assert printed.out == ""
    shown = terminal if progress is None else progress
    assert ("20/20" in printed.err, "1/1" in printed.err) == (shown, shown)
    assert shown or printed.err == ""


def cell(*, T: int, D: int = 120, S: int = 3, z: int = 1, seed: int = 0) -> dict[str, int]:
    return {"T": T, "D": D, "S": S, "z": z, "seed": seed}


CELLS = [cell(T=T, seed=T % 3) for T in (15, 11, 14, 10, 13, 12)]


def assert_same_sweep(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(as_lists(one), as_lists(other))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where cells log their starts."""
    made = tmp_path / "starts"
    made.mkdir()
    return made


@pytest.fixture
def memory(tmp_path: Path) -> joblib.Memory:
    return joblib.Memory(tmp_path / "memory", verbose=0)


@pytest.mark.parametrize("table", ["errors", "activity", "circuits"])
def test_a_sweep_is_one_tidy_table_in_the_order_of_its_cells(
    table: Literal["errors", "activity", "circuits"],
) -> None:
    grid = [cell(T=20, z=2, seed=1), cell(T=10), cell(T=20, z=3, D=80, S=2), cell(T=20, z=2)]
    frame = sweep(iter(grid), samples=30, L=2, table=table)
    assert list(frame.columns[:5]) == ["T", "D", "S", "z", "seed"]
    assert not frame.columns.duplicated().any()
    found = frame[list(grid[0])].drop_duplicates()
    assert found.to_dict("records") == grid
    for place, one in zip(found.index, grid, strict=True):
        angles, dealing, inputs = np.random.default_rng(one["seed"]).spawn(3)
        circuits = conditional_rotations(T=one["T"], rng=angles)
        network = superpose(circuits, D=one["D"], S=one["S"], L=2, rng=dealing)
        alone = getattr(measure(network, z=one["z"], samples=30, rng=inputs), table)
        alone = alone.drop(columns="worst_a0", errors="ignore").assign(**one)
        part = frame.iloc[place : place + len(alone)].reset_index(drop=True)
        pd.testing.assert_frame_equal(part[alone.columns], alone)


def by_hand(*, T: int, n: int, S: int) -> np.ndarray:
    """No position is shared; prime_steps would place each circuit side by side."""
    return np.arange(T * S).reshape(S, T).T


def steps(*, T: int, rng: np.random.Generator) -> SmallCircuits:
    return step_indicators(T=T)


def test_a_sweep_makes_allocates_and_runs_as_it_is_told() -> None:
    def run(network: Network, **options: Any) -> Measurement:
        placed.append(sorted(network.tables[0].tolist()))
        return measure_masked(network, **options)

    placed: list[list[list[int]]] = []
    apart = sweep([cell(T=10)], make=steps, allocate=by_hand, run=run)
    assert placed == [by_hand(T=10, n=60, S=3).tolist()]
    assert set(apart.quantity) == {"indicator"}
    assert (apart.worst == 0).all()
    assert (sweep([cell(T=100)], make=steps).worst > 0).any()


@pytest.fixture
def two_processes() -> Iterator[None]:
    with joblib.parallel_config(n_jobs=2):
        yield
    joblib.externals.loky.get_reusable_executor().shutdown()


def test_a_sweep_over_processes_gives_the_same_table(folder: Path, two_processes: None) -> None:
    run = partial(cells.logged, folder=folder)
    over_two = sweep(CELLS, run=run)
    processes = {process for _, process in cells.starts(folder)}
    assert os.getpid() not in processes
    with joblib.parallel_config(n_jobs=1):
        assert_same_sweep(over_two, sweep(CELLS))


def test_finished_cells_are_remembered(
    folder: Path, memory: joblib.Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(cells.logged, folder=folder)
    grid = [cell(T=10), cell(T=10, seed=1), cell(T=10, z=2)]
    first = sweep(grid, samples=20, run=run, memory=memory)
    assert len(cells.starts(folder)) == 3
    assert_same_sweep(first, sweep(grid, samples=20))
    assert_same_sweep(first, sweep(grid, samples=20, run=run, memory=memory))
    sweep(grid[::-1], samples=20, run=run, memory=memory, table="circuits")
    assert len(cells.starts(folder)) == 3

    every_key = dict(samples=20, run=run, memory=memory)
    for change in ({"T": 11}, {"D": 124}, {"S": 2}, {"z": 3}, {"seed": 2}):
        sweep([{**grid[0], **change}], **every_key)
    for option in ({"samples": 21}, {"L": 4}, {"make": steps}, {"allocate": by_hand}):
        sweep(grid[:1], **{**every_key, **option})
    assert len(cells.starts(folder)) == 12
    monkeypatch.setattr(cisp.keys, "digest", lambda *_: "other source")
    sweep(grid[:1], **every_key)
    assert len(cells.starts(folder)) == 13


def test_finished_cells_survive_an_interrupt(folder: Path, memory: joblib.Memory) -> None:
    run = partial(cells.interrupted, folder=folder, start=3)
    with pytest.raises(KeyboardInterrupt):
        sweep(CELLS, run=run, memory=memory)
    assert len(cells.starts(folder)) == 3
    resumed = sweep(CELLS, run=run, memory=memory)
    assert Counter(T for T, _ in cells.starts(folder)) == Counter([15, 11, 14, 14, 10, 13, 12])
    assert_same_sweep(resumed, sweep(CELLS))


def test_an_interrupt_ends_a_run_with_the_batch_that_is_under_way() -> None:
    """A lot here is 4096 inputs, each of which takes a hundredth of a second."""
    network, ran = rotations(), []

    def slow(A0: Tensor) -> list[Tensor]:
        ran.append(len(A0))
        if len(ran) == 3:
            raise KeyboardInterrupt
        time.sleep(0.01)
        return [A0] * network.L

    with pytest.raises(KeyboardInterrupt):
        measure(network, z=1, samples=10**4, batch=1, model=slow)
    assert len(ran) < 100


def when_started(folder: Path, start: int, then: Callable[[int], None]) -> None:
    """Call `then` with the process of a new start once there are so many, then let all go."""
    for _ in range(6000):
        if len(list(folder.iterdir())) >= start:
            break
        time.sleep(0.01)
    newest = max(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    then(int(newest.name.split("-")[1]))
    folder.with_name("go").touch()


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def test_a_killed_sweep_resumes_where_it_was(folder: Path, tmp_path: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
from functools import partial
from pathlib import Path
import cells, cisp, joblib
run = partial(cells.held, folder=Path({str(folder)!r}), start=3)
memory = joblib.Memory({str(tmp_path / "memory")!r}, verbose=0)
cisp.sweep({CELLS}, run=run, memory=memory).to_pickle({str(tmp_path / "found")!r})
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        when_started(folder, 3, kill)
    assert process.returncode == -signal.SIGKILL
    assert len(cells.starts(folder)) == 3
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Counter(T for T, _ in cells.starts(folder)) == Counter([15, 11, 14, 14, 10, 13, 12])
    assert_same_sweep(pd.read_pickle(tmp_path / "found"), sweep(CELLS))


def test_a_sweep_outlives_a_worker_of_its_cluster(folder: Path) -> None:
    run = partial(cells.held, folder=folder, start=4)
    with cells.cluster():
        killer = Thread(target=when_started, args=(folder, 4, kill))
        killer.start()
        found = sweep(CELLS, run=run)
        killer.join()
    assert len({process for _, process in cells.starts(folder)}) >= 2
    assert len(cells.starts(folder)) > len(CELLS)  # what the killed worker held ran again
    assert_same_sweep(found, sweep(CELLS))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("run", [measure, measure_masked])
def test_on_cuda_the_statistics_are_the_same(run: Callable[..., Measurement]) -> None:
    network = rotations()
    assert_same(
        run(network, z=2, samples=100, device="cuda", batch=30), run(network, z=2, samples=100)
    )
    assert not network.w.is_cuda


def test_a_control_with_more_overlap_can_be_swept() -> None:
    cell = {"T": 40, "D": 80, "S": 3, "z": 1, "seed": 0}
    with pytest.raises(ValueError, match="at most max_overlap=1 are allowed"):
        cisp.sweep([cell], allocate=cisp.random_subsets)
    assert len(cisp.sweep([cell], allocate=cisp.random_subsets, max_overlap=3))


def test_where_errors_are_nan_the_rows_stay() -> None:
    circuits = cisp.one_relu_rotations(T=20, theta=torch.ones(20))
    found = cisp.measure(cisp.superpose(circuits, D=60, S=3, L=200), z=5, samples=20).errors
    assert len(found) == 200 * 2 * 2
    assert found.mse.isna().any()
    assert (found.worst.isna() == (found.worst_circuit == -1)).all()
    assert (found.worst.isna() == found.mse.isna()).all()


def test_with_all_circuits_active_none_is_reported_as_inactive() -> None:
    network = cisp.superpose(cisp.conditional_rotations(T=5), D=80, S=3, L=2)
    assert set(cisp.measure(network, z=5, samples=4).errors.circuits) == {"active"}


def test_half_precision_sums_do_not_overflow() -> None:
    network = superpose(conditional_rotations(T=557), D=1000, S=6)
    both = (network, deepcopy(network).half())
    full, half = (measure(n, z=3, samples=1000, batch=1000) for n in both)
    assert np.isfinite(half.errors.mse).all()
    late = full.errors.layer == 5  # other roundings, the same law
    np.testing.assert_allclose(half.errors.mse[late], full.errors.mse[late], rtol=0.2)
    np.testing.assert_allclose(half.activity.fraction, full.activity.fraction, rtol=0.1)


def test_a_second_measure_waits_so_that_torch_keeps_its_threads() -> None:
    network = superpose(conditional_rotations(T=20), D=72, S=3)
    threads = torch.get_num_threads()

    parts: Iterator[Any] = iter(range(9))
    first = cisp.experiment._in_threads(lambda lot: lot, parts, Event())  # type: ignore[arg-type, return-value]
    next(first)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(measure, network, z=1)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.5)
        list(first)
        second.result()
        assert pool.submit(torch.get_num_threads).result() == threads


def test_errors_that_are_nan_for_some_inputs_do_not_depend_on_the_batch() -> None:
    w = torch.full((6, 1, 1), 0.5)
    w[2] = 1e25  # its activations pass float32 in three layers
    network = superpose(SmallCircuits(w=w, b=torch.tensor([-0.1])), D=12, S=2, L=3)
    alone, together = (measure(network, z=1, samples=40, batch=b).errors for b in (1, 40))
    assert alone.mse.isna().any()
    pd.testing.assert_series_equal(alone.worst, together.worst)
    pd.testing.assert_series_equal(alone.worst_circuit, together.worst_circuit)


def test_errors_that_are_always_the_same_have_a_standard_error_of_0() -> None:
    network = cisp.superpose(cisp.step_indicators(T=3), D=12, S=2, L=1)
    for samples in range(2, 40):
        tally = cisp.tally.Tally(network, 1)
        for _ in range(samples):  # mean square and squared mean differ by rounding, either way
            tally.samples += 1
            tally.sums += 0.1
            tally.squares += 0.1 * 0.1
        tally.worst[:] = 0.1
        tally.where = {key: (0, torch.zeros(1), torch.zeros(1, 2)) for key in np.ndindex(1, 1, 2)}
        assert (tally.result().errors.mse_stderr < 1e-8).all()  # not nan


FORKED = """
import os, signal, sys, threading, time
import cisp, torch

torch.set_num_threads(4)
network = cisp.superpose(cisp.conditional_rotations(T=557), D=1000, S=6, L=2)
A0 = network.embed(*network.sample(batch=200, z=2)[::-1])
network(A0)  # torch has used its threads
measuring = threading.Event()

def run():
    while True:
        cisp.measure(network, z=1, progress=False)
        measuring.set()

if {during}:
    threading.Thread(target=run, daemon=True).start()
    measuring.wait()
child = os.fork()
if not child:
    signal.alarm(60)  # ends a child that waits for ever
    network(A0)
    cisp.measure(network, z=2, samples=10)
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("during", [False, True])
def test_a_fork_computes_even_one_made_while_another_thread_measures(during: bool) -> None:
    script = FORKED.format(during=during)
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
