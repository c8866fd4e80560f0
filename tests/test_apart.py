"""Methods that take networks apart, of cisp_book.apart, where the answer is known."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

import cisp
from cisp.testbed import scores

BOOK = Path(__file__).parent.parent / "book"


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("cisp_book.apart")


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sources(*, K: int = 4, D: int = 12) -> tuple[Tensor, Tensor]:
    """Sparse sums of K directions of length 1, and the directions."""
    rng = draw(1)
    true = torch.linalg.qr(torch.from_numpy(rng.normal(size=(D, K)))).Q.T.float()
    mixed = true + 0.4 * true.roll(1, 0)  # not orthogonal
    mixed = mixed / mixed.norm(dim=1, keepdim=True)
    on = rng.random((4096, K)) < 0.15
    return torch.from_numpy(on * rng.uniform(0.5, 1.5, on.shape)).float() @ mixed, mixed


def best(true: Tensor, found: Tensor) -> float:
    return scores.of_directions(scores.lengths(true.unsqueeze(2), found))["mean best"]


def test_the_k_largest_of_each_row_stay_whatever_their_sign(apart: ModuleType) -> None:
    h = torch.tensor([[1.0, -3, 2, 0.5], [0, 0, 0, 1]])
    assert apart.top(h, 2).tolist()[0] == [0, -3, 2, 0]
    assert apart.top(h, 1).tolist()[1] == [0, 0, 0, 1]


def test_principal_directions_are_the_right_singular_vectors(apart: ModuleType) -> None:
    X, _ = sources()
    v = torch.linalg.svd(X - X.mean(0), full_matrices=False).Vh
    cosines = (apart.principal(X, K=4, k=1).decoder * v[:4]).sum(1).abs()
    assert cosines.numpy() == pytest.approx(1, abs=1e-3)  # float32, squared


def test_independent_sources_are_found_where_principal_directions_are_not(
    apart: ModuleType,
) -> None:
    X, true = sources()
    assert best(true, apart.independent(X, K=4, k=1, rng=draw()).decoder) > 0.98
    assert best(true, apart.principal(X, K=4, k=1).decoder) < 0.95


def test_clusters_of_noisy_single_directions_are_these(apart: ModuleType) -> None:
    true = torch.linalg.qr(torch.from_numpy(draw().normal(size=(12, 4)))).Q.T.float()
    noise = 0.2 * torch.from_numpy(draw(1).normal(size=(4096, 12))).float()
    X = true.repeat(1024, 1) + noise
    assert best(true, X[:8]) < 0.95
    assert best(true, apart.clusters(X, K=8, k=1, rng=draw()).decoder) > 0.97


@pytest.mark.parametrize("start", ["by_samples", "by_chance"])
def test_an_autoencoder_finds_circuits_that_are_active_one_at_a_time(
    apart: ModuleType, start: str
) -> None:
    circuits = cisp.conditional_rotations(T=12, rng=1)
    bed = cisp.Testbed(cisp.superpose(circuits, D=96, S=3, L=2, rng=2), z=1, layer=1)
    X = bed.sample(batch=2048).activations
    options = {"K": 24, "k": 1, "steps": 150, "lr": 1e-2, "start": getattr(apart, start)}
    found = apart.autoencoder(X, **options, rng=draw())
    by = cisp.recovery(bed, decoder=found.decoder).set_index(["truth", "score"])
    assert by.value["subspace", "mean best"] > 2 * by.chance["subspace", "mean best"]
    assert (found.encode(X) != 0).sum(1).max() == 1


def test_a_price_on_latents_makes_fewer_fire(apart: ModuleType) -> None:
    X, _ = sources()
    options = {"K": 8, "steps": 100, "lr": 1e-2}
    many, few = (
        (apart.autoencoder(X, l1=price, **options, rng=draw()).encode(X) != 0).sum()
        for price in (0.0, 2.0)
    )
    assert few < many / 2


def layers() -> Tensor:
    circuits = cisp.conditional_rotations(T=12, rng=1)
    network = cisp.superpose(circuits, D=96, S=3, L=3, rng=2)
    return cisp.Testbed(network, z=1).sample(batch=2048).activations[1:]


@pytest.mark.parametrize("reach", [1, 2])
def test_transcoders_write_as_far_as_they_reach_and_no_more_than_k_fire(
    apart: ModuleType, reach: int
) -> None:
    A = layers()
    found = apart.replaced(A, K=24, k=2, reach=reach, steps=100, lr=1e-2, rng=draw())
    h = found.encode(A[:-1])
    assert (h != 0).sum((0, 2)).max() <= 2
    parts = found.parts(h)
    assert parts.shape == (2, 2, *A.shape[1:])
    assert not parts[1, 0].any()  # nothing is written backwards
    assert bool(parts[0, 1].any()) == (reach == 2)
    left = parts.sum(0) + found.mean.unsqueeze(1) - A[1:]
    spread = A[1:] - A[1:].mean(1, keepdim=True)
    assert (left.square().sum((1, 2)) < 0.3 * spread.square().sum((1, 2))).all()


def test_pieces_of_the_truth_stay_a_decomposition_of_the_weights(apart: ModuleType) -> None:
    circuits = cisp.conditional_rotations(T=12, rng=1)
    network = cisp.superpose(circuits, D=96, S=3, L=2, rng=2)
    bed = cisp.Testbed(network, z=1, layer=2)
    W, X = network.W(2), cisp.Testbed(network, z=1, layer=1).sample(batch=1024).activations
    own = bed.components()
    u, s, v = torch.linalg.svd(network.shared(2))
    U, V = zip(*[own.factors(t) for t in range(12)], strict=True)
    start = torch.cat([*U, u * s], 1), torch.cat([*V, v])
    assert torch.allclose(start[0] @ start[1], W, atol=1e-4)  # float32
    found = apart.decomposed(W, network.B(2), X, start, price=1e-3, steps=30, lr=1e-3, rng=draw())
    by, true = (
        cisp.recovery(bed, pieces=pair).set_index(["truth", "score"]).value
        for pair in ((found.U, found.V), start)
    )
    assert true["own part", "best piece"] == pytest.approx(1, abs=1e-4)  # float32
    assert by["own part", "best piece"] > 0.9
    assert by["weights", "left over"] < 0.01
    g = found.need(X)
    assert ((g >= 0) & (g <= 1)).all()


def test_random_pieces_have_the_size_of_the_weights(apart: ModuleType) -> None:
    W = torch.from_numpy(draw().normal(size=(20, 20))).float()
    U, V = apart.pieces_by_chance(W, 30, draw())
    assert (U @ V).norm().item() == pytest.approx(W.norm().item(), rel=1e-5)  # float32
