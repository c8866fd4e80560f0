"""Inputs as users have them, samples or a function that draws them, in every room."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import cisp
from cisp import SmallCircuits
from cisp.counted import least_M
from cisp.reach import affine_states, boxes, drawn_states

BITS = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]).double()


def circuits(T: int = 6, *, L: int = 3, **options: Any) -> SmallCircuits:
    draw = np.random.default_rng(0)
    w = [torch.from_numpy(draw.normal(size=(T, 3, 2 if k == 0 else 3))) / 2 for k in range(L)]
    b = [torch.from_numpy(draw.normal(size=(T, 3))) / 4 for _ in range(L)]
    return cisp.gated(w, b, **options)


def samples_of(few: SmallCircuits) -> Tensor:
    assert isinstance(few.inputs, Tensor)
    return few.inputs


def numbered(batch: int, z: int, active: Tensor, rng: np.random.Generator) -> Tensor:
    """The circuit's number, and something drawn."""
    return torch.stack([active.double(), torch.from_numpy(rng.uniform(size=(batch, z)))], -1)


def test_samples_are_drawn_and_nothing_else() -> None:
    net = cisp.superpose(circuits(inputs=BITS), D=200, S=3)
    active, a0 = net.sample(batch=500, z=2, rng=0)
    assert set(map(tuple, a0[..., 2:4].flatten(0, 1).tolist())) == set(map(tuple, BITS.tolist()))
    assert (a0[..., :2] == torch.tensor([1.5, 0.5])).all()
    shares = torch.stack([(a0[..., 2:4] == row).all(-1).double().mean() for row in BITS])
    assert (shares - 0.25).abs().max() < 0.06  # 1000 draws: 4 standard deviations
    assert torch.equal(active, net.sample(batch=500, z=2, rng=0)[0])


def test_samples_of_each_circuit_go_to_it() -> None:
    own = torch.arange(6).double().reshape(6, 1, 1).expand(6, 4, 2) + BITS / 10
    net = cisp.superpose(circuits(inputs=own), D=200, S=3)
    active, a0 = net.sample(batch=300, z=2, rng=0)
    assert torch.equal(a0[..., 2].floor(), active.double())


def test_a_function_draws_for_the_circuits_that_are_active() -> None:
    net = cisp.superpose(circuits(inputs=numbered), D=200, S=3)
    active, a0 = net.sample(batch=50, z=2, rng=0)
    assert torch.equal(a0[..., 2], active.double())
    assert a0[..., 3].unique().numel() == 100
    assert torch.equal(net.sample(batch=50, z=2, rng=0)[1], a0)


@pytest.mark.parametrize("kind", ["samples", "own", "function"])
def test_measure_runs_the_circuits_on_their_inputs(kind: str) -> None:
    own = torch.arange(6).double().reshape(6, 1, 1) * BITS
    inputs = {"samples": BITS, "own": own, "function": numbered}[kind]
    few = circuits(inputs=inputs)
    net = cisp.superpose(few, D=few.d * 18, S=3)  # T S = n: nobody meets
    found = cisp.measure(net, z=2, samples=200).errors
    assert found.mse.max() < 1e-24
    given = found.worst_a0.iloc[0]
    assert given.shape == (2, 5)
    wrong = cisp.measure(cisp.superpose(few, D=few.d * 9, S=3), z=2, samples=200).errors
    assert wrong.mse.max() > 1e-3


def test_some_of_the_circuits_keep_their_inputs() -> None:
    active = torch.tensor([[0, 1], [1, 0]])
    for inputs in (numbered, torch.arange(6).double().reshape(6, 1, 1).expand(6, 4, 2)):
        some = circuits(inputs=inputs)[[4, 2]]
        a0 = some.sample_inputs(batch=2, z=2, active=active)
        assert a0[..., 2].tolist() == [[4, 2], [2, 4]]
    assert pickle.loads(pickle.dumps(circuits(inputs=numbered)[1:3])).T == 2  # ours


def test_the_states_of_samples_are_all_of_them() -> None:
    few = circuits(inputs=BITS)
    states = drawn_states(few, np.random.default_rng(0))
    assert [X.shape for X in states] == [(6, 5, 4)] * 2
    a0 = torch.cat([torch.tensor([1.5, 0.5]).double().expand(4, 2), BITS, torch.zeros(4, 1)], 1)
    for t in range(6):
        a = few.run(a0.unsqueeze(1), torch.full((4, 1), t))
        torch.testing.assert_close(states[1][t].T, a[2, :, 0], rtol=0, atol=1e-14)


def test_the_boxes_of_samples_reach_from_the_least_to_the_most_of_them() -> None:
    few = circuits(inputs=BITS)
    first, second = boxes(few)
    states = drawn_states(few, np.random.default_rng(0))
    torch.testing.assert_close(first[..., 0], states[0].amin(-1), rtol=0, atol=1e-14)
    torch.testing.assert_close(first[..., 1], states[0].amax(-1), rtol=0, atol=1e-14)
    assert (second[..., 0] <= states[1].amin(-1) + 1e-14).all()
    assert (second[..., 1] >= states[1].amax(-1) - 1e-14).all()


def test_the_states_of_samples_are_not_those_of_the_sphere() -> None:
    turning = cisp.conditional_rotations(T=4, rng=0)
    assert affine_states(turning) is not None
    assert affine_states(replace(turning, inputs=torch.ones(3, 4))) is None


def test_the_exact_network_takes_samples_and_knows_what_they_need() -> None:
    few = circuits(T=30, inputs=BITS)
    net = cisp.superpose_exact(few, D=400, z=2)
    assert cisp.measure(net, z=2, samples="all").errors.worst.max() < 1e-13
    _, a0 = net.sample(batch=200, z=2, rng=0)
    assert set(map(tuple, a0[..., 1:3].flatten(0, 1).tolist())) == set(map(tuple, BITS.tolist()))
    wider = circuits(T=30, inputs=3 * BITS)
    assert least_M(wider, z=2) > 1.5 * least_M(few, z=2)
    with pytest.raises(ValueError, match="inputs is a function, of which no bound is known"):
        cisp.superpose_exact(circuits(inputs=numbered), D=400, z=2)
    drawn = cisp.superpose_exact(circuits(T=30, inputs=numbered), D=400, z=2, M=900.0)
    assert cisp.measure(drawn, z=2, samples=300).errors.worst.max() < 1e-10


def test_files_hold_samples_and_refuse_functions(tmp_path: Path) -> None:
    few = circuits(inputs=BITS)
    few.save(tmp_path / "circuits")
    again = SmallCircuits.load(tmp_path / "circuits")
    assert torch.equal(samples_of(again), samples_of(few))
    assert torch.equal(again.w, few.w)
    assert list(again.readouts) == list(few.readouts)
    net = cisp.superpose(few, D=100, S=3)
    net.save(tmp_path / "network")
    assert torch.equal(
        samples_of(cisp.Network.load(tmp_path / "network").circuits), samples_of(few)
    )
    for unsaved in (
        circuits(inputs=numbered),
        cisp.superpose(circuits(inputs=numbered), D=100, S=3),
    ):
        with pytest.raises(ValueError, match="inputs is a function, which no file can hold"):
            unsaved.save(tmp_path / "no")
    with pytest.raises(ValueError, match="holds format 'cisp network 1'; it must be one of"):
        SmallCircuits.load(tmp_path / "network")


def test_a_subclass_with_inputs_of_its_own_is_refused() -> None:
    with pytest.raises(TypeError, match="SmallCircuits is final; for other inputs give it inputs="):
        type("Mine", (SmallCircuits,), {})


def test_inputs_move_with_the_circuits() -> None:
    single = circuits(inputs=BITS).to(torch.float32)
    assert samples_of(single).dtype == torch.float32
    assert (
        circuits(inputs=numbered)
        .to(torch.float32)
        .sample_inputs(batch=2, z=1, active=torch.tensor([[0], [3]]))
        .dtype
        == torch.float32
    )


def test_families_are_joined_with_their_inputs_and_read_outs() -> None:
    one, two = circuits(inputs=BITS), circuits(inputs=2 * BITS)
    both = cisp.concatenate([one[:2], two[2:]])
    assert samples_of(both).shape == (6, 4, 5)
    assert torch.equal(samples_of(both)[1], samples_of(one))
    assert torch.equal(samples_of(both)[3], samples_of(two))
    assert torch.equal(both.w, one.w)
    assert cisp.concatenate([one[:2], one[2:]]).inputs is one.inputs
    for parts, told in (
        ([], "is empty"),
        ([one, circuits(L=2, inputs=BITS)], r"parts\[0\] and parts\[1\] differ in L"),
        ([one, circuits(bias=2.0)], "differ in b"),
        ([one, circuits(inputs=numbered)], "parts draw inputs in different ways"),
        ([one, circuits(inputs=BITS[:2])], "parts draw inputs in different ways"),
    ):
        with pytest.raises(ValueError, match=told):
            cisp.concatenate(parts)


def test_read_outs_of_each_circuit_are_read_everywhere() -> None:
    draw = np.random.default_rng(1)
    V, c = (
        torch.from_numpy(draw.normal(size=(30, 2, 3))),
        torch.from_numpy(draw.normal(size=(30, 2))),
    )
    few = circuits(T=30, inputs=BITS, outputs=(V, c))
    assert few.readouts["output"].shape == (30, 2, 5)
    net = cisp.superpose(few, D=few.d * 30, S=3)
    active, a0 = net.sample(batch=400, z=2, rng=0)
    A, a = net(net.embed(a0, active)), few.run(a0, active)
    true = torch.einsum("bzki,bzi->bzk", V[active], a[3][..., 2:]) + c[active]
    torch.testing.assert_close(few.quantities(a[3], active)["output"], true, rtol=0, atol=1e-13)
    read = cisp.of_active(cisp.estimates(net, A, 3)["output"], active)
    off = cisp.of_active(cisp.errors(net, A, a, active, 3)["output"], active)
    torch.testing.assert_close(off, read - true, rtol=0, atol=1e-13)
    mse = off.square().sum(-1).mean()
    assert mse > 1e-3
    torch.testing.assert_close(cisp.mse_active(net, A, a, active)["output"][2], mse)
    tallied = cisp.rows(
        cisp.measure(net, z=2, samples=400, rng=0).errors, quantity="output", layer=3
    ).set_index("circuits")
    assert tallied.mse["active"] == pytest.approx(float(mse), rel=1e-12)
    others = cisp.errors(net, A, a, active, 3)["output"].square().sum(-1)
    others = others[~cisp.is_active(active, T=30)].mean()
    assert tallied.mse["inactive"] == pytest.approx(float(others), rel=1e-12)
    with pytest.raises(ValueError, match="these circuits have read-outs of their own"):
        few.quantities(a[3])


def test_the_worst_case_knows_read_outs_of_each_circuit() -> None:
    V = torch.from_numpy(np.random.default_rng(1).normal(size=(12, 2, 3)))
    few = circuits(T=12, outputs=(V, torch.zeros(12, 2)))
    net = cisp.superpose(few, D=few.d * 15, S=3)
    found = cisp.worst_case(net, z=2, keep=10, steps=3, progress=False)
    A = net(net.embed(found.a0[None], found.active[None]))
    a = few.run(found.a0[None], found.active[None])
    delta = cisp.errors(net, A, a, found.active[None], found.layer)["output"]
    assert float(delta[0, found.circuit].norm()) == pytest.approx(found.error, rel=1e-12)
    with pytest.raises(ValueError, match="circuits have inputs of their own"):
        cisp.worst_case(cisp.superpose(circuits(inputs=BITS), D=100, S=3), z=2)


def test_z_may_vary_from_input_to_input() -> None:
    net = cisp.superpose(cisp.conditional_rotations(T=40, rng=0), D=160, S=4)
    found = cisp.measure(net, z={1: 6, 2: 3, 3: 1}, samples=2000, rng=0)
    each = found.errors.groupby("z").samples.first()
    assert each.sum() == 2000
    assert (each / 2000).to_numpy() == pytest.approx([0.6, 0.3, 0.1], abs=0.04)
    assert set(found.activity.z) == set(found.circuits.z) == {1, 2, 3}
    alone = cisp.measure(net, z=2, samples=2000, rng=1).errors
    part = cisp.rows(found.errors, z=2).merge(alone, on=["layer", "quantity", "circuits"])
    off = (part.mse_x - part.mse_y).abs() / (part.mse_stderr_x + part.mse_stderr_y + 1e-12)
    assert off.max() < 4
    for z, samples, told in (
        ({}, 9, r"z=\{\} is not allowed"),
        ({1: -1, 2: 2}, 9, r"z\[1\]=-1 is not allowed"),
        ({1: 1.0}, "all", "samples='all' is not allowed with shares of z"),
        ({1: 1.0}, None, "samples=None is not allowed with shares of z"),
        ({99: 1.0}, 9, "z=99 is not allowed"),
    ):
        with pytest.raises(ValueError, match=told):
            cisp.measure(net, z=z, samples=samples)  # type: ignore[arg-type]  # wrong on purpose


def made(*, T: int, rng: int) -> SmallCircuits:
    return circuits(T, inputs=BITS, bias=9.0)


def test_a_sweep_takes_any_circuits_and_constructions() -> None:
    cell = {"T": 12, "D": 75, "S": 3, "z": 1, "seed": 0}
    found = cisp.sweep([cell], make=made, construct=cisp.superpose_extrinsic, progress=False)
    assert found.layer.max() == 3  # the circuits' own depth
    assert cisp.rows(found, circuits="active", quantity="state").mse.max() < 1e-24
    posts = cisp.sweep([cell], make=made, progress=False, L=2)
    assert posts.layer.max() == 2
    assert cisp.rows(posts, circuits="active", quantity="state").mse.max() > 1e-3
