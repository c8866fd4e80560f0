"""The superposed network against dense weights and embeddings written out from the equations."""

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from cisp import (
    Network,
    SmallCircuits,
    conditional_rotations,
    one_relu_rotations,
    prime_steps,
    random_subsets,
    step_indicators,
    superpose,
)

# float64: at most a few hundred terms a sum, five layers
assert_equal = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)


def normal(*shape: int, rng: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(rng).normal(size=shape))


def random_circuits(*, T: int, d: int, L: int) -> SmallCircuits:
    """Weights and biases of their own for each layer; positive biases too."""
    w, b = normal(L, T, d, d) / d**0.5, normal(L, d, rng=1) / 4
    return SmallCircuits(w=w, b=b, readouts={"sum": torch.ones(1, d)})


def rotations(T: int) -> SmallCircuits:
    return conditional_rotations(T=T, rng=1, dtype=torch.float64)


def steps(T: int) -> SmallCircuits:
    return step_indicators(T=T, dtype=torch.float64)


def build(
    circuits: SmallCircuits, *, D: int, S: int, L: int | None = None, rng: int = 0
) -> Network:
    return superpose(circuits, D=D, S=S, L=L, rng=rng)


NETWORKS: dict[str, Callable[[], Network]] = {
    "rotations": lambda: build(rotations(40), D=160, S=4),
    "rotations, tables full": lambda: build(rotations(37), D=100, S=3, L=3),
    "steps": lambda: build(steps(55), D=60, S=3, L=4),
    "one relu": lambda: build(one_relu_rotations(T=15, dtype=torch.float64), D=99, S=5, L=3, rng=2),
    "weights and biases by layer": lambda: build(random_circuits(T=25, d=3, L=4), D=60, S=3),
    "one position": lambda: build(random_circuits(T=8, d=2, L=3), D=20, S=1),
    "one circuit": lambda: build(random_circuits(T=1, d=3, L=3), D=12, S=4),
    "shared positions": lambda: superpose(
        rotations(20), D=60, S=4, L=3, allocate=random_subsets, max_overlap=np.inf
    ),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def vectors(network: Network, layer: int) -> Tensor:
    """The embedding vectors |e_t^l> as 0-1 rows (T, n) (5.21)."""
    e = torch.zeros(network.T, network.n, dtype=torch.float64)
    return e.scatter(1, network.tables[layer - 1], 1)


def balanced(network: Network, layer: int) -> Tensor:
    """W_emb by 5.23, with chi from all ordered pairs t != u one by one (5.24)."""
    e, before = vectors(network, layer), vectors(network, layer - 1)
    used = torch.stack([torch.outer(*pair) for pair in zip(e, before, strict=True)]).amax(0)
    pairs = [(t, u) for t in range(network.T) for u in range(network.T) if t != u]
    hits = float(sum(e[t] @ used @ before[u] for t, u in pairs))
    misses = len(pairs) * network.S**2 - hits
    chi = hits / network.S / misses if pairs else 0.0
    return used / network.S - chi * (1 - used)


def dense(network: Network, layer: int, w: Tensor, w_mean: Tensor) -> Tensor:
    """W^l as (d, n, d, n) from 5.20 and 5.26, for float64 weights of this layer."""
    if layer == 1:
        return torch.eye(network.D).double().reshape(2 * (network.d, network.n))
    e, before = vectors(network, layer), vectors(network, layer - 1)
    own = torch.einsum("tij,tp,tq->ipjq", w - w_mean, e, before) / network.S
    return torch.einsum("ij,pq->ipjq", w_mean, balanced(network, layer)) + own


def dense_run(
    network: Network, A0: Tensor, w: Tensor | None = None, w_mean: Tensor | None = None
) -> list[Tensor]:
    """A^0..A^L by 5.17, 5.27 and 5.28, with the sample mean of 5.18 unless one is given."""
    w = network.w if w is None else w
    A = [A0]
    for layer in range(1, network.L + 1):
        w_l = w if w.ndim == 3 else w[layer - 1]
        b = network.b if network.b.ndim == 1 else network.b[layer - 1]
        w_l = w_l.to(A0)
        W = dense(network, layer, w_l, w_l.mean(0) if w_mean is None else w_mean)
        A.append(torch.relu(torch.einsum("ipjq,bjq->bip", W, A[-1]) + b.to(A0)[:, None]))
    return A


@every_network
def test_the_structured_pass_equals_the_dense_one(make: Callable[[], Network]) -> None:
    network = make()
    A0 = normal(3, network.d, network.n)
    expected = torch.stack(dense_run(network, A0))
    assert_equal(network(A0), expected)

    single = superpose(
        network.circuits.to(torch.float32),
        D=network.D,
        S=network.S,
        allocate=lambda **_: network.tables[0].numpy(),
        max_overlap=np.inf,
    )
    A = single(A0.float())
    assert A.dtype == torch.float32
    expected = torch.stack(dense_run(single, A0))
    # float32 rounding 6e-8 of sums of a few hundred terms, grown by weights of norm up to 7 a layer
    torch.testing.assert_close(A.double(), expected, rtol=1e-4, atol=1e-4)


def test_the_cases_above_use_entries_of_w_emb_more_than_once() -> None:
    network = NETWORKS["rotations, tables full"]()
    e, before = vectors(network, 2), vectors(network, 1)
    assert (e.T @ before).max() > 1


def test_the_stream_sums_each_circuits_positions_and_a_mask_silences_neurons() -> None:
    network = NETWORKS["rotations"]()
    A = normal(3, 4, network.n)
    keep = (normal(5, network.n, 3, rng=1) > 0).double()
    patch = {layer: partial(torch.mul, keep[layer - 1].T[:, None]) for layer in range(1, 6)}
    steps = list(network.stream(A.permute(2, 1, 0), patch))
    for layer, (ours, gathered) in enumerate(steps, 1):
        W = dense(network, layer, network.w, network.w.mean(0))
        pre = torch.einsum("ipjq,bjq->bip", W, A) + network.b[:, None]
        A = torch.relu(pre) * keep[layer - 1].T[:, None]
        assert_equal(ours, A.permute(2, 1, 0))
        assert_equal(gathered, torch.einsum("tp,bip->tib", vectors(network, layer), A))


@every_network
def test_dense_weights_biases_and_embedding_follow_the_equations(
    make: Callable[[], Network],
) -> None:
    network = make()
    for layer in range(1, network.L + 1):
        w, b = network.circuits.at(layer)
        W = dense(network, layer, w, w.mean(0)).reshape(network.D, network.D)
        assert_equal(network.W(layer), W)
        assert torch.equal(network.B(layer), torch.cat([x.expand(network.n) for x in b]))
        if layer > 1:
            assert_equal(network.W_emb(layer), balanced(network, layer))


@every_network
def test_the_plain_sequential_gives_the_last_activations(make: Callable[[], Network]) -> None:
    network = make()
    A0 = normal(3, network.d, network.n)
    flat = network.to_dense()(A0.flatten(1))
    assert [type(part).__name__ for part in network.to_dense()] == ["Linear", "ReLU"] * network.L
    assert_equal(flat, network(A0)[-1].flatten(1))


@pytest.mark.parametrize(
    ("T", "n", "S", "rng"), [(2, 6, 2, 0), (9, 12, 3, 1), (43, 40, 4, 2), (60, 200, 5, 3)]
)
def test_chi_makes_the_brackets_of_different_circuits_average_to_zero(
    T: int, n: int, S: int, rng: int
) -> None:
    network = build(steps(T), D=2 * n, S=S, L=4, rng=rng)
    assert network.chi[0] == 0
    for layer in range(2, 5):
        brackets = vectors(network, layer) @ network.W_emb(layer) @ vectors(network, layer - 1).T
        between = brackets[~torch.eye(T, dtype=torch.bool)]
        # rounding of T^2 brackets of size up to S
        assert abs(float(between.mean())) < 1e-13
        assert_equal(  # 6.25
            brackets.diagonal(), torch.full((T,), float(S)).double()
        )


def test_a_single_circuit_needs_no_balance() -> None:
    assert build(steps(1), D=8, S=2, L=3).chi.tolist() == [0, 0, 0]


@pytest.mark.parametrize("own_mean", [False, True])
@pytest.mark.parametrize("z", [1, 2, 3, 10])
@pytest.mark.parametrize("make", [rotations, lambda T: random_circuits(T=T, d=3, L=4)])
def test_with_room_for_all_every_circuit_runs_as_if_alone(
    make: Callable[[int], SmallCircuits], z: int, own_mean: bool
) -> None:
    circuits = make(10)
    d, S = circuits.d, 5
    mean = normal(d, d) if own_mean else None
    network = superpose(circuits, D=d * 53, S=S, w_mean=mean)  # T S = 50 of n = 53 positions
    assert not network.chi.any()  # no entry is shared, so nothing is to be balanced
    active, a0 = network.sample(batch=6, z=z, rng=1)
    A = network(network.embed(a0, active))
    # an inactive circuit enters layer 1 as 0: alone it would run from there
    everyone = torch.arange(10).expand(6, 10)
    inputs = torch.zeros(6, 10, d).double().scatter(1, active[..., None].expand(-1, -1, d), a0)
    alone = circuits.run(inputs, everyone)
    for layer in range(1, network.L + 1):
        assert_equal(network.readout(A, layer), alone[layer])


def test_one_shared_position_is_enough_to_disturb_a_circuit() -> None:
    def chain(*, T: int, n: int, S: int) -> np.ndarray:
        return np.arange(T)[:, None] + np.arange(S)

    network = superpose(rotations(2), D=12, S=2, allocate=chain)
    active = torch.tensor([[0, 1]])
    a0 = network.circuits.sample_inputs(batch=1, z=2)
    A = network(network.embed(a0, active))
    true = network.circuits.run(a0, active)[1]
    # half of each circuit's read-out is the other's activation, of size 1.5 in its first neuron
    assert float((network.readout(A, 1)[:, :, 0] - true[:, :, 0]).min()) > 0.5


@every_network
def test_the_input_is_the_sum_of_the_embedded_first_activations(
    make: Callable[[], Network],
) -> None:
    network = make()
    active, a0 = network.sample(batch=4, z=min(3, network.T), rng=3)
    e, (w, _) = vectors(network, 1), network.circuits.at(1)
    A0 = torch.zeros(4, network.d, network.n).double()
    for k, row in enumerate(active.tolist()):
        for place, t in enumerate(row):
            A0[k] += torch.outer(w[t] @ a0[k, place], e[t])  # 5.25
    assert_equal(network.embed(a0, active), A0)
    A = network(A0)
    assert torch.equal(A[0], A0)


@pytest.mark.parametrize("name", ["rotations", "weights and biases by layer", "shared positions"])
def test_gradients_equal_those_of_the_dense_network(name: str) -> None:
    start = NETWORKS[name]()
    weigh = normal(start.L + 1, 3, start.d, start.n, rng=5)
    A0 = normal(3, start.d, start.n).requires_grad_()
    w = start.w.clone().requires_grad_()
    network = superpose(
        SmallCircuits(w=w, b=start.b),
        D=start.D,
        S=start.S,
        L=start.L,
        allocate=lambda **_: start.tables[0].numpy(),
        max_overlap=np.inf,
    )
    ours = torch.autograd.grad((weigh * network(A0)).sum(), (A0, w))
    theirs = torch.autograd.grad((weigh * torch.stack(dense_run(network, A0, w))).sum(), (A0, w))
    for one, other in zip(ours, theirs, strict=True):
        # backward through layers of norm up to 7: relative to the largest entry
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * float(other.abs().max()))

    with torch.no_grad():
        assert torch.equal(network(A0), network(A0.detach()))
        assert not network(A0).requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_network_computes_the_same() -> None:
    network = NETWORKS["rotations"]()
    active, a0 = network.sample(batch=3, z=2)
    A = network(network.embed(a0, active))
    network = network.cuda()
    active, a0 = network.sample(batch=3, z=2)
    assert active.is_cuda
    on_gpu = network(network.embed(a0, active))
    assert_equal(on_gpu.cpu(), A)
    assert_equal(network.W(2).cpu(), NETWORKS["rotations"]().W(2))
    assert_equal(network.readout(on_gpu, 2).cpu(), NETWORKS["rotations"]().readout(A, 2))


@pytest.mark.parametrize("name", ["one relu", "weights and biases by layer", "shared positions"])
def test_components_and_the_shared_part_sum_to_the_weights(name: str) -> None:
    network = NETWORKS[name]()
    for layer in range(1, network.L + 1):
        total = network.shared(layer).clone()
        for t in range(network.T):
            part = network.component(layer, t)
            own = torch.zeros(network.n, network.n)
            if layer > 1:
                own = torch.outer(vectors(network, layer)[t], vectors(network, layer - 1)[t])
            outside = own.repeat(network.d, network.d) == 0
            assert not part[outside].any()
            total += part
        assert_equal(total, network.W(layer))


def test_a_given_mean_changes_the_weights_by_5_20_and_not_the_embedding() -> None:
    circuits, given = rotations(40), torch.tensor([[2.0, -2, 0, 0]] * 4).double()
    sample = superpose(circuits, D=160, S=4)
    over_angles = superpose(circuits, D=160, S=4, w_mean=given)
    by_layer = superpose(circuits, D=160, S=4, w_mean=torch.stack([given] * 5))
    A0 = normal(3, 4, 40)
    for layer in range(2, 6):
        assert torch.equal(over_angles.W_emb(layer), sample.W_emb(layer))
        W = dense(over_angles, layer, circuits.w, given).reshape(160, 160)
        assert_equal(over_angles.W(layer), W)
        assert torch.equal(by_layer.W(layer), over_angles.W(layer))
    A = over_angles(A0)
    assert_equal(A, torch.stack(dense_run(over_angles, A0, w_mean=given)))
    assert_equal(by_layer(A0), A)


def test_every_layer_deals_the_circuits_afresh_over_one_table() -> None:
    table = prime_steps(T=40, n=40, S=4)
    network = build(rotations(40), D=160, S=4)
    rows = [sorted(layer) for layer in network.tables.tolist()]
    assert all(layer == sorted(table.tolist()) for layer in rows)
    orders = [json.dumps(layer) for layer in network.tables.tolist()]
    assert len(set(orders)) == 5
    assert torch.equal(network.tables, build(rotations(40), D=160, S=4).tables)
    assert not torch.equal(network.tables, build(rotations(40), D=160, S=4, rng=1).tables)


def test_active_sets_are_uniform_over_all_pairs() -> None:
    network = build(rotations(6), D=48, S=2)
    active, a0 = network.sample(batch=30_000, z=2, rng=0)
    seen = Counter(tuple(sorted(row)) for row in active.tolist())
    pairs = list(combinations(range(6), 2))
    assert set(seen) == set(pairs)
    chi_square = sum((seen[pair] - 2000) ** 2 / 2000 for pair in pairs)
    # chi-square with 14 degrees of freedom: mean 14, standard deviation sqrt(28); 4 of these above
    assert chi_square < 14 + 4 * 28**0.5

    x = network.circuits.quantities(a0)["rotation"]
    assert_equal(x.norm(dim=-1), torch.ones(30_000, 2).double())
    angle = torch.atan2(x[..., 1], x[..., 0]).flatten()
    # the mean of exp(i angle) over 60,000 directions has standard deviation 1/sqrt(60,000)
    assert abs(torch.exp(1j * angle).mean()) < 4 / 60_000**0.5


def test_the_same_seed_draws_the_same_inputs_and_all_circuits_can_be_active() -> None:
    network = build(rotations(6), D=48, S=2)
    first, again, other = (network.sample(batch=5, z=3, rng=seed) for seed in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[1], other[1])
    everyone, _ = network.sample(batch=5, z=6)
    assert everyone.sort(1).values.tolist() == [list(range(6))] * 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["rotations", "weights and biases by layer", "shared positions"])
def test_a_saved_network_comes_back_bit_for_bit(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    network = NETWORKS[name]().to(dtype)
    network.save(tmp_path / "network.safetensors")
    again = Network.load(tmp_path / "network.safetensors")
    theirs = dict(again.named_buffers())
    own = {"w", "b", "w_mean", "wiring.tables", "wiring.chi", "input_mean", "input_map"}
    assert own <= set(theirs)
    assert set(theirs) == set(dict(network.named_buffers()))
    for key, value in network.named_buffers():
        assert theirs[key].dtype == value.dtype
        assert torch.equal(theirs[key], value)
    A0 = normal(3, network.d, network.n).to(dtype)
    assert torch.equal(again(A0), network(A0))
    assert (again.D, again.S, again.L, again.T) == (network.D, network.S, network.L, network.T)


def test_read_outs_come_back_in_the_order_they_were_given(tmp_path: Path) -> None:
    readouts = {f"q{k}": torch.full((1, 2), float(k)) for k in (10, 3, 7, 1, 12, 0, 2, 5, 4, 6, 11)}
    circuits = SmallCircuits(w=torch.ones(2, 2, 2), b=torch.zeros(2), readouts=readouts)
    superpose(circuits, D=8, S=2).save(tmp_path / "network.safetensors")
    again = Network.load(tmp_path / "network.safetensors").circuits.readouts
    assert list(again) == list(readouts)
    assert all(torch.equal(again[name], readouts[name]) for name in readouts)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.ones(2)}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="holds format 'pt'; it must be one of"):
        Network.load(path)


def test_a_loaded_state_is_the_whole_network() -> None:
    circuits = conditional_rotations(T=20, rng=0, dtype=torch.float64)
    first, second = (superpose(circuits, D=72, S=3, L=3, rng=seed) for seed in (1, 2))
    active, a0 = first.sample(batch=5, z=2)
    A0 = first.embed(a0, active)
    assert not torch.allclose(first(A0), second(A0))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(A0), second(A0))


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    both = torch.tensor([[1.0, -1]])
    circuits = SmallCircuits(
        w=torch.eye(2).repeat(3, 1, 1), b=-torch.ones(2), readouts={"a": both, "b": both}
    )
    network = superpose(circuits, D=12, S=2, L=2, w_mean=circuits.w[0])
    network.save(tmp_path / "n.safetensors")
    assert list(Network.load(tmp_path / "n.safetensors").circuits.readouts) == ["a", "b"]


def test_as_many_layers_as_circuits_is_no_confusion() -> None:
    circuits = SmallCircuits(w=torch.eye(2).repeat(3, 1, 1), b=-torch.rand(5, 2))
    network = superpose(circuits, D=12, S=2, L=3)
    assert torch.equal(network.B(3), circuits.b[2].repeat_interleave(6))


def test_dense_weights_and_inputs_are_the_same_each_time(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(4)  # one thread alone would add up in the same order anyhow
    network = superpose(conditional_rotations(T=557), D=1000, S=6, L=2)
    active, a0 = network.sample(batch=200, z=20)
    assert all(torch.equal(network.W(2), network.W(2)) for _ in range(5))
    assert all(torch.equal(network.embed(a0, active), network.embed(a0, active)) for _ in range(5))
