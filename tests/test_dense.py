"""A network as dense layers, with the weights of some replaced (5.17)."""

from functools import partial

import pytest
import torch

from cisp import Network, conditional_rotations, run_dense, superpose, superpose_extrinsic

# float64: sums of 24 terms of size below 10, three layers
assert_equal = partial(torch.testing.assert_close, rtol=0, atol=1e-12)


def build(extrinsic: bool = False) -> Network:
    make = superpose_extrinsic if extrinsic else superpose
    circuits = conditional_rotations(T=9, rng=1, bias=2, dtype=torch.float64)
    return make(circuits, D=96, S=3, L=3, rng=2)


@pytest.mark.parametrize("extrinsic", [False, True])
def test_without_other_weights_the_dense_layers_are_the_network(extrinsic: bool) -> None:
    network = build(extrinsic)
    active, a0 = network.sample(batch=7, z=2, rng=3)
    A0 = network.embed(a0, active)
    assert_equal(run_dense(network, A0), network(A0))


def test_given_weights_take_the_place_of_their_layers_and_of_no_other() -> None:
    network = build()
    A0 = network.embed(*network.sample(batch=7, z=2, rng=3)[::-1])
    other = torch.randn(96, 96, generator=torch.Generator().manual_seed(4)).double()
    A = run_dense(network, A0, {2: other})
    assert_equal(A[:2], network(A0)[:2])
    second = torch.relu(A[1].flatten(1) @ other.T + network.B(2))
    third = torch.relu(second @ network.W(3).T + network.B(3))
    assert_equal(A[2].flatten(1), second)
    assert_equal(A[3].flatten(1), third)


def test_another_activation_takes_the_place_of_every_relu() -> None:
    network = build()
    A0 = network.embed(*network.sample(batch=7, z=2, rng=3)[::-1])
    A = run_dense(network, A0, activate=lambda inside: 2 * inside)
    expected = A0.flatten(1)
    for layer in range(1, 4):
        expected = 2 * (expected @ network.W(layer).T + network.B(layer))
        # linear, so nothing is cut and numbers grow: compared with their size
        torch.testing.assert_close(A[layer].flatten(1), expected, rtol=1e-12, atol=1e-12)
