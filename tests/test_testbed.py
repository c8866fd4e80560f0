"""The test bed: activations beside the truth, the truth, and scores whose values are known."""

from collections.abc import Callable
from functools import partial
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import cisp
from cisp.network import Network
from cisp.testbed import Testbed, bed, bernoulli, scores, zipf

# float64: at most a few hundred terms a sum, three layers
assert_equal = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)


def rotations(T: int) -> cisp.SmallCircuits:
    return cisp.conditional_rotations(T=T, rng=0, dtype=torch.float64)


def apart() -> Network:
    """Ten circuits side by side: nothing is shared."""
    return cisp.superpose(rotations(10), D=120, S=3, L=3, rng=1)


NETWORKS: dict[str, Callable[[], Network]] = {
    "dealt": lambda: cisp.superpose(rotations(30), D=120, S=3, L=3, rng=1),
    "extrinsic": lambda: cisp.superpose_extrinsic(rotations(30), D=120, S=3, L=3, silence="auto"),
    "exact": lambda: cisp.superpose_exact(rotations(12), D=400, L=3),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


@every_network
def test_a_batch_is_the_networks_activations_beside_the_oracles_states(
    make: Callable[[], Network],
) -> None:
    network = make()
    batch = Testbed(network, z={0: 0.3, 1: 0.3, 3: 0.4}).sample(batch=50, rng=1)
    assert batch.activations.shape == (4, 50, 120 if network.T == 30 else network.D)
    for k, row in enumerate(batch.active):
        active = row[row >= 0].unsqueeze(0)
        assert torch.equal(
            batch.states[:, k, row < 0], torch.zeros_like(batch.states[:, k, row < 0])
        )
        if active.shape[1] == 0:
            assert not bool(batch.activations[0, k].any())
            continue
        w = network.at(1)[0][active]
        a0 = batch.states[0, k, row >= 0].unsqueeze(0)
        assert_equal(network.circuits.run(a0, active)[:, 0], batch.states[:, k, row >= 0])
        assert_equal(network(network.embed(a0, active))[:, 0].flatten(1), batch.activations[:, k])
        assert w.shape[1] == len(active[0])
    numbers = (batch.active >= 0).sum(1).bincount(minlength=4)
    assert numbers[2] == 0
    assert bool((numbers[[0, 1, 3]] > 4).all())
    assert torch.equal(batch.on(network.T).sum(1), (batch.active >= 0).sum(1))


def test_circuits_that_rest_at_something_hold_nothing_where_no_circuit_is_active() -> None:
    w = torch.eye(2).double().expand(5, 2, 2)
    restless = cisp.SmallCircuits(w=w, b=torch.ones(2).double(), L=2)  # 0 goes to 1
    network = cisp.superpose(restless, D=30, S=3)
    batch = Testbed(network, z={0: 0.5, 2: 0.5}).sample(batch=20)
    missing = batch.active < 0
    assert bool(missing.any())
    assert not bool(batch.states[:, missing].any())
    assert bool((batch.states[1:, ~missing].amin(-1) > 0).any())


def test_a_bed_of_one_layer_gives_that_layer_alone() -> None:
    network = NETWORKS["dealt"]()
    every, one = (Testbed(network, z=2, layer=k).sample(batch=9, rng=4) for k in (None, 2))
    assert torch.equal(one.activations, every.activations[2])
    assert torch.equal(one.states, every.states[2])
    assert "layer 2" in repr(Testbed(network, z=2, layer=2))


def test_streams_go_on_and_repeat_with_their_seed() -> None:
    found = [
        torch.stack(
            [
                b.activations
                for b in islice(Testbed(apart(), z=1, layer=1).stream(batch=5, rng=s), 3)
            ]
        )
        for s in (0, 0, 1)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not torch.equal(found[0][0], found[0][1])


def test_a_loader_takes_the_stream_and_its_workers_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Testbed(apart(), z=1, layer=1).dataset(batch=5)
    first = next(iter(DataLoader(data, batch_size=None)))
    assert first.activations.shape == (5, 120)
    other = type("Worker", (), {"id": 1})()
    monkeypatch.setattr(bed, "get_worker_info", lambda: other)
    assert not torch.equal(next(iter(data)).activations, first.activations)


def test_correlated_circuits_are_active_as_often_but_together() -> None:
    T, batch, p = 40, 20_000, 0.1
    rng = np.random.default_rng(0)
    chance, together = (bernoulli(p, correlation=c)(T, batch, rng) for c in (0, 0.6))
    error = (p * (1 - p) / batch) ** 0.5
    for on in (chance, together):
        assert np.abs(on.mean(0) - p).max() < 4 * error  # of 40 circuits
    pairs = [(on[:, 0] & on[:, 1]).mean() for on in (chance, together)]
    assert pairs[0] == pytest.approx(p * p, abs=4 * (p * p / batch) ** 0.5)
    assert pairs[1] > 2.5 * p * p
    assert (together[:, 0] & together[:, 10]).mean() < 1.3 * p * p  # of another group


def test_zipf_has_the_mean_asked_for_and_caps_probabilities() -> None:
    on = zipf(6.0, T=20, exponent=1.5)(20, 20_000, np.random.default_rng(0))
    assert on.sum(1).mean() == pytest.approx(6, abs=0.05)  # 4 standard errors are 0.05
    p = on.mean(0)
    assert p[0] == 1
    tail = np.flatnonzero(p < 1)[0]
    assert p[tail + 4] / p[tail] == pytest.approx(((tail + 1) / (tail + 5)) ** 1.5, rel=0.1)


def test_a_lone_circuits_activations_lie_in_its_subspace_and_along_its_direction() -> None:
    network = apart()
    one = Testbed(network, z=1)
    batch = one.sample(batch=60)
    for layer in range(1, 4):
        F, direction = one.subspaces(layer), one.directions(layer)
        assert F.shape == (10, 120, 3)  # of the four neurons two hold constants
        assert_equal(torch.einsum("tdr,tds->trs", F, F), torch.eye(3).double().expand(10, -1, -1))
        own, A = F[batch.active[:, 0]], batch.activations[layer]
        assert_equal(torch.einsum("bdr,ber,be->bd", own, own, A), A)
        assert_equal(torch.einsum("tdr,td->tr", F, direction).norm(dim=1), torch.ones(10).double())
        mean = A / A.norm(dim=1, keepdim=True)
        assert float((mean * direction[batch.active[:, 0]]).sum(1).min()) > 0.6


@every_network
def test_parts_are_those_of_the_network_and_sum_to_its_weights(
    make: Callable[[], Network],
) -> None:
    network = make()
    own = Testbed(network, z=1).components(2)
    assert_equal(own.total() + network.shared(2), network.W(2))
    for t in (0, 7):
        assert_equal(own.dense(t), network.component(2, t))
        assert_equal(own.sparse(t).to_dense(), own.dense(t))
        U, V = own.factors(t)
        assert_equal(U @ V, own.dense(t))
        assert own.rank(t) == U.shape[1] == torch.linalg.matrix_rank(own.dense(t), rtol=1e-4)


def test_own_parts_have_rank_two_and_two_for_each_position_where_none_reads_itself() -> None:
    assert Testbed(NETWORKS["dealt"](), z=1).components(2).rank(3) == 2
    assert Testbed(NETWORKS["extrinsic"](), z=1).components(2).rank(3) == 6


def test_a_whole_part_computes_its_circuit_alone() -> None:
    network = apart()
    whole = {k: Testbed(network, z=1).components(k, whole=True) for k in (2, 3)}
    for t in (0, 4):
        active = torch.full((5, 1), t)
        a0 = network.circuits.sample_inputs(batch=5, z=1, active=active)
        A = cisp.run_dense(
            network, network.embed(a0, active), {k: whole[k].dense(t) for k in whole}
        )
        assert_equal(network.readout(A, 3)[:, t], network.circuits.run(a0, active)[3][:, 0])
        e, before = (torch.zeros(30).double() for _ in "..")
        e[network.tables[1][t]], before[network.tables[0][t]] = 1, 1
        expected = torch.einsum("ij,p,q->ipjq", network.w[t], e, before) / network.S
        assert_equal(whole[2].dense(t), expected.reshape(120, 120))


def test_all_parts_at_the_posts_size_take_megabytes() -> None:
    circuits = cisp.conditional_rotations(T=557, rng=0)
    found = Testbed(cisp.superpose(circuits, D=1000, S=6, L=2, rng=1), z=1).components(2)
    held = sum(x.numel() * x.element_size() for x in (found.rows, found.columns, found.blocks))
    assert held < 2e6  # dense they would take 2.2e9


def table(found: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(row.truth, row.score): row.value for row in found.itertuples()}


def test_the_truth_scores_one() -> None:
    network = apart()
    one = Testbed(network, z=2, layer=2)
    seen: list[Tensor] = []

    def encode(A: Tensor) -> Tensor:  # on where a circuit's subspace holds something
        seen.append(A)
        return (torch.einsum("tdr,bd->btr", one.subspaces(), A).norm(dim=2) > 1e-6).double()

    decoder = torch.cat([one.subspaces().mT.flatten(0, 1), one.directions()])
    own = one.components()
    U, V = (
        torch.cat(parts, k)
        for k, parts in (
            (1, [own.factors(t)[0] for t in range(10)]),
            (0, [own.factors(t)[1] for t in range(10)]),
        )
    )
    found = table(cisp.recovery(one, decoder=decoder, encode=encode, pieces=(U, V)))
    ones = [
        *[
            (truth, score)
            for truth in ("direction", "subspace")
            for score in ("mean best", "one-to-one", "found", "unique")
        ],
        ("subspace", "principal cosine"),
        ("subspace", "share inside"),
        *[("activity", score) for score in ("F1", "precision", "recall", "F1 one-to-one")],
        ("own part", "cosine"),
        ("own part", "best piece"),
        ("ablated latents", "itself"),
    ]
    for key in ones:
        assert found.pop(key) == pytest.approx(1, abs=1e-9), key
    for key in (("activity", "dead"), ("ablated latents", "others")):
        assert found.pop(key) == pytest.approx(0, abs=1e-9), key
    assert found.pop(("own part", "pieces")) == 2
    shared = float(network.shared(2).square().sum() / network.W(2).square().sum())
    cross = 2 * float((network.shared(2) * own.total()).sum() / network.W(2).square().sum())
    assert found.pop(("weights", "left over")) == pytest.approx(shared)
    assert abs(cross) < 0.1
    assert 0.05 < found.pop(("ablated pieces", "itself")) < 1.5  # the mean weights stay
    assert found.pop(("ablated pieces", "others")) == pytest.approx(0, abs=1e-9)
    assert {truth for truth, _ in found} == {"whole part"}


def test_what_is_missing_of_a_truth_is_missing_from_its_score() -> None:
    one = Testbed(apart(), z=1, layer=2)
    half = one.subspaces()[:5].mT.flatten(0, 1)
    found = table(cisp.recovery(one, decoder=half))
    for key in (
        ("subspace", "found"),
        ("subspace", "principal cosine"),
        ("subspace", "share inside"),
    ):
        assert found[key] == pytest.approx(0.5, abs=1e-9)
    first = one.subspaces()[:, :, 0]
    found = table(cisp.recovery(one, decoder=first))
    assert found["subspace", "principal cosine"] == pytest.approx(1 / 3)
    assert found["subspace", "share inside"] == pytest.approx(1)


def test_a_latent_that_lies_mostly_elsewhere_is_no_circuits_own() -> None:
    network = cisp.superpose(rotations(10), D=124, S=3, L=3, rng=1)
    one = Testbed(network, z=1, layer=2)
    F = one.subspaces()
    (idle,) = set(range(31)) - set(network.tables[1].flatten().tolist())
    for share, found in ((0.4, 0.0), (0.6, 0.6)):  # of the square within a circuit's subspace
        mixed = share**0.5 * F[:, :, 0]
        mixed[:, idle] = (1 - share) ** 0.5
        inside = table(cisp.recovery(one, decoder=mixed))["subspace", "share inside"]
        assert inside == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize(("r", "K", "runs"), [(1, 1, 500), (1, 300, 30), (3, 300, 30)])
def test_random_directions_score_what_the_formula_says(r: int, K: int, runs: int) -> None:
    T, D = 40, 120
    gen = torch.Generator().manual_seed(0)
    subspaces = torch.linalg.qr(torch.randn(T, D, r, generator=gen)).Q
    best = [
        scores.lengths(subspaces, torch.randn(K, D, generator=gen)).amax(1).mean()
        for _ in range(runs)
    ]
    mean, error = float(np.mean(best)), float(np.std(best)) / runs**0.5
    assert scores.chance(D, K, r) == pytest.approx(mean, abs=4 * error)
    assert error < 0.02 * mean


def test_a_frame_of_runs_has_their_mean_and_standard_error() -> None:
    one = Testbed(apart(), z=1, layer=2)
    gen = torch.Generator().manual_seed(0)
    decoders = [torch.randn(50, 120, generator=gen) for _ in range(4)]
    found = cisp.recovery(one, decoder=decoders).set_index(["truth", "score"])
    singles = [table(cisp.recovery(one, decoder=d)) for d in decoders]
    for key in (("direction", "mean best"), ("subspace", "one-to-one")):
        each = np.array([single[key] for single in singles])
        assert found.value[key] == pytest.approx(each.mean())
        assert found.stderr[key] == pytest.approx(each.std(ddof=1) / 2)
        assert found.runs[key] == 4
    assert found.chance["direction", "mean best"] == scores.chance(120, 50)
    assert np.isnan(cisp.recovery(one, decoder=decoders[0]).stderr).all()


def test_latents_that_fire_at_random_have_the_F1_of_chance() -> None:
    rng = np.random.default_rng(0)
    on, fires = (torch.from_numpy(rng.random((40_000, k)) < p) for k, p in ((30, 0.1), (1, 0.4)))
    found = scores.of_activity(on, fires)
    assert found["F1"] == pytest.approx(2 * 0.1 * 0.4 / 0.5, abs=0.01)
    assert found["precision"] == pytest.approx(0.1, abs=0.01)
    assert found["recall"] == pytest.approx(0.4, abs=0.01)
    assert found["F1 one-to-one"] == pytest.approx(found["F1"] / 30, rel=0.1)


def test_a_circuit_that_is_never_active_does_not_count() -> None:
    on = torch.tensor([[True, False], [False, False]])
    assert scores.of_activity(on, on[:, :1])["F1"] == 1


BAD = {
    "no layer": (lambda one: one.directions(), "layer=None is not allowed"),
    "a layer too far": (lambda one: one.subspaces(4), "layer=4"),
    "parts of layer 1": (lambda one: one.components(1), "layer=1"),
    "too many active": (lambda one: Testbed(one.network, z=11), "z=11"),
    "shares of nothing": (lambda one: Testbed(one.network, z={1: 0}), "z={1: 0}"),
    "a negative share": (lambda one: Testbed(one.network, z={1: -1, 2: 3}), r"z\[1\]=-1"),
    "an empty batch": (lambda one: one.sample(batch=0), "batch=0"),
    "p beyond 1": (lambda one: bernoulli(1.5), "p=1.5"),
    "p of others": (
        lambda one: Testbed(one.network, z=bernoulli(np.full(3, 0.1))).sample(),
        "p has 3 probabilities; it must have T=10",
    ),
    "a correlation beyond 1": (lambda one: bernoulli(0.1, correlation=2), "correlation=2"),
    "a mean beyond T": (lambda one: zipf(11, T=10), "mean=11"),
    "nothing to score": (lambda one: cisp.recovery(one, layer=2), "give decoder, encode or pieces"),
    "runs that differ": (
        lambda one: cisp.recovery(
            one, layer=2, decoder=[torch.ones(1, 120)] * 2, encode=[torch.abs]
        ),
        "'decoder': 2, 'encode': 1",
    ),
    "a narrow decoder": (
        lambda one: cisp.recovery(one, layer=2, decoder=torch.ones(5, 119)),
        r"decoder has shape \(5, 119\); it must be \(K, 120\)",
    ),
    "latents of no batch": (
        lambda one: cisp.recovery(one, layer=2, encode=lambda A: A[0]),
        r"encode\(A\) has shape \(120,\)",
    ),
}


@pytest.mark.parametrize(("ask", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_named(ask: Callable[[Testbed], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ask(Testbed(apart(), z=1))
