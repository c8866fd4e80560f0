"""Compiled loops against ordinary passes and dense weights, asleep, waking and in seizure."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import cisp.awake
import cisp.kernels
from cisp import (
    Measurement,
    Network,
    SmallCircuits,
    conditional_rotations,
    errors,
    gated,
    measure,
    measure_masked,
    superpose,
    superpose_extrinsic,
    transversal_design,
)
from cisp.allocation import random_subsets
from cisp.wiring import Dealt, Extrinsic

Measure = Callable[..., Measurement]


def rotations(T: int, D: int, S: int, **more: object) -> Network:
    circuits = conditional_rotations(T=T, rng=1, dtype=torch.float64)
    return superpose(circuits, D=D, S=S, L=4, rng=2, **more)  # type: ignore[arg-type]


def crossing(*, T: int, n: int, S: int) -> np.ndarray:
    """Sets that share any number of positions."""
    return random_subsets(T=T, n=n, S=S, rng=3)


def woken_by_bias() -> Network:
    """Other weights and biases in each layer; some biases alone wake a neuron, everywhere."""
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(3, 15, 3, 3)) / 3**0.5, rng.normal(size=(3, 3)) / 4
    return superpose(SmallCircuits(w=torch.from_numpy(w), b=torch.from_numpy(b)), D=60, S=3)


def by_block() -> Network:
    """chi differs by block."""
    network = rotations(60, 200, 4)
    chi = network.chi[:, None] * torch.tensor([1.0, 0.7, 1.3, 0.9], dtype=torch.float64)
    return Network(network.circuits, Dealt(network.tables, chi, n=network.n))


def own_readouts() -> Network:
    """Six neurons, circuits of their own, each with a read-out of its own."""
    rng = np.random.default_rng(4)
    w, b = rng.normal(size=(3, 30, 3, 3)), rng.normal(size=(3, 30, 3)) / 3
    circuits = gated(torch.from_numpy(w) / 2, torch.from_numpy(b))
    maps = torch.from_numpy(rng.normal(size=(30, 2, circuits.d)))
    return superpose(replace(circuits, readouts={"state": maps}), D=60 * circuits.d, S=3, rng=5)


NETWORKS: dict[str, Callable[[], Network]] = {
    "calm": partial(rotations, 40, 800, 4),
    "waking": partial(rotations, 60, 280, 4),
    "in seizure": partial(rotations, 80, 160, 4, allocate=transversal_design),
    "random sets": partial(rotations, 30, 120, 3, allocate=crossing, max_overlap=3),
    "chi by block": by_block,
    "woken by bias": woken_by_bias,
    "own read-outs": own_readouts,
    "extrinsic": lambda: superpose_extrinsic(
        conditional_rotations(T=90, rng=0, dtype=torch.float64), D=240, S=4, L=4, silence="auto"
    ),
}


@pytest.fixture(params=["by input", "together"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All work in compiled loops, of one kind after the first inputs."""
    monkeypatch.setattr(cisp.awake, "WORTH", -1)
    cost = 0.0 if request.param == "by input" else np.inf
    monkeypatch.setattr(cisp.awake, "ALONE", cost)


def ordinary(run: Measure, network: Network, **how: object) -> Measurement:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cisp.awake, "WORTH", np.inf)
        return run(network, **how)


def assert_same(found: Measurement, expected: Measurement, eps: float = 1e-16) -> None:
    """To rounding in steps of eps: errors are squared, a variance is a difference of squares."""
    for name, column, atol in (
        ("errors", "mse", 1e3 * eps),
        ("errors", "mse_stderr", 10 * eps**0.5),
        ("errors", "worst", 10 * eps**0.5),
        ("activity", "fraction", 1e4 * eps),
        ("circuits", "mse", 1e3 * eps),
    ):
        one, other = (getattr(m, name)[column] for m in (found, expected))
        pd.testing.assert_series_equal(one, other, rtol=max(1e-8, 1e4 * eps), atol=atol)
    pd.testing.assert_series_equal(found.errors["samples"], expected.errors["samples"])


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("z", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_loops_give_the_tables_of_the_ordinary_passes(name: str, z: int) -> None:
    network = NETWORKS[name]()
    how: dict[str, Any] = {"z": z, "samples": 300, "rng": 6}
    assert_same(measure(network, **how), ordinary(measure, network, **how))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_loops_give_the_tables_of_masked_passes(name: str) -> None:
    network = NETWORKS[name]()
    how: dict[str, Any] = {"z": 2, "samples": 150, "rng": 6}
    assert_same(measure_masked(network, **how), ordinary(measure_masked, network, **how))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["waking", "in seizure", "extrinsic", "woken by bias"])
def test_compiled_loops_give_what_dense_weights_give(name: str) -> None:
    network = NETWORKS[name]()
    dense = network.to_dense(activations=True)
    how: dict[str, Any] = {"z": 2, "samples": 150, "rng": 7}
    assert_same(measure(network, **how), ordinary(measure, network, model=dense, **how))


@pytest.mark.usefixtures("compiled")
def test_every_set_once_and_a_changing_z_go_the_same_way() -> None:
    network = NETWORKS["waking"]()
    every: list[dict[str, Any]] = [
        {"z": 1},
        {"z": 60, "samples": 20},
        {"z": {1: 0.5, 3: 0.5}, "samples": 200},
    ]
    for how in every:
        assert_same(measure(network, **how), ordinary(measure, network, **how))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["waking", "extrinsic"])
def test_the_worst_cases_are_replayed(name: str) -> None:
    network = NETWORKS[name]()
    for row in measure(network, z=2, samples=300).errors.itertuples():
        active = torch.tensor([row.worst_active])
        a0 = torch.from_numpy(row.worst_a0)[None]
        A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
        delta = errors(network, A, a, active, row.layer)[row.quantity][0, row.worst_circuit]
        assert float(delta.norm()) == pytest.approx(row.worst, rel=1e-9)
        assert (row.worst_circuit in row.worst_active) == (row.circuits == "active")


@pytest.mark.usefixtures("compiled")
def test_single_precision_differs_by_its_rounding() -> None:
    circuits = conditional_rotations(T=60, rng=1)
    network = superpose(circuits, D=280, S=4, L=4, rng=2)
    how: dict[str, Any] = {"z": 2, "samples": 300}
    assert_same(measure(network, **how), ordinary(measure, network, **how), eps=6e-8)


@pytest.mark.usefixtures("compiled")
def test_nan_and_overflow_are_not_taken_for_sleep() -> None:
    circuits = conditional_rotations(T=60, rng=1, dtype=torch.float64)
    network = superpose(replace(circuits, w=circuits.w * 1e200), D=280, S=4, L=4, rng=2)
    found = measure(network, z=2, samples=40).errors
    expected = ordinary(measure, network, z=2, samples=40).errors
    assert expected["mse"].isna().any()
    assert found["mse"].isna().equals(expected["mse"].isna())


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["waking", "extrinsic"])
def test_each_fact_of_a_layer_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer without what positions send to all, or with one position forgotten, is seen."""
    network = NETWORKS[name]()
    right, facts = measure(network, z=3, samples=100), cisp.awake._facts
    for part in ("G", "N", "M"):
        if part == "G" and name == "extrinsic":
            continue  # nothing is sent to all

        def without(network: Network, maps: Tensor, rows: list[slice], part: str = part) -> object:
            found = facts(network, maps, rows)
            return replace(found, **{part: getattr(found, part) * 0})

        monkeypatch.setattr(cisp.awake, "_facts", without)
        with pytest.raises(AssertionError):
            assert_same(measure(network, z=3, samples=100), right)


def test_the_way_follows_what_the_network_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cisp.awake, "WORTH", -1)
    calls: list[str] = []

    def noted(name: str, run: Callable[..., Any], *arrays: Any) -> Any:
        calls.append(name)
        return run(*arrays)

    for name in ("by_input", "together"):
        monkeypatch.setattr(cisp.kernels, name, partial(noted, name, getattr(cisp.kernels, name)))
    measure(superpose(conditional_rotations(T=100), D=4000, S=4, L=3), z=1, samples=500)
    assert set(calls) == {"by_input"}
    calls.clear()
    measure(NETWORKS["in seizure"](), z=1, samples=500)
    assert calls[0] == "by_input"
    assert set(calls[1:]) == {"together"}


@pytest.mark.usefixtures("compiled")
def test_a_network_with_parameters_is_measured_as_without() -> None:
    network = NETWORKS["waking"]()
    assert_same(measure(network.trainable(), z=1), measure(network, z=1))


@pytest.mark.usefixtures("compiled")
def test_what_a_hook_or_another_module_makes_of_a_layer_counts() -> None:
    network = NETWORKS["waking"]()
    handle = network.layers[0].register_forward_hook(lambda module, given, found: found * 0)
    assert measure(network, z=1).errors.query("layer == 1 and circuits == 'active'").mse.min() > 0.5
    handle.remove()
    network.layers[2] = torch.nn.Identity()
    assert_same(measure(network, z=1), ordinary(measure, network, z=1))


def stored_otherwise(network: Network) -> Network:
    """The same tables, laid out last axis first."""
    tables = network.tables.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    return Network(network.circuits, Dealt(tables, network.chi, n=network.n))


def one_layer_alike() -> Network:
    """Extrinsic, weights by layer, those of one layer the same in all circuits."""
    w = torch.rand(4, 16, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    w[2] = torch.eye(2)
    table = torch.from_numpy(transversal_design(T=16, n=30, S=4))
    circuits = SmallCircuits(w=w, b=torch.full((2,), -0.3).double())
    return Network(circuits, Extrinsic(table.expand(4, -1, -1), n=30))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    "make", [lambda: stored_otherwise(NETWORKS["in seizure"]()), one_layer_alike]
)
def test_however_a_network_is_stored_it_is_run(make: Callable[[], Network]) -> None:
    network = make()
    assert_same(measure(network, z=2, samples=90), ordinary(measure, network, z=2, samples=90))


@pytest.mark.usefixtures("compiled")
def test_more_positions_than_sixteen_bits_count_are_told_apart() -> None:
    network = rotations(60, 4 * 70_000, 4, allocate=crossing)
    assert bool((network.tables >= 2**16).any())
    how: dict[str, Any] = {"z": 30, "samples": 20}
    assert_same(measure(network, **how), ordinary(measure, network, **how))


@pytest.mark.usefixtures("compiled")
def test_a_network_on_the_cpu_is_run_whatever_the_default_device() -> None:
    network = NETWORKS["waking"]()
    expected = measure(network, z=1)
    with torch.device("meta"):
        assert_same(measure(network, z=1), expected)


def test_little_work_and_half_precision_go_the_ordinary_way() -> None:
    network = NETWORKS["waking"]()
    tally = cisp.tally.Tally(network, 2)
    assert cisp.awake.awake(network, tally.maps, tally.rows, 100) is None
    assert cisp.awake.awake(network, tally.maps, tally.rows, 10**7) is not None
    half = superpose(network.circuits.to(torch.bfloat16), D=280, S=4, L=4)
    assert cisp.awake.awake(half, tally.maps, tally.rows, 10**7) is None


def test_importing_the_package_compiles_nothing() -> None:
    code = "import sys, cisp; print(sorted({'numba', 'llvmlite'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.split() == [b"[]"]


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []

    def njit(*, cache: bool = False, **_: object) -> Callable[..., object]:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(cisp.kernels, "njit", njit)
    assert cisp.kernels.compiled(len) is len
    assert asked == [True, False]
