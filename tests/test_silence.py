"""The check that one circuit alone wakes nobody, against dense weights and every pair."""

import re
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

import cisp
import cisp.silence
from cisp import Extrinsic, Network, SmallCircuits, conditional_rotations
from cisp.silence import _below, check_silence, loudest_outside


def built(circuits: SmallCircuits, *, S: int, n: int, seed: int) -> Network:
    """The extrinsic network without its check."""
    rows = cisp.transversal_design(T=circuits.T, n=n, S=S)
    dealt = torch.from_numpy(rows[np.random.default_rng(seed).permutation(circuits.T)])
    return Network(circuits, Extrinsic(dealt.repeat(circuits.L, 1, 1), n=n))


def worst_by_hand(network: Network, turns: int = 720) -> Tensor:
    """max over circuits, directions and neurons outside, by dense weights: (layers, d)."""
    angle = torch.arange(turns).double() * (2 * torch.pi / turns)
    x = torch.stack([angle.cos(), angle.sin()], 1)
    found = torch.full((network.L, network.d), -torch.inf).double()
    for v in range(network.T):
        a0 = (network.circuits.input_mean + x @ network.circuits.input_map.T).unsqueeze(1)
        active = torch.full((turns, 1), v)
        a = network.circuits.run(a0, active)[:, :, 0]
        inside = network.tables[0][v]
        for layer in range(2, network.L + 1):
            A = torch.zeros(turns, network.d, network.n).double()
            A[:, :, inside] = a[layer - 1].unsqueeze(-1)
            heard = A.flatten(1) @ network.W(layer).T + network.B(layer)
            heard = heard.view(turns, network.d, network.n)
            heard[:, :, inside] = -torch.inf
            found[layer - 1] = torch.maximum(found[layer - 1], heard.amax((0, 2)))
    return found


@given(T=st.integers(2, 30), S=st.integers(2, 4), seed=st.integers(0, 99))
def test_the_least_bias_is_that_of_the_worst_direction_of_the_worst_pair(
    T: int, S: int, seed: int
) -> None:
    n = next(n for n in range(S, 99) if cisp.transversal_design_capacity(n=n, S=S) >= T)

    def network(bias: float) -> Network:
        circuits = conditional_rotations(T=T, rng=seed, bias=bias, dtype=torch.float64)
        return built(circuits.with_layers(3), S=S, n=n, seed=seed)

    needed = 1 + float(worst_by_hand(network(1.0))[1:, 2:].max())  # what is heard has no bias in it
    assume(needed > 0.01)
    check_silence(network(needed + 1e-4), np.random.default_rng(0))
    with pytest.raises(ValueError, match="alone, switch on") as error:
        check_silence(network(needed - 1e-4), np.random.default_rng(0))
    says = re.findall(r"must be at most (-[\d.e-]+)[.;]", str(error.value))
    assert min(map(float, says)) == pytest.approx(
        -needed, abs=1e-4
    )  # 720 directions: 1e-5 too little


def nonlinear(T: int, bias: float) -> SmallCircuits:
    """Circuits whose ReLUs cut, each with weights of its own in each layer."""
    rng = np.random.default_rng(3)
    M = torch.from_numpy(rng.normal(size=(3, T, 4, 4)))
    gate = torch.full((3, T, 4, 1), bias + 0.2).double()
    step = torch.tensor([2.0, -2, 0, 0, 0, 0]).double().expand(3, T, 2, 6)
    w = torch.cat([step, torch.cat([gate, -gate, M / 2], -1)], -2)
    b = torch.tensor([-0.5, -1.5] + [-bias] * 4)
    mean, spread = torch.tensor([1.5, 0.5, 0, 0, 0, 0]), torch.eye(6)[:, 2:]
    return SmallCircuits(w=w, b=b, input_mean=mean, input_map=spread)


def test_where_relus_cut_the_worst_of_the_inputs_drawn_decides() -> None:
    T, n, S = 30, 40, 4
    circuits = nonlinear(T, 1.0)
    network = built(circuits, S=S, n=n, seed=0)
    each = -(-(2**15) // T)
    active = torch.arange(T).repeat(each).unsqueeze(1)
    a0 = circuits.sample_inputs(batch=len(active), z=1, rng=np.random.default_rng(5))
    a = circuits.run(a0, active)[:, :, 0]
    outside = torch.ones(T, n).scatter(1, network.tables[0], 0.0)[active[:, 0]].bool()
    heard = []
    for layer in (2, 3):
        A = ~outside.unsqueeze(1) * a[layer - 1].unsqueeze(-1)
        W = network.W(layer)
        heard += [(A.flatten(1) @ W.T).view(len(A), 6, n).transpose(1, 2)[outside][:, 2:].max()]
    needed = float(max(heard))  # for a bias of this size: the gate's share of it is the same in all
    check_silence(built(nonlinear(T, needed + 1e-3), S=S, n=n, seed=0), np.random.default_rng(5))
    below = built(nonlinear(T, needed - 1e-3), S=S, n=n, seed=0)
    with pytest.raises(ValueError, match=r"^b\[[2-5]\]=-.* in layer [23] lets circuit"):
        check_silence(below, np.random.default_rng(5))


@given(value=st.floats(-100, 100))
def test_a_bound_is_rounded_to_the_safe_side(value: float) -> None:
    shown = float(_below(value))
    assert value - 1e-5 * abs(value) <= shown <= value


def gated(T: int, *, samples: bool, bias: float = 1.0) -> SmallCircuits:
    rng = np.random.default_rng(2)
    w, b = (torch.from_numpy(rng.normal(size=size)) / 2 for size in ((3, T, 4, 4), (3, T, 4)))
    inputs = torch.from_numpy(rng.normal(size=(20, 4))) if samples else None
    return cisp.gated(w, b, bias=bias, inputs=inputs)


def test_the_least_silence_is_least_and_enough_in_one_go() -> None:
    circuits = gated(60, samples=True)
    with pytest.raises(ValueError, match=r'or with silence="auto"$') as error:
        cisp.superpose_extrinsic(circuits, D=240, S=4)
    told, more = str(error.value), re.search(r"and (\d) more", str(error.value))
    assert more is not None
    # all 4 neurons of layers 2 and 3
    assert told.count("must be at most") + int(more[1]) == 8
    assert len(told) <= 300
    network = cisp.superpose_extrinsic(circuits, D=240, S=4, silence="auto")
    found = cisp.measure(network, z=1, samples=2000).errors
    assert cisp.rows(found, circuits="active").worst.max() < 1e-12
    least = -network.circuits.b[1:, 2:]
    table = network.tables[0].numpy()
    assert isinstance(circuits.inputs, Tensor)
    samples = circuits.inputs.unsqueeze(1)
    a = [circuits.run(samples, torch.full((20, 1), v)) for v in range(60)]
    heard = torch.zeros(2, 4).double()
    for p in range(40):
        for v in range(60):
            if p in table[v]:
                continue
            join = [t for t in range(60) if p in table[t] and set(table[t]) & set(table[v])]
            for row in (0, 1):
                delta = circuits.delta_w[row + 1, join].sum(0) / 3
                heard[row] = torch.maximum(
                    heard[row], (a[v][row + 1, :, 0] @ delta.T)[:, 2:].amax(0)
                )
    torch.testing.assert_close(least, heard, rtol=1e-6, atol=1e-7)


def test_the_least_silence_is_found_in_lots_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    circuits = gated(60, samples=True)
    whole = cisp.superpose_extrinsic(circuits, D=240, S=4, silence="auto").circuits.b
    for name, value in (("FIRST", 100), ("ENTRIES", 500), ("TOGETHER", 1), ("PAIRS", 7)):
        monkeypatch.setattr(cisp.silence, name, value)
    lots = cisp.superpose_extrinsic(circuits, D=240, S=4, silence="auto").circuits.b
    assert torch.equal(lots, whole)


@pytest.mark.parametrize("circuits", [gated(60, samples=True), conditional_rotations(T=60)])
def test_pairs_looked_at_in_compiled_loops_are_all_that_matter(
    circuits: SmallCircuits, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = built(circuits, S=4, n=40, seed=1)
    few = loudest_outside(network, torch.full((circuits.L, circuits.d), 1e-9).double(), 0)
    for name in ("MANY", "FIRST", "ENTRIES", "TOGETHER"):
        monkeypatch.setattr(cisp.silence, name, 1)  # a position at a time, each against the loudest
    many = loudest_outside(network, torch.full((circuits.L, circuits.d), 1e-9).double(), 0)
    for name, found in vars(few).items():
        assert torch.equal(found, getattr(many, name)), name


def test_a_gate_that_rises_with_its_bias_computes_the_same() -> None:
    circuits = gated(10, samples=False)
    more = cisp.silenced(circuits, torch.full((3, 6), 7.0))
    assert more.b[1:, 2:].eq(-7).all()
    assert torch.equal(more.b[:, :2], circuits.b[:, :2])
    assert torch.equal(more.b[0], circuits.b[0])
    active = torch.arange(10).unsqueeze(1)
    a0 = circuits.sample_inputs(batch=10, z=1)
    torch.testing.assert_close(more.run(a0, active), circuits.run(a0, active), rtol=0, atol=1e-13)
    bare = SmallCircuits(w=torch.ones(2, 2, 2), b=-torch.ones(2))
    with pytest.raises(ValueError, match="they need one named 'indicator'"):
        cisp.silenced(bare, torch.ones(5, 2))


def test_of_states_that_are_drawn_hardly_any_leaks_beyond_the_least_silence() -> None:
    circuits = gated(60, samples=False)
    network = cisp.superpose_extrinsic(circuits, D=240, S=4, silence="auto")
    found = cisp.measure(network, z=1, samples=20_000, rng=9).errors
    found = cisp.rows(found, circuits="active")
    assert found.worst.max() < 0.02  # of states of size 1
    assert found.mse.max() < 1e-8


def test_a_bias_of_all_layers_is_named_once_where_most_leaks() -> None:
    circuits = conditional_rotations(T=100, rng=0, bias=0.3, dtype=torch.float64)
    with pytest.raises(ValueError, match="must be at most") as error:
        cisp.superpose_extrinsic(circuits, D=200, S=4)
    assert re.findall(r"b\[(\d)\] must", str(error.value)) == ["2", "3"]


@pytest.mark.parametrize("silence", ["given", "auto"])
def test_a_single_layer_leaks_nothing(silence: Literal["given", "auto"]) -> None:
    circuits = conditional_rotations(T=20, rng=0).with_layers(1)
    network = cisp.superpose_extrinsic(circuits, D=100, S=3, silence=silence)
    assert torch.equal(network.circuits.b.reshape(-1, 4)[0], circuits.b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_leak_is_one_from_the_rounding_of_the_dtype_on(dtype: torch.dtype) -> None:
    start = conditional_rotations(T=12, rng=0, bias=1, dtype=dtype).with_layers(3)
    tiny = float(torch.finfo(dtype).eps ** 0.5)
    least = cisp.silence.least_silence(built(start, S=3, n=15, seed=0), 0)[0]
    heard = (float(least[1:, 2:].max()) - tiny) / (1 + tiny)

    def network(bias: float) -> Network:
        circuits = conditional_rotations(T=12, rng=0, bias=bias, dtype=dtype).with_layers(3)
        return built(circuits, S=3, n=15, seed=0)

    check_silence(network(heard - 0.5 * tiny), 0)
    with pytest.raises(ValueError, match="must be at most"):
        check_silence(network(heard - 1.5 * tiny), 0)
