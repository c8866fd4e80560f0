"""Dtypes and devices: every public function works in each of four dtypes, or refuses at once."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import cisp
from cisp.calls import with_calls
from cisp.layers import Bags
from cisp.tally import Tally

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FURTHER = 6  # matrices that a state goes through one after the other, each rounding it anew


def rotations(dtype: torch.dtype) -> cisp.SmallCircuits:
    # drawn in float64 whatever the dtype, so that only rounding tells them apart
    return cisp.conditional_rotations(T=6, bias=2, dtype=dtype).with_layers(3)


def gates(dtype: torch.dtype) -> cisp.SmallCircuits:
    rng = torch.Generator().manual_seed(0)
    w, b = (torch.rand(2, 6, *size, generator=rng, dtype=torch.float64) for size in ((3, 3), (3,)))
    return cisp.gated(w.to(dtype) / 3, b.to(dtype))


def dealt(dtype: torch.dtype) -> cisp.Network:
    return cisp.superpose(rotations(dtype), D=48, S=3)


def exact(dtype: torch.dtype, z: int = 2) -> cisp.Network:
    return cisp.superpose_exact(rotations(dtype), D=200, z=z)


def run(network: cisp.Network) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    active, a0 = network.sample(batch=7, z=2, rng=1)
    with torch.no_grad():
        return active, a0, network.circuits.run(a0, active), network(network.embed(a0, active))


def dense(network: cisp.Network) -> Tensor:
    _, _, _, A = run(network)
    found: Tensor = network.to_dense()(A[0].flatten(1))
    return found.detach()


def nets(dtype: torch.dtype) -> list[nn.Sequential]:
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(2, 4), nn.ReLU()).to(dtype) for _ in range(3)]


def calling(dtype: torch.dtype) -> Tensor:
    network = cisp.superpose_exact(
        cisp.conditional_rotations(theta=np.ones((4, 6)), dtype=dtype), D=45, M=8.0
    )
    start = torch.ones(2, dtype=dtype, device="cpu")
    layers = with_calls(network, torch.tensor([[0, 1]], device="cpu"), layer=2, start=start)
    _, _, _, A = run(network)
    found: Tensor = layers(A[0].flatten(1))
    return found


def budget(dtype: torch.dtype) -> Tensor:
    active, _, a, A = run(network := dealt(dtype))
    return torch.stack([*cisp.error_budget(network, A, a, active, 2).values()])


def errors(dtype: torch.dtype) -> Tensor:
    active, _, a, A = run(network := dealt(dtype))
    return cisp.errors(network, A, a, active, 2)["rotation"]


def mses(dtype: torch.dtype) -> Tensor:
    active, _, a, A = run(network := dealt(dtype))
    return cisp.mse_active(network, A, a, active)["rotation"]


def worst(dtype: torch.dtype) -> Tensor:
    found = cisp.worst_case(dealt(dtype), z=2, keep=5, steps=3, swaps=3, progress=False)
    return torch.tensor(found.error, dtype=dtype)


def measured(measure: Callable[..., cisp.Measurement], network: cisp.Network) -> Tensor:
    found = measure(network, z=2, samples=200, progress=False)
    return torch.from_numpy(found.errors.mse.to_numpy().copy()).to(network.w)


def margins(circuits: cisp.SmallCircuits) -> Tensor:
    found = cisp.check_assumptions(circuits, D=400, z=1)
    assert all(finding.holds for finding in found if finding.assumption != "old 4")
    return torch.tensor([finding.margin for finding in found], dtype=circuits.w.dtype)


def foretold(dtype: torch.dtype) -> Tensor:
    table = cisp.plan(rotations(dtype), D=48, z=2, S=[3], draws=512)
    return torch.from_numpy(table.mse.to_numpy().copy()).to(dtype)


# what each public function that computes with tensors gives in one dtype
TABLE: dict[str, Callable[[torch.dtype], Tensor]] = {
    "conditional_rotations": lambda k: cisp.conditional_rotations(T=6, dtype=k).w,
    "loaded_rotations": lambda k: cisp.loaded_rotations(T=6, dtype=k).w,
    "step_indicators": lambda k: cisp.step_indicators(T=6, dtype=k).w,
    "one_relu_rotations": lambda k: cisp.one_relu_rotations(T=6, dtype=k).w,
    "gated": lambda k: gates(k).w,
    "gated_modules": lambda k: cisp.gated_modules(nets(k)).w,
    "silenced": lambda k: cisp.silenced(gates(k), 2 * torch.ones(2, 5, dtype=k)).w,
    "concatenate": lambda k: cisp.concatenate([gates(k), gates(k)]).w,
    "SmallCircuits.run": lambda k: run(dealt(k))[2],
    "SmallCircuits.quantities": lambda k: rotations(k).quantities(run(dealt(k))[2])["rotation"],
    "check_assumptions": lambda k: margins(rotations(k)),
    "Network": lambda k: run(dealt(k))[3],
    "Network, extrinsic": lambda k: run(cisp.superpose_extrinsic(gates(k), D=60, S=3))[3],
    "Network, silenced": lambda k: run(
        cisp.superpose_extrinsic(gates(k), D=60, S=3, silence="auto")
    )[3],
    "Network, exact": lambda k: run(exact(k))[3],
    "Network, exact for three": lambda k: run(exact(k, 3))[3],
    "Network.embed": lambda k: run(dealt(k))[3][0],
    "Network.readout": lambda k: dealt(k).readout(run(dealt(k))[3], 2),
    "Network.W_emb": lambda k: dealt(k).W_emb(2),
    "Network.W": lambda k: dealt(k).W(2),
    "Network.B": lambda k: dealt(k).B(2),
    "Network.shared": lambda k: dealt(k).shared(2),
    "Network.component": lambda k: dealt(k).component(2, 0),
    "Network.mean": lambda k: dealt(k).mean(2),
    "Network.to_dense": lambda k: dense(dealt(k)),
    "run_dense": lambda k: cisp.run_dense(dealt(k), run(dealt(k))[3][0]),
    "with_calls": calling,
    "estimates": lambda k: cisp.estimates(dealt(k), run(dealt(k))[3], 2)["rotation"],
    "errors": errors,
    "mse_active": mses,
    "error_budget": budget,
    "measure": lambda k: measured(cisp.measure, dealt(k)),
    "measure_masked": lambda k: measured(cisp.measure_masked, dealt(k)),
    "worst_case": worst,
    "plan": foretold,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TABLE)
def test_every_function_works_in_every_dtype(name: str, dtype: torch.dtype) -> None:
    found, wanted = TABLE[name](dtype), TABLE[name](torch.float64)
    assert found.dtype == dtype
    gap = (found.double() - wanted).abs().max() / wanted.abs().max()
    eps = torch.finfo(dtype).eps
    # states, of size 1, are rounded a few times in a layer; a mean of squares doubles that
    slack = eps**0.5 if "silenced" in name else 0.0  # by which least_silence rounds up
    assert gap < 8 * FURTHER * eps + slack, float(gap)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_gathers_add_up_in_float32_at_least(dtype: torch.dtype) -> None:
    bags = Bags(torch.arange(4000), torch.zeros(4000, dtype=torch.int64), 4000, 1)
    A = torch.ones(1, 1, 1, dtype=dtype, requires_grad=True)
    bags(A).sum().backward()
    assert A.grad is not None
    assert float(A.grad) == 4000  # ones added up in bfloat16 stay at 256


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64, torch.bool])
def test_other_dtypes_are_refused_at_once(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="it must be dense and of real numbers"):
        cisp.SmallCircuits(w=torch.ones(3, 2, 2).to(dtype), b=torch.zeros(2))


BUILT = rotations(torch.float32), gates(torch.float32), exact(torch.float32)


# what is called while the default device is one where nothing can be read
ELSEWHERE: dict[str, Callable[[], Any]] = {
    "conditional_rotations": lambda: cisp.conditional_rotations(T=6),
    "loaded_rotations": lambda: cisp.loaded_rotations(T=6),
    "step_indicators": lambda: cisp.step_indicators(T=6),
    "one_relu_rotations": lambda: cisp.one_relu_rotations(T=6),
    "some circuits": lambda: BUILT[0][1:3],
    "gated": lambda: cisp.gated(BUILT[1].w, BUILT[1].b.unsqueeze(1).expand(-1, 6, -1), load=1),
    "silenced": lambda: cisp.silenced(BUILT[1], 3 - BUILT[1].b),
    "concatenate": lambda: cisp.concatenate([BUILT[1], BUILT[1]]),
    "check_assumptions": lambda: cisp.check_assumptions(BUILT[0], D=400, z=1),
    "superpose": lambda: dense(cisp.superpose(BUILT[0], D=48, S=3)),
    "superpose_extrinsic": lambda: dense(cisp.superpose_extrinsic(BUILT[0], D=60, S=3)),
    "silence": lambda: cisp.superpose_extrinsic(BUILT[1], D=60, S=3, silence="auto"),
    "superpose_exact": lambda: dense(cisp.superpose_exact(BUILT[0], D=200)),
    "superpose_exact for three": lambda: dense(cisp.superpose_exact(BUILT[0], D=200, z=3)),
    "components": lambda: [BUILT[2].component(2, 0), cisp.superpose(BUILT[0], D=48, S=3).W_emb(2)],
    "error_budget": lambda: budget(torch.float32),
    "errors": lambda: errors(torch.float32),
    "mse_active": lambda: mses(torch.float32),
    "measure": lambda: cisp.measure(BUILT[2], z=2, samples="all", progress=False),
    "measure_masked": lambda: cisp.measure_masked(BUILT[2], z={1: 1, 2: 1}, samples=9),
    "worst_case": lambda: worst(torch.float32),
    "run_dense": lambda: cisp.run_dense(BUILT[2], run(BUILT[2])[3][0]),
    "with_calls": lambda: calling(torch.float32),
    "plan": lambda: foretold(torch.float32),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_tensors_are_made_on_the_device_of_what_they_meet(name: str) -> None:
    torch.set_default_device("meta")  # whatever is made there by mistake cannot be read
    try:
        ELSEWHERE[name]()
    finally:
        torch.set_default_device(None)


class Device(TorchFunctionMode):
    """A device without float64: only what was asked to be on the CPU may be in it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        here = func is Tensor.cpu or str((kwargs or {}).get("device")) == "cpu"
        met = [x for x in self.tensors([args, kwargs]) if getattr(x, "on_cpu", False)]
        for each in self.tensors([found]):
            if here or met:
                each.on_cpu = True  # type: ignore[attr-defined]
            elif each.dtype == torch.float64:
                raise TypeError(f"{func} makes float64 on a device that has none")
        return found

    def tensors(self, parts: Any) -> Iterator[Tensor]:
        """All tensors among the parts."""
        for part in parts:
            if isinstance(part, Tensor):
                yield part
            elif isinstance(part, list | tuple | dict):
                yield from self.tensors(part.values() if isinstance(part, dict) else part)


def test_errors_are_summed_where_there_is_float64() -> None:
    network = dealt(torch.float32)
    active, a0, a, A = run(network)
    with Device(), torch.no_grad():
        tally = Tally(network, 2)
        stream = (
            (A[k].permute(2, 1, 0), network.readout(A, k).permute(1, 2, 0) * network.S)
            for k in range(1, network.L + 1)
        )
        each = tally.add(stream, a[1:], active, a0)
        tally.compare(each, each)
        tally.merge(Tally(network, 2))
        with pytest.raises(TypeError, match="float64"):
            A.double()
    assert tally.sums.dtype == torch.float64
    assert len(tally.result().errors) == 12


def test_a_network_moves_to_a_device_without_float64_and_keeps_chi() -> None:
    circuits = cisp.conditional_rotations(T=20, rng=0)
    extrinsic = cisp.superpose_extrinsic(circuits, D=100, S=3, silence="auto")
    for network in (dealt(torch.float32), extrinsic):
        chi = network.chi.clone()
        moved = deepcopy(network).to("meta")
        there = {x.dtype for x in moved.buffers() if x.device.type == "meta"}
        assert torch.float64 not in there
        assert torch.float32 in there
        assert moved.chi.dtype == torch.float64
        assert torch.equal(moved.chi, chi)
        assert torch.equal(deepcopy(network).to(torch.bfloat16).chi, chi)
