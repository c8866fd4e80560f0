"""The worst error is looked for over sets and over inputs, and what is found occurs."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

import cisp


def extrinsic(T: int = 100, *, D: int = 600, S: int = 10) -> cisp.Network:
    circuits = cisp.loaded_rotations(T=T, rng=0, bias=3, dtype=torch.float64)
    return cisp.superpose_extrinsic(circuits, D=D, S=S, rng=0)


def posts(T: int = 12, *, D: int = 60, L: int = 3) -> cisp.Network:
    circuits = cisp.conditional_rotations(T=T, rng=0, dtype=torch.float64)
    return cisp.superpose(circuits, D=D, S=3, L=L, rng=0)


def error(network: cisp.Network, active: Tensor, a0: Tensor, first: int = 1) -> Tensor:
    """The largest error of an active vector in each input, by the read-out of all circuits."""
    A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    layers = range(first, network.L + 1)
    found = [cisp.errors(network, A, a, active, layer)["rotation"] for layer in layers]
    of = torch.stack([cisp.of_active(delta, active).norm(dim=-1) for delta in found])
    return of.amax((0, 2))


def replayed(network: cisp.Network, found: cisp.WorstCase, first: int = 1) -> float:
    return float(error(network, found.active.unsqueeze(0), found.a0.unsqueeze(0), first))


def on_a_grid(network: cisp.Network, angles: int) -> float:
    """The largest error over all pairs and a grid of directions of both inputs."""
    turn = torch.arange(angles).double() * 2 * torch.pi / angles
    one = torch.stack([turn.cos(), turn.sin()], 1) @ network.input_map.T + network.input_mean
    a0 = torch.stack([one.repeat_interleave(angles, 0), one.repeat(angles, 1)], 1)
    pairs = torch.tensor(list(combinations(range(network.T), 2)))
    return max(float(error(network, p.expand(len(a0), 2), a0).max()) for p in pairs)


@pytest.mark.parametrize("make", [posts, extrinsic])
def test_it_finds_more_than_inputs_drawn_at_random(make: Callable[[], cisp.Network]) -> None:
    network, first = make(), 2 if make is extrinsic else 1
    drawn = cisp.measure(network, z=2, samples="all", progress=False).errors
    drawn = cisp.rows(drawn, quantity="rotation", circuits="active")
    found = cisp.worst_case(network, z=2, first=first, keep=50, steps=20, progress=False)
    assert found.error > 1.02 * drawn.worst[drawn.layer >= first].max()


def test_the_input_found_gives_the_error() -> None:
    for network, z, first in ((posts(), 3, 1), (extrinsic(), 2, 2)):
        found = cisp.worst_case(network, z=z, first=first, samples=100, steps=10, progress=False)
        assert replayed(network, found, first) == pytest.approx(found.error, rel=1e-12)
        assert found.circuit in found.active.tolist()
        assert found.layer >= first
        A = network(network.embed(found.a0[None], found.active[None]))
        a = network.circuits.run(found.a0[None], found.active[None])
        delta = cisp.errors(network, A, a, found.active[None], found.layer)["rotation"]
        assert float(delta[0, found.circuit].norm()) == pytest.approx(found.error, rel=1e-12)
        u = found.a0 - network.input_mean
        torch.testing.assert_close(u.norm(dim=1), torch.ones(z).double())


def test_it_is_the_worst_of_a_fine_grid_of_directions() -> None:
    network = posts(6, D=40, L=2)
    brute = on_a_grid(network, 60)
    found = cisp.worst_case(network, z=2, keep=15, starts=6, steps=60, progress=False)
    assert (found.scanned, found.sets) == (15, 15)
    # a grid misses the top by at most half a step of 6 degrees in each of two directions
    assert brute - 1e-9 <= found.error <= brute * 1.01


@pytest.mark.parametrize("z", [1, 2, 3])
def test_an_exact_network_has_no_worst_case(z: int) -> None:
    circuits = cisp.conditional_rotations(T=12, rng=0, dtype=torch.float64)
    network = cisp.superpose_exact(circuits, D=400, z=z)
    found = cisp.worst_case(network, z=z, keep=20, steps=5, progress=False)
    assert found.error < 1e-12


def test_the_same_seed_finds_the_same() -> None:
    one, two, other = (
        cisp.worst_case(posts(), z=2, samples=30, steps=5, rng=rng, progress=False)
        for rng in (3, 3, 4)
    )
    assert one.error == two.error
    assert torch.equal(one.a0, two.a0)
    assert not torch.equal(one.a0, other.a0)


def test_more_steps_find_no_less() -> None:
    errors = [
        cisp.worst_case(posts(), z=2, steps=steps, progress=False).error for steps in (0, 5, 40)
    ]
    assert errors == sorted(errors)
    assert errors[-1] > errors[0]


def test_of_few_sets_those_that_exchange_circuits_find_worse() -> None:
    network = extrinsic()
    kept, swapped = (
        cisp.worst_case(network, z=3, first=2, samples=500, steps=0, swaps=k, progress=False)
        for k in (0, 100)
    )
    assert swapped.error > 1.1 * kept.error
    assert len(set(swapped.active.tolist())) == 3
    assert replayed(network, swapped, 2) == pytest.approx(swapped.error, rel=1e-12)


def test_it_stops_when_the_error_is_enough() -> None:
    network = posts(40, D=200)
    every = cisp.worst_case(network, z=2, steps=0, progress=False)
    assert (every.scanned, every.sets) == (780, 780)
    early = cisp.worst_case(network, z=2, enough=0.1 * every.error, progress=False)
    assert early.scanned < 780
    assert 0.1 * every.error <= early.error <= every.error


def test_any_quantity_or_the_activations_can_be_asked_for() -> None:
    network = posts()
    named = cisp.worst_case(network, z=2, quantity="indicator", progress=False)
    assert named.quantity == "indicator"
    bare = cisp.SmallCircuits(w=torch.eye(2).repeat(6, 1, 1), b=-torch.ones(2) / 2)
    found = cisp.worst_case(cisp.superpose(bare, D=24, S=3), z=2, progress=False)
    assert found.quantity == "activations"
    assert np.isfinite(found.error)


def test_enough_may_be_a_whole_number() -> None:
    found = cisp.worst_case(posts(40, D=200), z=2, steps=0, enough=1, progress=False)
    assert found.error >= 1
