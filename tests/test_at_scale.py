"""The studies of wide networks do what the narrow ones do, on networks that both can run."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import cisp
from cisp import worst

BOOK = Path(__file__).parent.parent / "book"


@pytest.fixture
def exponent(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("cisp_book.studies.exponent")


@pytest.fixture
def narrow(exponent: ModuleType) -> ModuleType:
    return importlib.import_module("cisp_book.studies.critical")


@pytest.fixture
def at_scale(exponent: ModuleType) -> ModuleType:
    return importlib.import_module("cisp_book.studies.frontier_at_scale")


@pytest.mark.parametrize("name", ["prime steps", "design"])
@pytest.mark.parametrize("z", [1, 3])
def test_permutations_of_one_table_are_as_good_as_tables_dealt_anew(
    exponent: ModuleType, narrow: ModuleType, name: str, z: int
) -> None:
    T, D, S, samples = 450, 1000, 6, 40
    place = exponent.placed(T + 60, (D, S, z, name))  # its first T rows are the table
    found = exponent.errors_of(place, T, z, samples, np.random.default_rng(3))
    rng = np.random.default_rng(3)  # the same draws
    active = [rng.choice(T, z, replace=False, shuffle=False) for _ in range(samples)]
    row = np.arange(T)  # of each circuit in the table
    tables = [place.table[row]]
    for _ in range(exponent.L - 1):
        row = rng.permutation(T)[row]
        tables.append(place.table[row])
    wanted = narrow.active_errors(np.array(tables).astype(int), np.array(active), n=D // 4)
    assert wanted.max() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["prime steps", "design"])
def test_the_first_rows_of_a_larger_table_are_the_smaller(exponent: ModuleType, name: str) -> None:
    line = 1000, 6, 1, name
    few, more = exponent.placed(300, line), exponent.placed(480, line)
    np.testing.assert_array_equal(few.table, more.table[:300])
    for p in (0, 7, 249):
        some = few.circuits[few.starts[p] : few.starts[p + 1]]
        every = more.circuits[more.starts[p] : more.starts[p + 1]]
        np.testing.assert_array_equal(some, every[: len(some)])
        assert (more.table[every] == p).any(1).all()


def test_the_critical_line_is_that_of_the_narrow_study(exponent: ModuleType) -> None:
    found, stderr = exponent.critical((1000, 4, 1, "design"), 12, 500)
    # 473 +- 3 by `critical_lines`, of other networks
    assert abs(found - 473) < 4 * np.hypot(stderr, 3)
    assert stderr < 15


def test_a_line_that_ends_before_it_is_critical_has_no_critical_T(exponent: ModuleType) -> None:
    assert np.isnan(exponent.critical((1000, 8, 1, "prime steps"), 4, 50)).all()


def test_the_extrinsic_network_is_that_of_the_frontier(at_scale: ModuleType) -> None:
    frontier = importlib.import_module("cisp_book.studies.frontier")
    ours, checked = (make(60, 400, 2, 5) for make in (at_scale.extrinsic, frontier.extrinsic))
    for layer in (1, 2, 5):
        assert torch.equal(ours.W(layer), checked.W(layer))
        assert torch.equal(ours.B(layer), checked.B(layer))


@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("seized", [False, True])
def test_the_quick_engine_gives_the_same_errors(first: int, seized: bool) -> None:
    circuits = cisp.conditional_rotations(T=90, rng=0, dtype=torch.float64)
    network = cisp.superpose(circuits, D=200 if seized else 1000, S=3, rng=0)
    target = worst._target(network, None, first, inputs=10**9)
    assert target.quick is not None
    (lot,) = worst._drawn(network, 2, 200, np.random.default_rng(0))
    with torch.no_grad():
        found, wanted = target.largest(*lot), target.errors(*lot).amax((0, 2))
    assert wanted.max() > 1e-4
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-20)  # sums in another order


def test_read_outs_of_each_circuits_own_are_read_by_the_quick_engine_too() -> None:
    rng = torch.Generator().manual_seed(0)
    w, own = (torch.randn(60, k, 2, generator=rng, dtype=torch.float64) for k in (2, 1))
    circuits = cisp.SmallCircuits(
        w=w / 4, b=torch.zeros(2, dtype=torch.float64), L=3, readouts={"own": own}
    )
    network = cisp.superpose(circuits, D=240, S=3, L=3, rng=0)
    target = worst._target(network, None, 1, inputs=10**9)
    assert target.quick is not None
    (lot,) = worst._drawn(network, 2, 100, np.random.default_rng(0))
    with torch.no_grad():
        found, wanted = target.largest(*lot), target.errors(*lot).amax((0, 2))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-20)
