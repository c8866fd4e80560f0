"""What several chapters build and measure, against the package or a few lines of its own."""

import importlib
from itertools import combinations
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

import cisp
from cisp import theory

BOOK = Path(__file__).parent.parent / "book"


@pytest.fixture
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module(f"cisp_book.{request.param}")


in_measured = pytest.mark.parametrize("page", ["measured"], indirect=True)
in_networks = pytest.mark.parametrize("page", ["networks"], indirect=True)


def small() -> cisp.Network:
    circuits = cisp.conditional_rotations(T=12, rng=1, dtype=torch.float64)
    return cisp.superpose(circuits, D=96, S=3, L=3, rng=2)


@in_measured
def test_the_error_of_active_circuits_is_that_of_the_measurement(page: ModuleType) -> None:
    network = small()
    for z, quantity, samples in ((1, "rotation", None), (2, "indicator", 40)):
        found = page.active_error(network, z, quantity, samples=40)
        whole = cisp.measure(network, z=z, samples=samples, rng=3).errors
        whole = whole.query(f"quantity == '{quantity}' and circuits == 'active'")
        assert found.mse.tolist() == whole.mse.tolist()
        assert found.worst.tolist() == whole.worst.tolist()
        assert found.index.tolist() == [1, 2, 3]
    last = page.active_error(network, 2, samples=40)
    assert last.equals(page.active_error(network, 2, "rotation", samples=40))


@in_measured
def test_the_error_with_dense_weights_is_the_networks_own_where_none_are_given(
    page: ModuleType,
) -> None:
    network = small()
    own = page.active_error(network, 2, samples=40).mse
    # another order of sums of 96 products, in float64
    assert page.dense_error(network, {}, 2, samples=40) == pytest.approx(own, rel=1e-9)
    silent = {3: torch.zeros(96, 96, dtype=torch.float64)}
    found = page.dense_error(network, silent, 2, samples=40)
    assert found[:2] == pytest.approx(own[:2], rel=1e-9)
    assert found[2] == pytest.approx(1)  # nothing is read of vectors of length 1


@in_measured
def test_a_linear_run_lets_through_what_the_relu_cuts_on_active_positions_only(
    page: ModuleType,
) -> None:
    network = small()
    active, a0 = network.sample(batch=40, z=2, rng=3)
    expected, rows = network.embed(a0, active), network.tables[0].tolist()
    found = page.dense_error(network, {}, 2, samples=40, linear=True)
    for layer in range(1, 4):
        expected = (expected.flatten(1) @ network.W(layer).T + network.B(layer)).view(40, 4, 24)
        for k, circuits in enumerate(active.tolist()):
            on = {p for t in circuits for p in rows[t]}
            for p in range(24):
                cut = slice(2 if p in on else 4)  # the indicator's neurons, or all four
                expected[k, cut, p] = expected[k, cut, p].relu()
        delta = network.readout(expected, layer)
        true = network.circuits.run(a0, active)[layer]
        each = [delta[k, t] - true[k, j] for k in range(40) for j, t in enumerate(active[k])]
        x = network.circuits.quantities(torch.stack(each))["rotation"]
        assert found[layer - 1] == pytest.approx(x.square().sum(-1).mean().item(), rel=1e-9)


@in_measured
def test_vectors_and_estimates_are_of_the_first_active_circuit(page: ModuleType) -> None:
    network = small()
    active, a0 = network.sample(batch=5, z=2, rng=3)
    A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    x, x_hat = page.true_and_read(network, A, a, active)
    assert np.isnan(x_hat[0]).all()
    for layer in range(1, 4):
        delta = cisp.errors(network, A, a, active, layer)["rotation"][range(5), active[:, 0]]
        # the same sums in another order
        assert x_hat[layer] - x[layer] == pytest.approx(delta.numpy(), abs=1e-12)


@in_measured
@pytest.mark.parametrize("z", [2, 3, 4])
def test_the_squared_sum_over_others_is_the_mean_over_all_their_choices(
    page: ModuleType, z: int
) -> None:
    h = np.random.default_rng(0).normal(size=(6, 6))
    squares = [
        h[t, list(some)].sum() ** 2
        for t in range(6)
        for some in combinations(sorted({*range(6)} - {t}), z - 1)
    ]
    assert page.of_random_others(h, z) == pytest.approx(np.mean(squares))


@in_networks
def test_without_its_check_the_extrinsic_network_is_the_same(page: ModuleType) -> None:
    circuits = cisp.conditional_rotations(T=9, rng=1, bias=2)
    checked = cisp.superpose_extrinsic(circuits, D=96, S=3, L=3, rng=2)
    table, circuits = checked.tables[0].numpy(), circuits.with_layers(3)
    bare = page.unchecked(circuits, table, D=96)
    for layer in (2, 3):
        assert torch.equal(bare.W(layer), checked.W(layer))
    assert not page.unchecked(circuits, table, D=96, w_mean=torch.zeros(4, 4)).shared(2).any()


@in_networks
def test_on_a_design_the_weights_are_those_of_c14_1(page: ModuleType) -> None:
    circuits = cisp.conditional_rotations(T=9, rng=1, bias=2, dtype=torch.float64).with_layers(3)
    network = page.on_design(circuits, D=96, S=3)
    e = torch.from_numpy(cisp.vectors(cisp.transversal_design(T=9, n=24, S=3), n=24))
    wanted = torch.kron(circuits.w_mean, torch.eye(24))
    for t in range(9):
        others = torch.outer(e[t], e[t]) - torch.diag(e[t])
        wanted = wanted + torch.kron(circuits.delta_w[t], others) / 2
    assert network.W(2) == pytest.approx(wanted, abs=1e-15)  # sums in another order
    assert not page.on_design(circuits, D=96, S=3, w_mean=torch.zeros(4, 4)).shared(2).any()


@in_networks
def test_a_rotation_network_has_its_angles_and_its_dealing_from_one_seed(page: ModuleType) -> None:
    found = page.rotation_network(12, 96, 4, S=3, L=2)
    circuits = cisp.conditional_rotations(T=12, rng=4, dtype=torch.float64)
    assert torch.equal(found.w, circuits.w)
    assert torch.equal(found.tables, cisp.superpose(circuits, D=96, S=3, L=2, rng=104).tables)
    assert not page.rotation_network(12, 96, S=3, w_mean=torch.zeros(4, 4)).w_mean.any()


@pytest.mark.parametrize("page", ["post"], indirect=True)
def test_each_row_is_predicted_by_the_formula_of_its_quantity_and_circuits(
    page: ModuleType,
) -> None:
    rows = [
        (q, c, 300, 1000, 2, 3) for q in ("indicator", "rotation") for c in ("active", "inactive")
    ]
    table = pd.DataFrame(rows, columns=["quantity", "circuits", "T", "D", "z", "layer"])
    for row, found in zip(rows, page.predicted(table, d=4, S=6), strict=True):
        formula = getattr(theory, f"mse_{row[0]}_{row[1]}")
        assert found == formula(T=300, D=1000, d=4, S=6, z=2, layer=3)


@pytest.mark.parametrize("page", ["claims"], indirect=True)
def test_a_table_is_shown_to_two_digits_and_its_rounding_as_0(
    page: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    page.show_table(pd.DataFrame({"a": [0.0123, -1e-25], "b": [-4.56, 1e-19]}))
    shown = [line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]]
    assert shown == [["0.012", "-4.6"], ["0", "1e-19"]]


@pytest.mark.parametrize("page", ["claims"], indirect=True)
def test_a_table_for_display_has_two_digits_and_its_rounding_as_0(page: ModuleType) -> None:
    found = page.two_digits(pd.DataFrame({"a": [0.0123, -1e-25], "b": [182.3, 1e-19]}))
    assert found.to_numpy().tolist() == [["0.012", "180"], ["0", "1e-19"]]
