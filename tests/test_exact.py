"""The network that is exact for every set of z circuits: theorem, bounds, and what breaks it."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import cisp
from cisp import Channels, Network, SmallCircuits, conditional_rotations, superpose_exact
from cisp.counted import counted, least_M, planned, while_on
from cisp.reach import affine_states

EXACT = 1e-12  # ten layers of sums of a few dozen float64 terms of size up to 20


def rotations(T: int, L: int = 4, rng: int = 0) -> SmallCircuits:
    """Angles of their own in every layer."""
    theta = np.random.default_rng(rng).uniform(0, 2 * np.pi, (L, T))
    return conditional_rotations(theta=theta, dtype=torch.float64)


def own_biases(T: int, m: int = 3, L: int = 4, rng: int = 0) -> SmallCircuits:
    """Random ReLU networks of width m, each with weights and biases of its own in each layer."""
    draw = np.random.default_rng(rng)
    V = torch.from_numpy(draw.normal(size=(L, T, m, m))) / m**0.5
    c = torch.from_numpy(draw.normal(size=(L, T, m, 1))) / 4
    step = torch.tensor([2.0, -2, *[0] * m]).double().expand(L, T, 2, m + 2)
    w = torch.cat([step, torch.cat([c + 1, -c - 1, V], -1)], -2)  # ReLU(V a + (c + 1) alpha - 1)
    return SmallCircuits(
        w=w,
        b=torch.tensor([-0.5, -1.5, *[-1.0] * m]),
        readouts={"indicator": torch.tensor([[1.0, -1, *[0] * m]]), "state": torch.eye(m + 2)[2:]},
        input_mean=torch.tensor([1.5, 0.5, *[0.5] * m]),
        input_map=torch.eye(m + 2)[:, 2:] / 2,
    )


def built(circuits: SmallCircuits, *, z: int = 2, **options: Any) -> Network:
    """The network on as few positions as hold the circuits."""
    T, m = circuits.T, circuits.d - 2
    n = next(n for n in range(z + 1, 999) if cisp.triangle_free_capacity(n=n, S=z + 1) >= T)
    width = 1 + 2 * m if z == 2 else 1 + z * (1 + m)
    return superpose_exact(circuits, D=n * width, z=z, **options)


def run(network: Network, active: Tensor, rng: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """The states read of all circuits, what is true of them, and all activations, by layer."""
    a0 = network.circuits.sample_inputs(batch=len(active), z=active.shape[1], rng=rng)
    A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    read = torch.stack([network.readout(A, layer) for layer in range(1, network.L + 1)])
    true = torch.stack([cisp.among_all(now, active, T=network.T) for now in a[1:]])
    quantities = network.circuits.quantities
    pairs = [
        (found, exact)
        for found, exact in zip(quantities(read).values(), quantities(true).values(), strict=True)
    ]
    return torch.cat([x for x, _ in pairs], -1), torch.cat([x for _, x in pairs], -1), A


def largest_error(network: Network, active: Tensor) -> float:
    read, true, A = run(network, active)
    off = torch.ones(len(active), network.n).scatter(1, network.tables[0][active].flatten(1), 0.0)
    assert not bool((A[1:] * off.unsqueeze(1)).any())  # positions of no active circuit stay at 0
    return float((read - true).abs().max())


def every_set(T: int, z: int) -> list[Tensor]:
    return [torch.tensor(list(combinations(range(T), k))) for k in range(1, z + 1)]


@pytest.mark.parametrize("T", [20, 45])
@pytest.mark.parametrize("make", [rotations, own_biases])
def test_every_pair_is_exact(make: Callable[..., SmallCircuits], T: int) -> None:
    network = built(make(T))
    assert isinstance(network.wiring, Channels)
    for active in every_set(T, 2):
        assert largest_error(network, active) < EXACT


@pytest.mark.parametrize(("z", "T"), [(1, 16), (3, 14), (4, 14)])
@pytest.mark.parametrize("make", [rotations, own_biases])
def test_every_set_of_z_is_exact(make: Callable[..., SmallCircuits], z: int, T: int) -> None:
    circuits = make(T)
    network = built(circuits, z=z)
    assert (network.S, network.L) == (z + 1, circuits.L + 1)
    for active in every_set(T, z):
        assert largest_error(network, active) < EXACT


def trained(T: int, m: int = 5, L: int = 3) -> SmallCircuits:
    """T networks of three layers, each trained on a sine of its own in two variables."""
    draw = np.random.default_rng(0)
    u = torch.from_numpy(draw.uniform(-1, 1, (200, 2)))
    wave = torch.from_numpy(draw.normal(size=(T, 2, 1))) * 2
    target = torch.sin(u @ wave).squeeze(-1) + 1  # T 200, not negative
    V = (torch.from_numpy(draw.normal(size=(L, T, m, m))) / m**0.5).requires_grad_()
    c = torch.from_numpy(draw.uniform(0, 1, (L, T, m))).requires_grad_()
    start = torch.cat([u, torch.zeros(200, m - 2).double()], 1)

    def first_neuron() -> Tensor:
        a = start.expand(T, -1, -1)
        for layer in range(L):
            a = torch.relu(a @ V[layer].mT + c[layer].unsqueeze(1))
        return a[..., 0]

    optimiser = torch.optim.Adam([V, c], lr=0.02)
    losses = []
    for _ in range(200):
        optimiser.zero_grad()
        loss = (first_neuron() - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    gate = c.detach().unsqueeze(-1) + 1
    step = torch.tensor([2.0, -2, *[0] * m]).double().expand(L, T, 2, m + 2)
    return SmallCircuits(
        w=torch.cat([step, torch.cat([gate, -gate, V.detach()], -1)], -2),
        b=torch.tensor([-0.5, -1.5, *[-1.0] * m]),
        readouts={"indicator": torch.tensor([[1.0, -1, *[0] * m]]), "state": torch.eye(m + 2)[2:]},
        input_mean=torch.tensor([1.5, 0.5, *[0.0] * m]),
        input_map=torch.eye(m + 2)[:, 2:4],
    )


def test_every_pair_of_trained_networks_is_exact() -> None:
    network = built(trained(20))
    assert largest_error(network, every_set(20, 2)[1]) < EXACT


@given(
    z=st.integers(1, 4),
    T=st.integers(2, 40),
    m=st.integers(1, 3),
    L=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_random_circuits_are_exact_for_random_sets(
    z: int, T: int, m: int, L: int, seed: int
) -> None:
    z = min(z, T)
    n = next(n for n in range(z + 1, 999) if cisp.triangle_free_capacity(n=n, S=z + 1) >= T)
    circuits = own_biases(T, m=m, L=L, rng=seed)
    network = superpose_exact(
        circuits, D=n * (1 + 2 * m if z == 2 else 1 + z * (1 + m)), z=z, rng=seed
    )
    active, _ = network.sample(batch=30, z=z, rng=seed)
    assert largest_error(network, active) < EXACT * max(1, least_M(circuits, z=z))


def test_a_planted_triangle_breaks_it() -> None:
    circuits = rotations(3)
    network = superpose_exact(circuits, D=45)
    assert largest_error(network, torch.tensor([[0, 1], [0, 2], [1, 2]])) < EXACT
    table = torch.tensor([[0, 3, 6], [0, 4, 7], [1, 4, 6]])  # meet in 0, 6 and 4
    form = counted(circuits, 9.0)
    broken = Network(form[0], Channels(table.repeat(4, 1, 1), *form[2:], n=9), form[1])
    read, true, _ = run(broken, torch.tensor([[0, 1], [0, 2], [1, 2]]))
    assert float((read - true).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("z", "short", "enough"),
    [(2, 8.0, 8.83), (3, 5.0, 6.0)],  # of rotations; z = 2: 4 + 2 sqrt 2 + 2
)
def test_the_least_M_is_safe_and_not_much_more(z: int, short: float, enough: float) -> None:
    circuits = rotations(60 if z == 2 else 30, rng=3)
    assert least_M(circuits, z=z) == pytest.approx(enough, rel=0.02)

    def worst(M: float) -> float:
        network = built(circuits, z=z, M=M)
        active, _ = network.sample(batch=20_000, z=z, rng=0)
        read, true, _ = run(network, active)
        return float((read - true).abs().max())

    assert worst(enough + 1e-6) < EXACT
    assert worst(short if z == 2 else 3.0) > 1e-3


def scalars(V: float, c: float, T: int) -> SmallCircuits:
    """Circuits of one state neuron, 1 or 1.5 to begin with: kept in layer 1, then ReLU(V a + c)."""
    first, later = [1.0, -1, 1], [c + 1, -c - 1, V]  # ReLU(V a + (c + 1) alpha - 1)
    step = [[2.0, -2, 0], [2, -2, 0]]
    w = torch.tensor([[*step, first], [*step, later]]).double()
    return SmallCircuits(
        w=w.unsqueeze(1).repeat(1, T, 1, 1),
        b=torch.tensor([-0.5, -1.5, -1]),
        readouts={"indicator": torch.tensor([[1.0, -1, 0]]), "state": torch.eye(3)[2:]},
        input_mean=torch.tensor([1.5, 0.5, 1.25]),
        input_map=torch.tensor([[0.0], [0], [0.25]]),
    )


@pytest.mark.parametrize(
    ("V", "c", "needed"),
    [
        (0.1, 0, 3.0),  # 2 a: two states of 1.5 on a position that is to fall silent
        (-2, 3, 4.5),  # z c / 2: a silent position says c for two circuits
        (2, -1, 6.0),  # z m: three sources of 2
    ],
)
def test_the_least_M_of_the_plan_is_the_largest_of_three(V: float, c: float, needed: float) -> None:
    circuits = scalars(V, c, T=100)
    assert least_M(circuits, z=3) == pytest.approx(needed)
    network = built(circuits, z=3)
    active, _ = network.sample(batch=3000, z=3, rng=0)
    assert largest_error(network, active) < EXACT


def test_a_neuron_that_is_always_off_is_0_among_the_states() -> None:
    circuits = scalars(1, 0, T=3)
    w = circuits.w.clone()
    w[0, 1, 2, 0] = -8  # circuit 1: -12 and more below what the others hold
    given = {k: getattr(circuits, k) for k in ("b", "readouts", "input_mean", "input_map")}
    states = affine_states(SmallCircuits(w=w, **given))
    assert states is not None
    assert states[0][:, 2, 0].tolist() == [1.25, 0, 1.25]


def test_positions_that_circuits_share_fall_silent_in_the_plan() -> None:
    for circuits in (scalars(0.1, 0, T=60), rotations(60)):
        network = built(circuits, z=3)
        active, _ = network.sample(batch=500, z=3, rng=0)
        A = run(network, active)[2]
        shared = A[1, :, 0] > 1
        assert bool(shared.any())
        assert not bool(A[2:, :, 4:].abs().sum((0, 2))[shared].any())


def test_a_circuit_that_shares_all_its_positions_is_read_as_off() -> None:
    table = torch.tensor([[0, 3, 6], [0, 4, 7], [1, 3, 8], [2, 5, 6]])  # the first meets the others
    form = counted(rotations(4), 9.0)
    network = Network(form[0], Channels(table.repeat(4, 1, 1), *form[2:], n=9), form[1])
    read, true, _ = run(network, torch.tensor([[0, 1, 2, 3]]))
    assert not bool(read[0, 0, 0].any())
    torch.testing.assert_close(read[0, 0, 1:], true[0, 0, 1:])


def corners(m: int, T: int = 60) -> SmallCircuits:
    """Circuits whose states are largest on inputs that a sample hardly finds: a^1 = 8 x - 4."""
    first, later = 8 * torch.eye(m), torch.eye(m)
    V = torch.stack([first, later, later]).double().unsqueeze(1).repeat(1, T, 1, 1)
    c = torch.tensor([-4.0, 0, 0]).double().view(3, 1, 1, 1).expand(3, T, m, 1)
    step = torch.tensor([2.0, -2, *[0] * m]).double().expand(3, T, 2, m + 2)
    return SmallCircuits(
        w=torch.cat([step, torch.cat([c + 4, -c - 4, V], -1)], -2),
        b=torch.tensor([-0.5, -1.5, *[-4.0] * m]),
        readouts={"indicator": torch.tensor([[1.0, -1, *[0] * m]]), "state": torch.eye(m + 2)[2:]},
        input_mean=torch.tensor([1.5, 0.5, *[0.0] * m]),
        input_map=torch.eye(m + 2)[:, 2:],
    )


@pytest.mark.parametrize("z", [2, 3])
def test_where_relus_cut_the_least_M_holds_for_the_worst_input_too(z: int) -> None:
    network = built(corners(16), z=z)
    active, a0 = network.sample(batch=3000, z=z, rng=0)
    first = network.d - 16 * (network.S - 1)
    a0[..., first : first + 16] = 0
    a0[..., first] = 1  # x along an axis: a^1 = 4 in one neuron
    A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    for layer in range(1, network.L + 1):
        off = network.readout(A, layer) - cisp.among_all(a[layer], active, T=network.T)
        assert float(network.circuits.quantities(off)["state"].abs().max()) < EXACT


def test_single_precision_has_the_same_least_M() -> None:
    circuits = conditional_rotations(T=300, rng=0).with_layers(10)
    double = conditional_rotations(T=300, rng=0, dtype=torch.float64).with_layers(10)
    for z in (2, 3):
        assert least_M(circuits, z=z) == pytest.approx(least_M(double, z=z), rel=1e-5)


def test_positions_that_are_shared_are_emptied_although_their_weights_are_small() -> None:
    start = rotations(20)
    w = start.w.clone()
    w[1:, :, 2:] /= 10  # from layer 2 on the states are small, those of layer 1 are not
    circuits = SmallCircuits(
        w=w, b=torch.tensor([-0.5, -1.5, -0.1, -0.1]), readouts=start.readouts,
        input_mean=start.input_mean, input_map=start.input_map,
    )  # fmt: skip
    network = built(circuits, z=3)
    active, _ = network.sample(batch=2000, z=3, rng=0)
    assert largest_error(network, active) < EXACT


def test_the_network_is_plain_linear_and_relu() -> None:
    for z in (2, 3):
        network = built(rotations(10), z=z)
        active, a0 = network.sample(batch=20, z=z, rng=0)
        A0 = network.embed(a0, active)
        A = network(A0)
        torch.testing.assert_close(network.to_dense()(A0.flatten(1)), A[-1].flatten(1))
        torch.testing.assert_close(cisp.run_dense(network, A0), A)
        for layer in range(2, network.L + 1):
            parts = [network.component(layer, t) for t in range(network.T)]
            whole = network.shared(layer) + torch.stack(parts).sum(0)
            torch.testing.assert_close(whole, network.W(layer))
            inside = network.tables[0][3]
            own = parts[3].view(network.d, network.n, network.d, network.n)
            reached = own.abs().amax((0, 2)).nonzero()
            assert bool(torch.isin(reached, inside).all())


def test_dense_weights_are_those_of_the_formula() -> None:
    # z = 2, block by block, from the definition of the channels: h_1, h_2 of a position hear the
    # other two positions of each of its circuits, and count who is there
    circuits, M, n = rotations(8, L=2), 9.0, 15
    network = superpose_exact(circuits, D=5 * n, M=M, rng=4)
    on, table = while_on(circuits), network.tables[0]
    W = torch.zeros(5, n, 5, n).double()
    for p in range(n):
        W[0, p, 0, p] = 1
        W[1:3, p, 0, p] += M
        for t in range(8):
            for x in range(3):
                if int(table[t, x]) != p:
                    continue
                one, two = int(table[t, (x + 1) % 3]), int(table[t, (x + 2) % 3])
                for h, r in ((slice(1, 3), one), (slice(3, 5), two)):
                    W[h, p, 0, r] += on.c[1, t]
                    W[h, p, 1:3, r] += on.V[1, t]
                    W[h, p, 3:5, r] += on.V[1, t]
                W[1:3, p, 0, one] -= M
                W[3:5, p, 0, one] += M
    torch.testing.assert_close(network.W(2), W.reshape(5 * n, 5 * n))
    assert network.B(2).view(5, n)[:, 0].tolist() == [0, 0, 0, -2 * M, -2 * M]


def test_a_saved_network_comes_back_bit_for_bit(tmp_path: Path) -> None:
    for z in (2, 3):
        network = built(rotations(10), z=z)
        network.save(tmp_path / "n.safetensors")
        again = Network.load(tmp_path / "n.safetensors")
        active, a0 = network.sample(batch=20, z=z, rng=0)
        A0 = network.embed(a0, active)
        assert torch.equal(again(A0), network(A0))
        assert torch.equal(again.readout(again(A0), 2), network.readout(network(A0), 2))


def test_measure_takes_it_as_it_is() -> None:
    network = built(rotations(20))
    found = cisp.measure(network, z=2, samples="all").errors
    assert found.samples.iloc[0] == 190
    assert found.worst.max() < EXACT
    assert set(found.quantity) == {"indicator", "rotation"}
    single = built(conditional_rotations(T=20))
    assert cisp.measure(single, z=2, samples="all").errors.worst.max() < 1e-4  # float32


def test_the_counted_circuits_are_the_circuits() -> None:
    for circuits in (rotations(6), own_biases(6)):
        active = torch.arange(6).unsqueeze(1)
        a0 = circuits.sample_inputs(batch=6, z=1, rng=2)
        of_circuits = circuits.quantities(circuits.run(a0, active))
        for form, held in ((counted(circuits, 20.0), ()), (planned(circuits, 20.0, 3), (2,))):
            again = form[0].sample_inputs(batch=6, z=1, rng=2)
            found = form[0].quantities(form[0].run(again, active))
            for name, exact in of_circuits.items():
                kept = [k for k in range(len(found[name])) if k not in held]
                torch.testing.assert_close(found[name][kept][1:], exact[1:])


def test_more_active_circuits_than_z_are_not_exact() -> None:
    network = built(rotations(40))
    assert cisp.measure(network, z=3, samples=500).errors.worst.max() > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"readouts": {}}, r"^circuits have the read-outs \[\]; they need one named 'indicator'"),
        ({"input_map": torch.eye(4)}, r"^the On-indicator of circuit 0 depends on its state or is"),
        ({"b": torch.tensor([-0.4, -1.5, -1, -1])}, r"^the On-indicator of circuit 0 goes from \["),
    ],
)
def test_circuits_that_are_not_gated_are_refused(change: dict[str, Any], message: str) -> None:
    start = conditional_rotations(T=4, dtype=torch.float64)
    given = {k: getattr(start, k) for k in ("w", "b", "readouts", "input_mean", "input_map")}
    circuits = SmallCircuits(**{**given, **change})
    with pytest.raises(ValueError, match=message):
        superpose_exact(circuits, D=100)


@pytest.mark.parametrize("z", [2, 3])
def test_weights_may_stop_a_circuit_or_start_it_while_it_stays_counted(z: int) -> None:
    circuits = rotations(20, L=5)
    w = circuits.w.clone()
    w[2:, 1::3, 2:] = torch.tensor([1.0, -1, 0, 0]).double()  # ReLU(alpha - 1) = 0 from layer 3 on
    w[:2, 2::3, 2:] = torch.tensor([1.0, -1, 0, 0]).double()  # up to layer 2
    w[2, 2::3, 2:] = torch.tensor([[2.5, -2.5, 0, 0], [2, -2, 0, 0]]).double()
    given = {k: getattr(circuits, k) for k in ("b", "readouts", "input_mean", "input_map")}
    network = built(SmallCircuits(w=w, **given), z=z)
    for active in every_set(20, z):
        assert largest_error(network, active) < EXACT


def test_a_circuit_that_is_no_longer_on_is_refused() -> None:
    circuits = rotations(6, L=5)
    w = circuits.w.clone()
    w[2:, 4, :2] = 0
    given = {k: getattr(circuits, k) for k in ("b", "readouts", "input_mean", "input_map")}
    message = r"^the On-indicator of circuit 4 goes from \[1.5, 0.5\] to \[0.0, 0.0\] in layer 3"
    with pytest.raises(ValueError, match=message):
        superpose_exact(SmallCircuits(w=w, **given), D=100)


def test_circuits_that_do_not_fit_are_counted() -> None:
    with pytest.raises(ValueError, match=r"^D=100 has 20 positions of 5 neurons, for \d+ circuits"):
        superpose_exact(conditional_rotations(T=500), D=100)
    with pytest.raises(ValueError, match=r"^z=0 is not allowed; z must be an integer in 1..5"):
        superpose_exact(conditional_rotations(T=5), D=100, z=0)
    with pytest.raises(ValueError, match=r"^circuits have d=2 neurons, all of the On-indicator;"):
        superpose_exact(cisp.step_indicators(T=9), D=45)
    network = built(rotations(9))
    active, a0 = network.sample(batch=2, z=2)
    A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    with pytest.raises(ValueError, match=r"^network has read-outs that are not linear"):
        cisp.error_budget(network, A, a, active, 2)
    with pytest.raises(ValueError, match=r"^M=-1 is not allowed; M must be a positive number"):
        superpose_exact(conditional_rotations(T=5), D=100, M=-1)
