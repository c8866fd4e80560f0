"""The same on a graphics card: `pytest -n0 tests/test_cuda.py`, skipped where there is none."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import cisp
from cisp.calls import with_calls

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

CUDA = torch.device("cuda")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NETWORKS: dict[str, Callable[[cisp.SmallCircuits], cisp.Network]] = {
    "superpose": lambda c: cisp.superpose(c, D=600, S=4, L=4),
    "superpose_extrinsic": lambda c: cisp.superpose_extrinsic(c, D=600, S=4, L=4),
    "superpose_extrinsic, silenced": lambda c: cisp.superpose_extrinsic(
        c, D=600, S=4, L=4, silence="auto"
    ),
    "superpose_exact": lambda c: cisp.superpose_exact(c, D=1500, L=4),
    "superpose_exact for three": lambda c: cisp.superpose_exact(c, D=3000, z=3, L=4),
}


def rotations(dtype: torch.dtype = torch.float64) -> cisp.SmallCircuits:
    return cisp.conditional_rotations(T=150, bias=2, rng=1, dtype=dtype)


def close(found: Tensor, wanted: Tensor) -> None:
    """Equal but for the order of sums, in which a card may add differently from run to run."""
    assert found.device.type == "cuda"
    eps = torch.finfo(wanted.dtype).eps
    torch.testing.assert_close(found.cpu(), wanted, rtol=64 * eps, atol=64 * eps)


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """Matrix products in float32, not in the card's shorter TF32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_on_the_card_equals_that_on_the_cpu(name: str, dtype: torch.dtype) -> None:
    network = NETWORKS[name](rotations(dtype))
    active, a0 = network.sample(batch=64, z=2, rng=3)
    moved = NETWORKS[name](rotations(dtype).to(CUDA))  # built there, and not only moved
    assert torch.equal(moved.tables.cpu(), network.tables)
    A0 = network.embed(a0, active)
    close(moved.embed(a0.to(CUDA), active.to(CUDA)), A0)
    close(moved(A0.to(CUDA)), network(A0))
    close(moved.readout(moved(A0.to(CUDA)), 3), network.readout(network(A0), 3))
    for layer in range(1, 5):
        close(moved.W(layer), network.W(layer))
        close(moved.B(layer), network.B(layer))
        close(moved.component(layer, 7), network.component(layer, 7))
    close(moved.to_dense()(A0.to(CUDA).flatten(1)), network.to_dense()(A0.flatten(1)).detach())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_moved_to_the_card_and_back_is_the_same(name: str) -> None:
    network = NETWORKS[name](rotations())
    active, a0 = network.sample(batch=16, z=2, rng=3)
    A0 = network.embed(a0, active)
    wanted = network(A0)
    close(network.to(CUDA)(A0.to(CUDA)), wanted)
    assert torch.equal(network.to("cpu")(A0), wanted)


@pytest.mark.parametrize("measure", [cisp.measure, cisp.measure_masked])
@pytest.mark.parametrize("z", [1, 2, {1: 0.5, 3: 0.5}])
def test_measured_errors_are_those_of_the_cpu(
    measure: Callable[..., cisp.Measurement], z: object
) -> None:
    network = NETWORKS["superpose"](rotations())
    given = {"z": z, "samples": 5000, "rng": 5, "progress": False}
    here, there = measure(network, **given), measure(network, **given, device="cuda")
    for name in ("errors", "activity", "circuits"):
        one, other = getattr(here, name), getattr(there, name)
        numbers = one.select_dtypes("number").columns
        pd.testing.assert_frame_equal(one[numbers], other[numbers], rtol=1e-9)


def test_gradients_are_those_of_the_cpu() -> None:
    network = NETWORKS["superpose"](rotations())
    active, a0 = network.sample(batch=16, z=2, rng=3)
    A0 = network.embed(a0, active)
    gradients = []
    for device in ("cpu", "cuda"):
        x = A0.detach().to(device).requires_grad_()
        network.to(device)(x).square().sum().backward()
        assert x.grad is not None
        gradients.append(x.grad)
    close(gradients[1], gradients[0])


def test_what_looks_at_circuits_and_networks_finds_the_same() -> None:
    circuits, there = rotations(), rotations().to(CUDA)
    for one, other in zip(
        cisp.check_assumptions(circuits, D=600, z=1),
        cisp.check_assumptions(there, D=600, z=1),
        strict=True,
    ):
        assert (one.holds, one.circuit, one.layer) == (other.holds, other.circuit, other.layer)
        assert np.isclose(one.margin, other.margin)
    plans = [cisp.plan(c, D=600, z=2, S=[4], draws=512) for c in (circuits, there)]
    pd.testing.assert_frame_equal(*plans, rtol=1e-9)
    network = NETWORKS["superpose"](circuits)
    given: dict[str, Any] = {
        "z": 2,
        "samples": 500,
        "keep": 8,
        "steps": 5,
        "swaps": 5,
        "progress": False,
    }
    here = cisp.worst_case(network, **given)
    moved = cisp.worst_case(network.to(CUDA), **given)
    assert np.isclose(here.error, moved.error)


def test_calls_work_on_the_card() -> None:
    network = cisp.superpose_exact(cisp.conditional_rotations(theta=np.ones((4, 6))), D=45, M=8.0)
    calls, start = torch.tensor([[0, 1]]), torch.ones(2)
    active, a0 = network.sample(batch=9, z=1, rng=3)
    x = network.embed(a0, active).flatten(1)
    wanted = with_calls(network, calls, layer=2, start=start)(x)
    there = with_calls(network.to(CUDA), calls.to(CUDA), layer=2, start=start.to(CUDA))
    close(there(x.to(CUDA)), wanted)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_default_device_changes_no_number(name: str) -> None:
    wanted = NETWORKS[name](rotations())
    active, a0 = wanted.sample(batch=16, z=2, rng=3)
    errors = cisp.measure(wanted, z=2, samples=500, progress=False).errors
    torch.set_default_device("cuda")
    try:
        network = NETWORKS[name](rotations())
        again, b0 = network.sample(batch=16, z=2, rng=3)
        assert torch.equal(again.cpu(), active)
        assert torch.equal(b0.cpu(), a0)
        A = network(network.embed(b0, again)).cpu()
        found = cisp.measure(network, z=2, samples=500, progress=False).errors
    finally:
        torch.set_default_device(None)
    torch.testing.assert_close(A, wanted(wanted.embed(a0, active)), rtol=1e-12, atol=1e-12)
    pd.testing.assert_series_equal(found.mse, errors.mse, rtol=1e-9)


def test_memory_of_the_card_does_not_grow_with_samples() -> None:
    network, peaks = NETWORKS["superpose"](rotations(torch.float32)).to(CUDA), []
    for samples in (5000, 50_000):
        torch.cuda.reset_peak_memory_stats()
        cisp.measure(network, z=2, samples=samples, progress=False)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < 1.5 * peaks[0]  # a lot more of inputs may be in flight


def test_a_saved_network_comes_back_from_the_card(tmp_path: object) -> None:
    network = NETWORKS["superpose"](rotations()).to(CUDA)
    network.save(f"{tmp_path}/network")
    loaded = cisp.Network.load(f"{tmp_path}/network")
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name].cpu(), value.cpu())
