"""Training beside the hand-coded network, and what is said of the code that it leaves."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

import cisp

DATA = Path(__file__).parent.parent / "src/cisp_book/data"
SIZES = {"T": 40, "D": 96, "S": 3, "L": 3}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("cisp_book.studies.learning")


@pytest.fixture
def network(page: ModuleType) -> Iterator[cisp.Network]:
    torch.set_default_dtype(torch.float64)
    yield page.hand_coded(0, **SIZES)
    torch.set_default_dtype(torch.float32)


def test_the_task_is_half_of_one_and_half_of_two_circuits_with_the_oracles_vectors(
    page: ModuleType, network: cisp.Network
) -> None:
    A0, x, on = page.task(network, 40, np.random.default_rng(0))
    assert on.sum(1).tolist() == [1] * 20 + [2] * 20
    A, read = network(A0.unflatten(1, (4, 24))), page.reader(network)
    for layer in (1, 2, 3):
        found = torch.einsum("tkp,bp->btk", read[layer - 1], A[layer].flatten(1))
        same = network.circuits.quantities(network.readout(A, layer))["rotation"]
        torch.testing.assert_close(found, same)
        one = on[:20]  # alone, a circuit is exact
        torch.testing.assert_close(found[:20][one], x[layer - 1, :20][one])
    assert not x[:, ~on].any()
    norms = x[:, on].norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_losses_are_means_over_inputs_of_sums_over_circuits(page: ModuleType) -> None:
    error = torch.tensor([[[1.0, 1.0], [0, 2]], [[0, 0], [3, 0]]])
    found = page.losses(error, torch.tensor([[True, False], [False, True]]))
    assert {k: float(v) for k, v in found.items()} == {
        "MSE": (2 + 4 + 9) / 2,
        "L4": (4 + 16 + 81) / 2,
        "active": (2 + 9) / 2,
    }


@pytest.mark.parametrize("begin", ["own", "dense", "random"])
def test_training_counts_its_steps_and_makes_its_loss_small(
    page: ModuleType, network: cisp.Network, begin: str
) -> None:
    model = page.start(begin, network, 3)
    lost = [page.judged(page.as_dense(model, network), network)["L4"]]
    run = page.train(model, network, loss="L4", lr=3e-3, steps=60, batch=64)
    assert list(run) == list(range(61))
    dense = page.as_dense(model, network)
    lost.append(page.judged(dense, network)["L4"])
    assert lost[1] < 0.9 * lost[0]  # 0.83 from random weights, less from the others
    A0 = page.task(network, 10, np.random.default_rng(1)).A0
    torch.testing.assert_close(dense(A0), page.run(model, A0).detach())
    assert (page.own_code(dense, network)["cosine"] > 0.9) == (begin != "random")


def test_a_random_start_has_its_weights_from_its_seed_alone(
    page: ModuleType, network: cisp.Network
) -> None:
    one, other, third = (page.start("random", network, seed) for seed in (1, 1, 2))
    assert torch.equal(one[2].weight, other[2].weight)
    assert not torch.equal(one[2].weight, third[2].weight)
    assert not torch.equal(one[2].weight, network.W(2))


def test_own_parts_that_are_halved_have_half_the_strength_and_the_same_direction(
    page: ModuleType, network: cisp.Network
) -> None:
    dense = page.as_dense(page.start("dense", network, 0), network)
    assert page.own_code(dense, network) == pytest.approx({"cosine": 1, "strength": 1})
    for layer in (2, 3):
        parts = cisp.Testbed(network, z=1).components(layer)
        dense[2 * layer - 2].weight -= parts.total() / 2
    found = page.own_code(dense, network)
    assert found == pytest.approx({"cosine": 1, "strength": 0.5})


def test_zeroed_parts_silence_their_circuit_and_no_other(
    page: ModuleType, network: cisp.Network
) -> None:
    dense = page.as_dense(page.start("dense", network, 0), network)
    found = page.damage(dense, network)
    assert found["others"] == pytest.approx(0, abs=1e-12)  # rounding
    assert found["itself"] == pytest.approx(1, abs=0.05)  # a vector of length 1 is gone, or nearly
    assert torch.equal(dense[2].weight, network.W(2))  # the model itself is as it was


def test_by_hand_a_circuit_alone_speaks_on_its_own_positions_only(
    page: ModuleType, network: cisp.Network
) -> None:
    dense = page.as_dense(page.start("dense", network, 0), network)
    found = page.hidden(dense, network)
    assert found["own positions"] == 1
    assert 11 < found["neurons"] <= 12  # S d, less a vector's component that happens to be -1
    shuffled = torch.randperm(96, generator=torch.Generator().manual_seed(0))
    dense[2].weight.copy_(dense[2].weight[shuffled])
    dense[2].bias.copy_(dense[2].bias[shuffled])
    dense[4].weight.copy_(dense[4].weight[:, shuffled])
    other = page.hidden(dense, network)
    assert other["own positions"] < 0.3
    for key in ("neurons", "probe"):  # neither knows the neurons by name
        assert other[key] == pytest.approx(found[key])
    assert page.own_code(dense, network)["cosine"] < 0.1


def test_a_kept_row_is_what_the_code_gives(page: ModuleType) -> None:
    network = page.hand_coded(1, T=80, D=160, S=4, L=3)
    fresh = page.judged(page.as_dense(page.start("random", network, 1), network), network)
    stored = pd.read_csv(DATA / "learned.csv", comment="#")
    stored = stored.query("start == 'random' and loss == 'L4' and seed == 1 and step == 0")
    assert len(stored) == 2  # with the last layer read, or every
    for key in fresh:  # single precision, in another order on another machine
        assert stored[key].to_numpy() == pytest.approx(fresh[key], rel=1e-3, abs=1e-5)
