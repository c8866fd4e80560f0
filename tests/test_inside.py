"""Networks as torch modules: hooks, patches, parameters, derivatives, and models measured."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import jacfwd, jacrev, jvp
from torch.nn.utils import prune

import cisp
from cisp.layers import Bags
from cisp.network import Network

# float64: at most a few hundred terms a sum, three layers
assert_equal = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)


def rotations(T: int = 30, dtype: torch.dtype = torch.float64) -> cisp.SmallCircuits:
    return cisp.conditional_rotations(T=T, rng=0, dtype=dtype)


Make = Callable[[], Network]

NETWORKS: dict[str, Make] = {
    "dealt": lambda: cisp.superpose(rotations(), D=120, S=3, L=3, rng=1),
    "extrinsic": lambda: cisp.superpose_extrinsic(rotations(), D=120, S=3, L=3, silence="auto"),
    "exact": lambda: cisp.superpose_exact(rotations(T=12), D=400, L=3),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def inputs(network: Network, batch: int = 4) -> Tensor:
    active, a0 = network.sample(batch=batch, z=2, rng=3)
    return network.embed(a0, active)


@every_network
def test_a_hook_on_each_layer_sees_the_activations_that_the_forward_pass_returns(
    make: Make,
) -> None:
    network, seen = make(), []
    for layer in network.layers:
        layer.register_forward_hook(lambda module, args, A: seen.append(A))
    A = network(inputs(network))
    assert len(seen) == network.L
    assert torch.equal(torch.stack(seen), A[1:])


@every_network
def test_what_a_hook_returns_and_a_patch_go_on_alike(make: Make) -> None:
    network = make()
    A0, positions = inputs(network), network.tables[1, :4].flatten()

    def silence(A: Tensor) -> Tensor:
        return A.index_fill(2, positions, 0)

    plain, patched = network(A0), network(A0, patch={2: silence})
    assert torch.equal(patched[:2], plain[:2])
    assert torch.equal(patched[2], silence(plain[2]))
    assert float((patched[3] - plain[3]).abs().max()) > 0.1
    network.layers[1].register_forward_hook(lambda module, args, A: silence(A))
    assert torch.equal(network(A0), patched)


def test_a_patch_of_a_layer_that_is_not_there_is_refused() -> None:
    network = NETWORKS["dealt"]()
    with pytest.raises(ValueError, match="patch's layer=4"):
        network(inputs(network), patch={4: torch.relu})


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, in jacfwd
@every_network
def test_derivatives_of_all_kinds_are_those_of_the_dense_network(make: Make) -> None:
    network, dense = make(), make().to_dense().requires_grad_(False)
    A0 = inputs(network, batch=1)

    def last(x: Tensor) -> Tensor:
        return network(x.view_as(A0))[-1].flatten()

    x, v = A0.flatten(), torch.from_numpy(np.random.default_rng(0).normal(size=A0.numel()))
    expected = jacrev(lambda x: dense(x.unsqueeze(0)).flatten())(x)
    assert_equal(jacrev(last)(x), expected)
    assert_equal(jacfwd(last)(x), expected)
    assert_equal(jvp(last, (x,), (v,))[1], expected @ v)

    def curve(
        f: Callable[[Tensor], Tensor], x: Tensor
    ) -> Tensor:  # second derivatives of a function that has some
        return jacfwd(jacrev(lambda x: (f(x) ** 3).sum()))(x)

    of_dense = curve(lambda x: dense(x.unsqueeze(0)).flatten(), x)
    assert float(of_dense.abs().max()) > 1
    assert_equal(curve(last, x), of_dense, rtol=1e-8, atol=1e-8)


def test_gradients_of_long_sums_keep_the_digits_of_bfloat16() -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.integers(20, size=8000))  # a row goes into about 400 sums
    sums = Bags(torch.arange(8000), rows, 8000, 20)
    send = torch.from_numpy(rng.uniform(1, 2, size=(8000, 1, 4)))

    def gradient(dtype: torch.dtype) -> Tensor:
        A = torch.zeros(20, 1, 4, dtype=dtype, requires_grad=True)
        (found,) = torch.autograd.grad((sums(A) * send.to(dtype)).sum(), A)
        return found.double()

    off = gradient(torch.bfloat16) / gradient(torch.float64) - 1
    assert float(off.abs().max()) < 2**-8  # the sum is rounded once


def test_the_network_exports_and_runs_under_autocast() -> None:
    network = cisp.superpose(rotations(dtype=torch.float32), D=120, S=3, L=3, rng=1)
    A0 = inputs(network)
    exported = torch.export.export(network, (A0,))
    assert torch.equal(exported.module()(A0), network(A0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        A = network(A0)
    torch.testing.assert_close(A.float(), network(A0), rtol=0.05, atol=0.05)  # 8 bits
    assert not torch.equal(A.float(), network(A0))


def test_a_trainable_copy_is_the_same_function_and_learns() -> None:
    network = cisp.superpose(rotations(dtype=torch.float32), D=120, S=3, L=3, rng=1)
    copy, A0 = network.trainable(), inputs(network)
    assert torch.equal(copy(A0), network(A0))
    assert {name for name, _ in copy.named_parameters()} == {"w", "b", "w_mean"}
    assert [*network.parameters()] == []
    active, a0 = network.sample(batch=256, z=2, rng=0)
    a = network.circuits.run(a0, active)
    optimizer = torch.optim.Adam(copy.parameters(), lr=1e-3)
    losses = []
    for _ in range(30):
        found = cisp.mse_active(copy, copy(copy.embed(a0, active)), a, active)
        losses.append(found["activations"][-1])
        optimizer.zero_grad()
        losses[-1].backward()
        losses[-1] = losses[-1].detach()
        optimizer.step()
    assert float(losses[-1]) < 0.8 * float(losses[0])
    with torch.no_grad():
        assert torch.equal(copy.circuits.w, copy.w)
        measured = cisp.measure(copy, z=1).errors
    assert bool(measured.mse.notna().all())


def test_a_trainable_copy_can_be_pruned() -> None:
    copy = NETWORKS["dealt"]().trainable()
    A0, before = inputs(copy), float(copy.w.count_nonzero())
    prune.l1_unstructured(copy, "w", amount=0.5)
    copy(A0)
    assert float(copy.w.count_nonzero()) < 0.8 * before
    dense = NETWORKS["dealt"]().to_dense()
    prune.random_unstructured(dense[2], "weight", amount=0.5)
    assert dense(A0.flatten(1)).shape == (4, 120)


@every_network
def test_a_dense_model_is_measured_as_the_network_that_it_equals(make: Make) -> None:
    network = make()
    model = network.to_dense(activations=True)
    A0 = inputs(network)
    assert_equal(model(A0.flatten(1)), network(A0).flatten(2))
    found = cisp.measure(network, z=2, samples=200, model=model)
    expected = cisp.measure(network, z=2, samples=200)
    for column in ("mse", "mse_stderr", "worst"):
        np.testing.assert_allclose(found.errors[column], expected.errors[column], 1e-9, 1e-15)
    np.testing.assert_allclose(found.activity.fraction, expected.activity.fraction)

    def broken(A0: Tensor) -> Tensor:  # the activations of layer 2 doubled, without A^0
        return model(A0)[1:] * torch.tensor([1.0, 2.0, 1.0]).view(-1, 1, 1)

    off = cisp.measure(network, z=2, samples=200, model=broken).errors
    changed = off.mse.to_numpy() != found.errors.mse.to_numpy()
    assert set(off.layer[changed]) == {2}


def test_flat_activations_are_read_as_those_with_blocks() -> None:
    network = NETWORKS["dealt"]()
    active, a0 = network.sample(batch=4, z=2, rng=3)
    A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    for one, other in ((A, A.flatten(2)), (A[2], A[2].flatten(1))):
        expected = cisp.errors(network, one, a, active, layer=2)
        found = cisp.errors(network, other, a, active, layer=2)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert torch.equal(network.readout(other, 2), network.readout(one, 2))


@pytest.mark.parametrize(
    "model",
    [
        lambda A0: [A0],
        lambda A0: [A0[:, :-1]] * 3,
        lambda A0: [A0, A0, A0[:1]],
        nn.Identity(),
    ],
    ids=["one layer", "narrow", "a layer short of inputs", "no layers"],
)
def test_a_model_that_gives_something_else_is_refused(
    model: Callable[[Tensor], list[Tensor]],
) -> None:
    with pytest.raises(ValueError, match="model gives activations of shapes"):
        cisp.measure(NETWORKS["dealt"](), z=2, samples=10, model=model)
