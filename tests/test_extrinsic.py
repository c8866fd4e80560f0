"""The extrinsic network against dense weights written out entry by entry, and its exactness."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import cisp
from cisp import (
    Extrinsic,
    Network,
    SmallCircuits,
    conditional_rotations,
    prime_steps,
    random_subsets,
    superpose_extrinsic,
    transversal_design,
)


def over_angles(bias: float = 1.0) -> Tensor:
    """The mean weights over all angles."""
    gate = [1 + bias, -1 - bias, 0, 0]
    return torch.tensor([[2, -2, 0, 0]] * 2 + [gate] * 2, dtype=torch.float64)


# float64: at most a few hundred terms a sum, five layers
assert_equal = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)


def normal(*shape: int, rng: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(rng).normal(size=shape))


def gated(*, T: int, L: int, bias: float = 5.0, rng: int = 0) -> SmallCircuits:
    """Six nonlinear neurons, h = ReLU(M_t^l h + 1/5) with the indicator on, silent without it.

    Every circuit and layer has its own random M; their mean is not zero.
    """
    M = normal(L, T, 6, 6, rng=rng) / 6**0.5 + 0.05
    gate = torch.full((L, T, 6, 1), bias + 0.2).double()
    step = torch.tensor([2.0, -2, 0, 0, 0, 0, 0, 0]).double().expand(L, T, 2, 8)
    w = torch.cat([step, torch.cat([gate, -gate, M], -1)], -2)
    return SmallCircuits(
        w=w,
        b=torch.tensor([-0.5, -1.5] + [-bias] * 6),
        readouts={"indicator": torch.eye(8)[:1] - torch.eye(8)[1:2], "vector": torch.eye(8)[2:]},
        input_mean=torch.tensor([1.5, 0.5, 0, 0, 0, 0, 0, 0]),
        input_map=torch.eye(8)[:, 2:],
    )


def rotations(T: int, bias: float = 1.0, rng: int = 1) -> SmallCircuits:
    """Angles in opposite pairs, so that the sample mean is the mean over all angles."""
    half = np.random.default_rng(rng).uniform(0, 2 * np.pi, T // 2)
    return conditional_rotations(
        theta=np.concatenate([half, half + np.pi]), bias=bias, dtype=torch.float64
    )


def unchecked(
    circuits: SmallCircuits,
    *,
    D: int,
    S: int,
    allocate: Callable[..., np.ndarray],
    w_mean: Tensor,
) -> Network:
    """The same network without the conditions."""
    table = torch.from_numpy(allocate(T=circuits.T, n=D // circuits.d, S=S))
    tables = table.repeat(circuits.L, 1, 1)
    return Network(circuits, Extrinsic(tables, n=D // circuits.d), w_mean)


NETWORKS: dict[str, Callable[[], Network]] = {
    "rotations": lambda: superpose_extrinsic(rotations(40), D=120, S=4),
    "prime steps": lambda: superpose_extrinsic(
        rotations(40, bias=1.5), D=160, S=4, L=3, allocate=prime_steps
    ),
    "weights by layer": lambda: superpose_extrinsic(gated(T=25, L=4), D=168, S=3),
    "a mean of its own": lambda: superpose_extrinsic(
        conditional_rotations(T=20, dtype=torch.float64), D=100, S=3, w_mean=over_angles()
    ),
    "one circuit": lambda: superpose_extrinsic(gated(T=1, L=3), D=40, S=4),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def dense(network: Network, layer: int) -> np.ndarray:
    """W^l as (n, n, d, d), entry by entry: own block w_mean, else Delta w_u/(S-1) of the shared."""
    n, d, S = network.n, network.d, network.S
    at = layer - 1 if network.w.ndim == 4 else ...
    w, means = network.w[at].numpy(), network.w_mean
    w_mean = (means if means.ndim == 2 else means[layer - 1]).numpy()
    holders = [{t for t in range(network.T) if p in network.tables[0][t]} for p in range(n)]
    W = np.zeros((n, n, d, d))
    for i in range(n):
        W[i, i] = w_mean
        for m in range(n):
            for u in holders[i] & holders[m] if i != m else ():
                W[i, m] = (w[u] - w_mean) / (S - 1)
    return W


def alone(network: Network, inputs: int = 3, rng: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Every circuit by itself: which, the network's activations, and what should be."""
    active = torch.arange(network.T).repeat(inputs).unsqueeze(1)
    a0 = network.circuits.sample_inputs(batch=len(active), z=1, rng=rng)
    return active, network(network.embed(a0, active)), network.circuits.run(a0, active)


def largest_error(network: Network) -> float:
    """Over all layers, circuits alone and neurons: entries of A that differ from the exact."""
    active, A, a = alone(network)
    exact = torch.zeros_like(A[1:])
    for k, (t,) in enumerate(active.tolist()):
        exact[:, k, :, network.tables[0][t]] = a[1:, k, 0].unsqueeze(-1)
    return float((A[1:] - exact).abs().max())


@every_network
def test_the_structured_pass_equals_the_dense_one(make: Callable[[], Network]) -> None:
    network = make()
    A0 = normal(3, network.d, network.n)
    A = network(A0)
    now = A0.numpy()
    for layer in range(1, network.L + 1):
        if layer > 1:
            now = np.einsum("pqij,bjq->bip", dense(network, layer), now)
        b = network.b if network.b.ndim == 1 else network.b[layer - 1]
        now = np.maximum(now + b.numpy()[:, None], 0)
        assert_equal(A[layer], torch.from_numpy(now))
    out = network.to_dense()(A0.flatten(1))
    assert_equal(out, A[-1].flatten(1))


@every_network
def test_weights_are_the_shared_part_and_the_components(make: Callable[[], Network]) -> None:
    network = make()
    assert_equal(network.W(1), torch.eye(network.D).double())
    for layer in range(2, network.L + 1):
        W = torch.from_numpy(dense(network, layer)).permute(2, 0, 3, 1)
        assert_equal(network.W(layer), W.reshape(network.D, network.D))
        assert torch.equal(network.W_emb(layer), torch.eye(network.n).double())
        parts = [network.component(layer, t) for t in range(network.T)]
        assert_equal(network.shared(layer) + torch.stack(parts).sum(0), network.W(layer))
        own = parts[0].view(network.d, network.n, network.d, network.n)
        inside = set(network.tables[0][0].tolist())
        reached = {(p, q) for _, p, _, q in own.nonzero().tolist()}
        assert reached == {(p, q) for p in inside for q in inside if p != q} or network.T == 1


@every_network
def test_a_layer_keeps_the_sum_of_what_a_circuits_positions_hold(
    make: Callable[[], Network],
) -> None:
    # the own part alone, which is sent to the other S - 1 positions, and turned (C14.3)
    network = make()
    held = normal(network.d, network.n)
    for layer in range(2, network.L + 1):
        delta = network.w[layer - 1] if network.w.ndim == 4 else network.w
        mean = network.w_mean[layer - 1] if network.w_mean.ndim == 3 else network.w_mean
        for t, row in enumerate(network.tables[0]):
            sent = (network.component(layer, t) @ held.flatten()).view(network.d, network.n)
            assert_equal(sent.sum(1), (delta[t] - mean) @ held[:, row].sum(1))


@every_network
def test_a_saved_network_comes_back_bit_for_bit(
    make: Callable[[], Network], tmp_path: Path
) -> None:
    network, path = make(), tmp_path / "network.safetensors"
    network.save(path)
    again = Network.load(path)
    assert isinstance(again.wiring, Extrinsic)
    A0 = normal(3, network.d, network.n)
    assert torch.equal(again(A0), network(A0))
    assert torch.equal(again.W(2), network.W(2))


def test_read_outs_stream_and_precision_are_those_of_any_network() -> None:
    network = NETWORKS["rotations"]()
    A0 = normal(3, 4, network.n)
    A = network(A0)
    e = torch.zeros(network.T, network.n).double().scatter(1, network.tables[0], 1)
    for layer, (ours, gathered) in enumerate(network.stream(A0.permute(2, 1, 0)), 1):
        assert_equal(ours, A[layer].permute(2, 1, 0))
        assert_equal(gathered, torch.einsum("tp,bip->tib", e, A[layer]))
        assert_equal(network.readout(A, layer), gathered.permute(2, 0, 1) / network.S)
    single = network.to(torch.float32)
    # float32 rounding 6e-8 of sums of a few hundred terms, grown by weights of norm up to 7 a layer
    torch.testing.assert_close(single(A0.float()).double(), A, rtol=1e-4, atol=1e-4)


def test_measurements_are_those_of_the_read_outs() -> None:
    network = NETWORKS["rotations"]()
    measured = cisp.measure(network, z=2, samples=50, rng=3, device="cpu").errors
    active, a0 = network.sample(batch=50, z=2, rng=np.random.default_rng(3))
    A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    rows = torch.arange(50).unsqueeze(1)
    for layer in range(1, network.L + 1):
        delta = cisp.errors(network, A, a, active, layer)["rotation"][rows, active]
        row = measured.query(
            f"layer == {layer} and quantity == 'rotation' and circuits == 'active'"
        )
        assert row.mse.item() == pytest.approx(float(delta.square().sum(-1).mean()), rel=1e-9)
    masked = cisp.measure_masked(network, z=2, samples=50, rng=3).errors
    # nothing outside active circuits is on but what leaks at two, so a mask changes little
    assert masked.mse.to_numpy() == pytest.approx(measured.mse.to_numpy(), abs=0.02)


@pytest.mark.parametrize("name", ["rotations", "weights by layer"])
def test_gradients_equal_those_of_the_dense_network(name: str) -> None:
    network = NETWORKS[name]()
    A0 = normal(3, network.d, network.n).requires_grad_()
    (ours,) = torch.autograd.grad(network(A0)[-1].square().sum(), A0)
    (theirs,) = torch.autograd.grad(network.to_dense()(A0.flatten(1)).square().sum(), A0)
    # relative to the largest entry, as rounding is
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12 * float(theirs.abs().max()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_network_computes_the_same() -> None:
    network, A0 = NETWORKS["rotations"](), normal(3, 4, 30)
    expected, errors = network(A0), cisp.measure(network, z=1).errors.mse
    on_gpu = cisp.measure(network, z=1, device="cuda").errors.mse
    # squares of rounding errors, apart from the inactive
    assert on_gpu.to_numpy() == pytest.approx(errors.to_numpy(), abs=1e-12)
    assert_equal(network.cuda()(A0.cuda()).cpu(), expected)


# ---- exactness. 1e-12: five layers of sums of a few hundred float64 terms of size up to 4


@given(half=st.integers(1, 24), S=st.integers(2, 5), seed=st.integers(0, 99))
def test_one_rotation_alone_is_exact_in_an_unfilled_design(half: int, S: int, seed: int) -> None:
    # 4 positions to a group at least q = 7: T <= 49 = q^2 circuits of any angles, the post's bias
    circuits = rotations(2 * half, rng=seed)
    network = superpose_extrinsic(circuits, D=4 * 7 * S, S=S, rng=seed)
    assert largest_error(network) < 1e-12


@given(T=st.integers(2, 60), S=st.integers(3, 6), seed=st.integers(0, 99))
def test_one_rotation_alone_is_exact_in_any_table_with_more_bias(T: int, S: int, seed: int) -> None:
    circuits = conditional_rotations(T=T, rng=seed, dtype=torch.float64)
    off_centre = float(circuits.w_mean[2:, 2:].norm(dim=1).max())
    circuits = conditional_rotations(
        T=T, rng=seed, bias=(1 + off_centre) * S / (S - 1), dtype=torch.float64
    )
    for allocate in (prime_steps, transversal_design):
        n = next(n for n in range(S, 999) if cisp.prime_steps_capacity(n=n, S=S) >= T
                 and cisp.transversal_design_capacity(n=n, S=S) >= T)  # fmt: skip
        network = superpose_extrinsic(circuits, D=4 * n, S=S, rng=seed, allocate=allocate)
        assert largest_error(network) < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_one_rotation_alone_is_exact_in_the_running_example(seed: int) -> None:
    circuits = conditional_rotations(T=557, rng=seed, dtype=torch.float64)
    network = superpose_extrinsic(circuits, D=1000, S=6, rng=seed, w_mean=over_angles())
    assert largest_error(network) < 1e-12


@pytest.mark.parametrize(("T", "S", "seed"), [(300, 6, 0), (400, 4, 1), (529, 5, 2)])
def test_one_nonlinear_circuit_alone_is_exact(T: int, S: int, seed: int) -> None:
    circuits = gated(T=T, L=5, rng=seed)
    network = superpose_extrinsic(circuits, D=8 * 150, S=S, rng=seed)
    _, _, a = alone(network)
    vector = a[1:, :, 0, 2:]
    assert 0.1 < float((vector == 0).double().mean()) < 0.9  # the ReLUs do cut
    assert float(vector.mean((1, 2)).min()) > 0.1  # and the circuits stay alive
    assert largest_error(network) < 1e-12


@pytest.mark.parametrize(("filled", "needed"), [(False, 1.0), (True, 3 / 2)])
@pytest.mark.parametrize("short", [0.0, 0.02])
def test_the_bias_needed_is_that_of_all_circuits_that_can_join_pushing_alike(
    filled: bool, needed: float, short: float
) -> None:
    # S = 3, q = 5. A position that circuit 0 does not have is joined to two of its positions by
    # circuits of the design (S-1), and to the third, of its own group, by a circuit of the fill (S)
    rows = transversal_design(T=28, n=15, S=3)[: 28 if filled else 25]
    T = len(rows)
    meet = [t for t in range(1, T) if np.isin(rows[t], rows[0]).any()]
    pushers = {p: [t for t in meet if p in rows[t]] for p in range(15) if p not in rows[0]}
    p = max(pushers, key=lambda p: len(pushers[p]))
    assert len(pushers[p]) == (3 if filled else 2)
    theta = np.full(T, np.pi / 2)
    theta[[0, *pushers[p]]] = 0
    circuits = conditional_rotations(theta=theta, bias=needed - short, dtype=torch.float64)

    mean = over_angles(needed - short)
    network = unchecked(circuits, D=60, S=3, allocate=lambda **_: rows, w_mean=mean)
    x = torch.tensor([[[1.5, 0.5, 2, 1]]]).double()  # the first component of x, 1, is pushed around
    A = network(network.embed(x, torch.tensor([[0]])))
    assert float(A[2, 0, 2, p]) == pytest.approx(short, abs=1e-12)

    dealt = np.random.default_rng(0).permutation(T)
    build = partial(
        superpose_extrinsic,
        circuits,
        D=60,
        S=3,
        allocate=lambda **_: rows[np.argsort(dealt)],  # so that circuit t gets row t
        w_mean=mean,
    )
    if not short:
        assert largest_error(build()) < 1e-12
        return
    with pytest.raises(ValueError, match=r"^b\[[23]\]=-\d\.\d+ in layer \d lets circuit"):
        build()


def test_a_sample_mean_off_the_centre_can_make_a_bias_of_one_too_small() -> None:
    circuits = conditional_rotations(T=557, rng=0, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"^b\[[23]\]=-1 in layer 2 lets circuit"):
        superpose_extrinsic(circuits, D=1000, S=6, rng=1)
    network = superpose_extrinsic(
        conditional_rotations(T=557, rng=0, bias=1.1, dtype=torch.float64), D=1000, S=6, rng=1
    )
    assert largest_error(network) < 1e-12


def test_circuits_that_do_not_agree_on_how_to_stay_silent_are_refused() -> None:
    w = rotations(40).w.clone()
    w[::2, :2] *= 3  # indicators: 6 alpha - 0.5 for half of the circuits
    circuits = SmallCircuits(
        w=w,
        b=torch.tensor([-0.5, -1.5, -1, -1]),
        input_mean=torch.tensor([1.5, 0.5, 1, 1]),
        input_map=torch.eye(4)[:, 2:],
    )
    with pytest.raises(ValueError, match=r"^b\[0\]=-0\.5 in layer \d lets circuit \d+, alone"):
        superpose_extrinsic(circuits, D=120, S=4)


def test_a_neuron_that_fires_by_itself_is_refused() -> None:
    circuits = SmallCircuits(w=torch.eye(2).repeat(6, 1, 1), b=torch.tensor([-1.0, 0.25]))
    with pytest.raises(ValueError, match=r"^b\[1\]=0\.25 in layer 1 .* b\[1\] must be at most 0$"):
        superpose_extrinsic(circuits, D=24, S=3, L=3, allocate=prime_steps)


def test_circuits_that_share_two_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="share 2 positions; at most max_overlap=1 are allowed"):
        superpose_extrinsic(rotations(40), D=120, S=4, allocate=random_subsets)


def test_two_and_three_active_circuits_err_at_least_twenty_times_less_than_in_the_posts() -> None:
    circuits = conditional_rotations(T=557, rng=0)
    ours = superpose_extrinsic(circuits, D=1000, S=6, rng=1, w_mean=over_angles())
    posts = cisp.superpose(circuits, D=1000, S=6, rng=1)
    for z in (2, 3):
        last = [
            cisp.measure(network, z=z, samples=2000, rng=z)
            .errors.query("layer == 5 and quantity == 'rotation' and circuits == 'active'")
            .mse.item()
            for network in (ours, posts)
        ]
        assert 20 * last[0] < last[1]
