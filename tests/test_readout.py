"""Read-outs and their errors against equations 5.30 to 5.35."""

from functools import cache, partial

import torch
from torch import Tensor

from cisp import (
    Network,
    among_all,
    conditional_rotations,
    errors,
    estimates,
    is_active,
    mse_active,
    of_active,
    superpose,
)

# float64: sums of S terms of size below 10
assert_equal = partial(torch.testing.assert_close, rtol=0, atol=1e-12)


@cache
def case() -> tuple[Network, Tensor, Tensor, Tensor]:
    """A network, its activations, the active circuits and the oracle's activations."""
    network = superpose(conditional_rotations(T=25, rng=1, dtype=torch.float64), D=120, S=4, L=3)
    active, a0 = network.sample(batch=5, z=3, rng=2)
    return network, network(network.embed(a0, active)), active, network.circuits.run(a0, active)


def read(layer: int) -> Tensor:
    """a_hat (batch, T, d) from the positions of each circuit (5.30)."""
    network, A, _, _ = case()
    rows = network.tables[layer - 1].tolist()
    return torch.stack([A[layer][:, :, row].sum(-1) / 4 for row in rows], 1)


def test_a_read_out_is_the_mean_over_a_circuits_positions() -> None:
    network, A, _, _ = case()
    for layer in range(1, 4):
        assert_equal(network.readout(A, layer), read(layer))
        assert torch.equal(network.readout(A[layer], layer), network.readout(A, layer))


def test_indicator_and_vector_are_read_from_the_estimated_activations() -> None:
    network, A, _, _ = case()
    for layer in range(1, 4):
        a_hat = read(layer)
        alpha = a_hat[..., 0] - a_hat[..., 1]  # 5.31
        x = torch.stack([a_hat[..., 2] - alpha, a_hat[..., 3] - alpha], -1)  # 5.32
        found = estimates(network, A, layer)
        assert_equal(found["indicator"], alpha[..., None])
        assert_equal(found["rotation"], x)


def test_errors_are_estimate_minus_truth_and_the_truth_of_an_inactive_circuit_is_zero() -> None:
    network, A, active, a = case()
    for layer in range(1, 4):
        true = torch.zeros(5, 25, 4).double()
        for k, row in enumerate(active.tolist()):
            for place, t in enumerate(row):
                true[k, t] = a[layer, k, place]
        delta = read(layer) - true
        alpha = delta[..., 0] - delta[..., 1]
        found = errors(network, A, a, active, layer)
        assert list(found) == ["activations", "indicator", "rotation"]
        assert_equal(found["activations"], delta)
        assert_equal(found["indicator"], alpha[..., None])
        assert_equal(found["rotation"], delta[..., 2:] - alpha[..., None])


def test_one_active_circuit_is_read_exactly_at_layer_1() -> None:
    network, _, _, _ = case()
    everyone = torch.arange(25)[:, None]
    inputs = network.circuits.sample_inputs(batch=25, z=1)
    alone = network.circuits.run(inputs, everyone)
    delta = errors(network, network(network.embed(inputs, everyone)), alone, everyone, 1)
    assert_equal(delta["activations"][range(25), range(25)], torch.zeros(25, 4).double())
    assert float(delta["activations"].abs().max()) > 0.1  # others share a position with it


def test_the_entries_of_active_circuits_are_taken_out_and_put_back_one_by_one() -> None:
    _, _, active, a = case()
    everyone = read(2)
    theirs = of_active(everyone, active)
    placed, on = among_all(a[2], active, T=25), is_active(active, T=25)
    for k, row in enumerate(active.tolist()):
        assert torch.equal(theirs[k], torch.stack([everyone[k, t] for t in row]))
        for t in range(25):
            assert bool(on[k, t]) == (t in row)
            expected = a[2, k, row.index(t)] if t in row else torch.zeros(4).double()
            assert torch.equal(placed[k, t], expected)
    assert torch.equal(of_active(placed, active), a[2])
    assert torch.equal(of_active(everyone[..., 0], active), theirs[..., 0])  # any shape behind T


def test_the_mean_squared_error_of_active_circuits_is_over_inputs_and_circuits() -> None:
    network, A, active, a = case()
    found = mse_active(network, A, a, active)
    assert list(found) == ["activations", "indicator", "rotation"]
    for layer in range(1, 4):
        for name, delta in errors(network, A, a, active, layer).items():
            squares = [delta[k, t] @ delta[k, t] for k, row in enumerate(active) for t in row]
            assert_equal(found[name][layer - 1], torch.stack(squares).mean())


def test_a_network_of_one_layer_has_one_mean_squared_error() -> None:
    network = superpose(case()[0].circuits, D=120, S=4, L=1)
    active, a0 = network.sample(batch=5, z=3, rng=2)
    A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    (found,) = mse_active(network, A, a, active)["rotation"]
    delta = of_active(errors(network, A, a, active, 1)["rotation"], active)
    assert_equal(found, delta.square().sum(-1).mean())
