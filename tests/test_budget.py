"""The parts of an active circuit's error against sums over circuits written out (section 6.2)."""

from collections.abc import Callable
from functools import cache, partial

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from cisp import (
    Network,
    SmallCircuits,
    conditional_rotations,
    error_budget,
    mean_squared_overlap,
    random_subsets,
    superpose,
    theory,
)

# float64: sums of at most a few hundred terms of size below 100
assert_equal = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)

PARTS = ["self", "others_w_mean", "others_delta_w", "previous"]
DROPPED = ["off_neurons", "on_neurons", "clipping"]
Run = tuple[Network, Tensor, Tensor, Tensor]


def normal(*shape: int, rng: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(rng).normal(size=shape))


def run(network: Network, *, z: int, batch: int = 3) -> Run:
    """The network, its activations, the oracle's, and the active circuits."""
    active, a0 = network.sample(batch=batch, z=z, rng=4)
    return network, network(network.embed(a0, active)), network.circuits.run(a0, active), active


def rotations(*, T: int, D: int, S: int, L: int, **more: object) -> Network:
    return superpose(conditional_rotations(T=T, rng=1, dtype=torch.float64), D=D, S=S, L=L, **more)  # type: ignore[arg-type]


def by_layer(*, T: int, D: int, S: int) -> Network:
    """Weights, biases of both signs, and a mean to be split off, all of their own in each layer."""
    w, b = normal(4, T, 3, 3) / 2, normal(4, 3, rng=1) / 4
    return superpose(SmallCircuits(w=w, b=b), D=D, S=S, w_mean=normal(4, 3, 3, rng=2) / 4)


@cache
def crowded() -> Network:
    return rotations(T=30, D=100, S=3, L=4)


NETWORKS: dict[str, Callable[[], Network]] = {
    "rotations": crowded,
    "a mean over all angles": partial(
        rotations, T=20, D=80, S=3, L=3, w_mean=torch.tensor([[2.0, -2, 0, 0]] * 4)
    ),
    "weights, biases and means by layer": partial(by_layer, T=18, D=60, S=3),
    "shared positions": partial(
        rotations, T=12, D=48, S=4, L=3, allocate=random_subsets, max_overlap=4
    ),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
some_active = pytest.mark.parametrize("z", [1, 2, 3])


@every_network
@some_active
def test_the_parts_add_up_to_the_error_of_the_read_out(make: Callable[[], Network], z: int) -> None:
    network, A, a, active = run(make(), z=z)
    for layer in range(2, network.L + 1):
        parts = error_budget(network, A, a, active, layer)
        assert [*parts] == [*PARTS, *DROPPED, "total"]
        total = parts.pop("total")
        read = torch.stack(
            [
                A[layer, k][:, network.tables[layer - 1, row]].mean(-1).T
                for k, row in enumerate(active)
            ]
        )
        assert_equal(total, read - a[layer])
        assert_equal(sum(parts.values()), total)


def test_in_single_precision_the_parts_are_the_same() -> None:
    network, A, a, active = run(crowded(), z=2)
    single = superpose(network.circuits.to(torch.float32), D=100, S=3)
    assert torch.equal(single.tables, network.tables)
    parts = error_budget(single, A.float(), a.float(), active, 3)
    for name, part in error_budget(network, A, a, active, 3).items():
        assert parts[name].dtype == torch.float32
        # sums of a few hundred terms of size up to 10, rounded at 6e-8 of that
        torch.testing.assert_close(parts[name].double(), part, rtol=1e-4, atol=1e-4)


class ByHand:
    """What section 6.2 needs of a layer of a network, without its code: vectors and weights."""

    def __init__(self, network: Network, layer: int) -> None:
        self.S, self.n = network.S, network.n
        self.e, self.before = (
            torch.zeros(network.T, network.n).double().scatter(1, network.tables[k], 1)
            for k in (layer - 1, layer - 2)
        )
        self.w = network.w if network.w.ndim == 3 else network.w[layer - 1]
        self.b = network.b if network.b.ndim == 1 else network.b[layer - 1]
        w_mean = network.w_mean if network.w_mean.ndim == 2 else network.w_mean[layer - 1]
        self.w_mean = w_mean
        self.delta_w = self.w - w_mean
        used = (self.e.T @ self.before > 0).double()  # 5.23, 5.24
        between = (self.e @ used @ self.before.T)[~torch.eye(network.T, dtype=torch.bool)]
        chi = between.sum() / self.S / (self.S**2 - between).sum()
        self.W_emb = used / self.S - chi * (1 - used)
        own = torch.einsum("tij,tp,tq->ipjq", self.delta_w, self.e, self.before) / self.S
        self.W = torch.einsum("ij,pq->ipjq", w_mean, self.W_emb) + own  # 5.20

    def through(self, t: int, A: Tensor) -> Tensor:
        """R_t W |A>, for A (d, n)."""
        return torch.einsum("p,ipjq,jq->i", self.e[t], self.W, A) / self.S

    def read(self, t: int, A: Tensor) -> Tensor:
        """R_t |A> in the layer before."""
        return A @ self.before[t] / self.S


def self_6_24(x: ByHand, t: int, a: dict[int, Tensor]) -> Tensor:
    found = torch.zeros_like(a[t])
    for u in range(len(x.e)):
        if u != t:
            found += (x.e[t] @ x.e[u]) * (x.before[u] @ x.before[t]) * (x.delta_w[u] @ a[t])
    return found / x.S**2


def others_w_mean_6_29(x: ByHand, t: int, a: dict[int, Tensor]) -> Tensor:
    found = torch.zeros_like(a[t])
    for v in a:
        if v != t:
            bracket = x.e[t] @ x.W_emb @ x.before[v] - x.before[t] @ x.before[v]
            found += bracket * (x.w_mean @ a[v])
    return found / x.S


def others_delta_w_6_30(x: ByHand, t: int, a: dict[int, Tensor]) -> Tensor:
    found = torch.zeros_like(a[t])
    for v in a:
        for u in range(len(x.e)):
            if v != t != u:  # what comes by way of t itself is the overlap that 6.16 takes away
                found += (x.e[t] @ x.e[u]) * (x.before[u] @ x.before[v]) * (x.delta_w[u] @ a[v])
    return found / x.S**2


def compare(
    make: Callable[[], Network], name: str, by_hand: Callable[[ByHand, int, int, Run, int], Tensor]
) -> None:
    """A part of every active circuit of three inputs, z = 3, in all layers from the second on."""
    network, A, a, active = case = run(make(), z=3)
    for layer in range(2, network.L + 1):
        x = ByHand(network, layer)
        expected = torch.stack(
            [
                torch.stack([by_hand(x, k, place, case, layer) for place in range(3)])
                for k in range(len(active))
            ]
        )
        assert_equal(error_budget(network, A, a, active, layer)[name], expected)


def activations(case: Run, k: int, layer: int) -> dict[int, Tensor]:
    """The oracle's a^l of input k by active circuit."""
    _, _, a, active = case
    return dict(zip(active[k].tolist(), a[layer, k], strict=True))


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("self", self_6_24),
        ("others_w_mean", others_w_mean_6_29),
        ("others_delta_w", others_delta_w_6_30),
    ],
)
@every_network
def test_self_and_others_are_the_sums_over_circuits_6_24_6_29_and_6_30(
    make: Callable[[], Network],
    name: str,
    formula: Callable[[ByHand, int, dict[int, Tensor]], Tensor],
) -> None:
    def by_hand(x: ByHand, k: int, place: int, case: Run, layer: int) -> Tensor:
        return formula(x, int(case[3][k, place]), activations(case, k, layer - 1))

    compare(make, name, by_hand)


@every_network
def test_previous_is_the_circuits_weights_times_its_error_before_6_20(
    make: Callable[[], Network],
) -> None:
    def by_hand(x: ByHand, k: int, place: int, case: Run, layer: int) -> Tensor:
        _, A, a, active = case
        t = int(active[k, place])
        return x.w[t] @ (x.read(t, A[layer - 1, k]) - a[layer - 1, k, place])

    compare(make, "previous", by_hand)


def on_off(x: ByHand, active: Tensor) -> Tensor:
    """1 on the positions of active circuits in the layer before, else 0."""
    return (x.before[active].sum(0) > 0).double()


@every_network
def test_off_neurons_are_what_positions_of_no_active_circuit_send(
    make: Callable[[], Network],
) -> None:
    def by_hand(x: ByHand, k: int, place: int, case: Run, layer: int) -> Tensor:
        _, A, _, active = case
        return x.through(int(active[k, place]), A[layer - 1, k] * (1 - on_off(x, active[k])))

    compare(make, "off_neurons", by_hand)


@every_network
def test_on_neurons_are_what_their_errors_send_less_what_t_reads_of_them_itself(
    make: Callable[[], Network],
) -> None:
    def by_hand(x: ByHand, k: int, place: int, case: Run, layer: int) -> Tensor:
        _, A, _, active = case
        t = int(active[k, place])
        true = sum(torch.outer(v, x.before[u]) for u, v in activations(case, k, layer - 1).items())
        before = A[layer - 1, k]
        error = before * on_off(x, active[k]) - true
        return x.through(t, error) - x.w[t] @ x.read(t, error)

    compare(make, "on_neurons", by_hand)


@every_network
def test_clipping_is_what_the_networks_relus_add_less_what_the_circuits_own_add(
    make: Callable[[], Network],
) -> None:
    def by_hand(x: ByHand, k: int, place: int, case: Run, layer: int) -> Tensor:
        _, A, a, active = case
        t = int(active[k, place])
        into = torch.einsum("ipjq,jq->ip", x.W, A[layer - 1, k]) + x.b[:, None]
        alone = x.w[t] @ a[layer - 1, k, place] + x.b
        return torch.relu(-into) @ x.e[t] / x.S - torch.relu(-alone)

    compare(make, "clipping", by_hand)


@pytest.mark.parametrize("z", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "make",
    [partial(rotations, T=8, D=100, S=3, L=4), partial(by_layer, T=8, D=75, S=3)],
    ids=["rotations", "weights, biases and means by layer"],
)
def test_without_overlap_every_part_is_zero(make: Callable[[], Network], z: int) -> None:
    network, A, a, active = run(make(), z=z)
    assert not network.chi.any()  # 24 of 25 positions hold a circuit each: nothing to balance
    for layer in range(2, 5):
        for part in error_budget(network, A, a, active, layer).values():
            assert_equal(part, torch.zeros_like(part))


@some_active
def test_one_active_circuit_hears_no_others(z: int) -> None:
    network, A, a, active = run(crowded(), z=z)
    for layer in (2, 3, 4):
        parts = error_budget(network, A, a, active, layer)
        for name in ("others_w_mean", "others_delta_w"):
            assert bool(parts[name].any()) == (z > 1)


def test_what_the_others_send_adds_up_and_self_is_the_same_whoever_they_are() -> None:
    network, z = crowded(), 3
    active, a0 = network.sample(batch=5, z=z, rng=4)

    def parts(places: list[int]) -> dict[str, Tensor]:
        some, a0_some = active[:, places], a0[:, places]
        A = network(network.embed(a0_some, some))
        return error_budget(network, A, network.circuits.run(a0_some, some), some, 3)

    every, first, second = parts([0, 1, 2]), parts([0, 1]), parts([2, 0])
    for name in ("others_w_mean", "others_delta_w"):
        assert_equal(every[name][:, 0], first[name][:, 0] + second[name][:, 1])
    assert_equal(every["self"][:, [0, 1]], first["self"])
    assert_equal(every["self"][:, [2, 0]], second["self"])


def test_the_order_of_the_active_circuits_is_their_order_in_the_parts() -> None:
    network, A, a, active = run(crowded(), z=3)
    turned = [2, 0, 1]
    parts = error_budget(network, A, a, active, 4)
    for name, part in error_budget(network, A, a[:, :, turned], active[:, turned], 4).items():
        assert_equal(part, parts[name][:, turned])


def test_rotations_lose_and_gain_no_indicator_by_delta_w() -> None:
    # rows 0 and 1 of w are those of w-bar, so that Delta w is 0 there
    network, A, a, active = run(crowded(), z=3)
    for layer in (2, 3, 4):
        parts = error_budget(network, A, a, active, layer)
        for name in ("self", "others_delta_w"):
            assert parts[name][..., :2].abs().max() < 1e-14  # rounding of W
            assert parts[name][..., 2:].any()


def test_relus_of_active_rotations_only_add() -> None:
    # none of an active circuit's neurons is cut when it runs alone
    network, A, a, active = run(crowded(), z=3, batch=20)
    for layer in (2, 3, 4):
        clipping = error_budget(network, A, a, active, layer)["clipping"]
        assert float(clipping.min()) > -1e-12  # rounding
        assert float(clipping.max()) > 0.1


def test_neurons_that_should_be_off_are_so_in_layer_1_and_not_after_the_seizure() -> None:
    network, A, a, active = run(crowded(), z=3, batch=20)

    def off(layer: int) -> Tensor:
        """The activations at positions of no active circuit, 0 elsewhere."""
        positions = network.tables[layer - 1][active].flatten(1).unsqueeze(1).expand(-1, 4, -1)
        return A[layer].scatter(2, positions, 0)

    assert not off(1).any()
    assert not error_budget(network, A, a, active, 2)["off_neurons"].any()
    for layer in (2, 3):
        assert float(off(layer).max()) > 0.5
        assert float(error_budget(network, A, a, active, layer + 1)["off_neurons"].std()) > 0.1


def test_with_one_active_circuit_layer_2_has_self_and_clipping_alone() -> None:
    # layer 1 is then exact, with nothing on that should be off
    network, A, a, active = run(crowded(), z=1, batch=30)
    parts = error_budget(network, A, a, active, 2)
    assert_equal(parts["self"] + parts["clipping"], parts["total"])
    for name in ("previous", "off_neurons", "on_neurons"):
        assert_equal(parts[name], torch.zeros_like(parts[name]))
    assert parts["self"].any()
    assert parts["clipping"].any()


@pytest.mark.parametrize("z", [1, 3])
def test_the_mean_squares_of_the_parts_are_those_of_section_6(z: int) -> None:
    # components 2:3, six dealings of one table, 300 inputs. The means have standard errors of 2 to
    # 4%; the predictions, checked in test_theory, leave out another 2 to 4%
    circuits = conditional_rotations(T=300, rng=1, dtype=torch.float64)
    network, A, a, active = run(superpose(circuits, D=1000, S=6, L=7), z=z, batch=300)
    found = []
    for layer in range(2, 8):
        parts = error_budget(network, A, a, active, layer)
        found.append([float(parts[k][..., 2:].square().sum(-1).mean()) for k in PARTS[:3]])
    table = network.tables[0].numpy()
    q = mean_squared_overlap(table, n=250)
    sizes = {"T": 300, "D": 1000, "d": 4, "S": 6}
    predicted = [
        theory.mse_self(**sizes, delta_w_a=1, q=q),
        theory.derived_others_w_mean(table, n=250, z=z, w_mean_a=8),
        theory.mse_others_delta_w(**sizes, z=z, delta_w_a=1, delta_w_own=1, q=q),
    ]
    assert np.mean(found, 0) == pytest.approx(predicted, rel=0.1)


@pytest.mark.parametrize("layer", [0, 1, 5])
def test_the_first_layer_and_those_beyond_the_last_have_no_budget(
    layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it
    with pytest.raises(ValueError) as error:
        error_budget(*run(crowded(), z=1), layer)
    message = f"layer={layer} is not allowed; layer must be an integer in 2..4"
    assert str(error.value) == message
