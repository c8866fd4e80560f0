"""Gated circuits against a plain loop over layers, alone and in networks (C19.1)."""

import importlib
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import cisp
from cisp import SmallCircuits, gated, gated_modules
from cisp.assumptions import inactive_stay_zero

BOOK = Path(__file__).parent.parent / "book"

# float64, a few layers of a few products of numbers below 100
assert_equal = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)

seeds = st.integers(0, 10_000)
widths = st.lists(st.integers(1, 5), min_size=2, max_size=5)
betas = st.floats(0.05, 8)
Layers = tuple[list[Tensor], list[Tensor]]


def layers(T: int, sizes: list[int], seed: int, scale: float = 1.0) -> Layers:
    draw = np.random.default_rng(seed)
    w = [torch.from_numpy(draw.normal(0, scale, (T, out, into))) for into, out in pairwise(sizes)]
    return w, [torch.from_numpy(draw.normal(size=(T, out))) for out in sizes[1:]]


def plain(w: list[Tensor], b: list[Tensor], t: int, x: Tensor) -> Tensor:
    for matrix, bias in zip(w, b, strict=True):
        x = torch.relu(matrix[t] @ x + bias[t])
    return x


def switched_on(circuits: SmallCircuits, x: Tensor) -> Tensor:
    """Inputs a^0 (1, T, d) of all circuits at x."""
    a0 = circuits.input_mean + x @ circuits.input_map.T
    return a0.expand(1, circuits.T, -1)


def everyone(circuits: SmallCircuits) -> Tensor:
    return torch.arange(circuits.T).unsqueeze(0)


def last(circuits: SmallCircuits, x: Tensor, name: str = "state") -> Tensor:
    a = circuits.run(switched_on(circuits, x), everyone(circuits))
    return circuits.quantities(a[-1], everyone(circuits))[name][0]


def test_a_silencer_given_as_a_number_keeps_its_digits() -> None:
    assert gated(*layers(1, [2, 2], 0), bias=0.1).b[0, 2:].tolist() == [-0.1, -0.1]


def test_a_first_layer_without_a_bias_is_not_said_to_rest_below_zero() -> None:
    finding = inactive_stay_zero(gated(*layers(1, [2, 2], 0), load=1))
    assert finding.holds
    assert str(finding).endswith(" = 0.000")


@given(T=st.integers(1, 4), sizes=widths, beta=betas, seed=seeds)
def test_the_gated_circuit_is_the_plain_one_when_on(
    T: int, sizes: list[int], beta: float, seed: int
) -> None:
    w, b = layers(T, sizes, seed)
    circuits = gated(w, b, bias=beta)
    x = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=sizes[0]))
    found = last(circuits, x)
    assert circuits.d == 2 + max(sizes)
    assert torch.equal(last(circuits, x, "indicator"), torch.ones(T, 1).double())
    for t in range(T):
        assert_equal(found[t, : sizes[-1]], plain(w, b, t, x))
    assert not found[:, sizes[-1] :].any()  # what fills a layer up


@given(
    T=st.integers(1, 4),
    sizes=widths,
    beta=betas,
    share=st.sampled_from([0.0, 0.5, 0.99, 1 - 1e-9]),
    seed=seeds,
)
def test_the_gated_circuit_is_zero_for_noise_below_the_silencer_when_off(
    T: int, sizes: list[int], beta: float, share: float, seed: int
) -> None:
    w, b = layers(T, sizes, seed)
    circuits = gated(w, b, bias=beta)
    draw = np.random.default_rng(seed + 1)
    for k, matrix in enumerate(w):
        noise = torch.from_numpy(draw.normal(size=(T, matrix.shape[2])))
        push = torch.einsum("tij,tj->ti", matrix, noise)
        largest = push.gather(1, push.abs().argmax(1, keepdim=True))
        noise *= share * beta / largest  # the strongest push is upwards
        a = torch.zeros(T, circuits.d).double()
        a[:, 2 : 2 + matrix.shape[2]] = noise
        own, bias = circuits.at(k + 1)
        assert not torch.relu(torch.einsum("tij,tj->ti", own, a) + bias).any()


@given(beta=betas, seed=seeds)
def test_noise_just_above_the_silencer_goes_through(beta: float, seed: int) -> None:
    w, b = layers(1, [3, 3], seed)
    circuits = gated(w, b, bias=beta)
    row = int(w[0][0].norm(dim=1).argmax())
    noise = 1.001 * beta * w[0][0, row] / w[0][0, row].square().sum()
    a = circuits.w[0, 0] @ torch.cat([torch.zeros(2).double(), noise]) + circuits.b[0]
    assert a[2 + row] > 0


@given(
    gain=st.floats(1, 20),
    threshold=st.floats(0.1, 0.45),
    each=st.lists(st.floats(0.1, 3), min_size=3, max_size=3),
    seed=seeds,
)
def test_gain_threshold_and_a_silencer_for_each_neuron_leave_an_active_circuit_as_it_is(
    gain: float, threshold: float, each: list[float], seed: int
) -> None:
    w, b = layers(2, [3, 3, 3], seed)
    circuits = gated(w, b, bias=torch.tensor(each), gain=gain, threshold=threshold)
    x = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=3))
    assert_equal(last(circuits, x), torch.stack([plain(w, b, t, x) for t in range(2)]))
    assert_equal(circuits.b[:, 2:], -torch.tensor(each).double().expand(2, -1))


def inside(x: Tensor) -> Tensor:
    """Shortened to length 1, if it is longer."""
    return x / max(1.0, float(x.norm()))


@given(L=st.integers(1, 4), bound=st.floats(1, 5), beta=betas, seed=seeds)
def test_signed_states_keep_their_signs_within_the_bound(
    L: int, bound: float, beta: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    w = torch.linalg.qr(torch.from_numpy(draw.normal(size=(L, 3, 4, 4)))).Q  # lengths are kept
    x = inside(torch.from_numpy(draw.normal(size=4)))
    for load in (None, 1.0):
        circuits = gated(w, torch.zeros(L, 3, 4), bias=beta, signed=bound, load=load)
        straight = x.expand(3, 4)
        for matrix in w:
            straight = torch.einsum("tij,tj->ti", matrix, straight)
        assert_equal(last(circuits, x), straight)


def test_a_signed_state_below_its_bound_is_cut() -> None:
    one = torch.ones(1, 1, 1, 1).double()
    circuits = gated(one, torch.zeros(1, 1, 1), signed=0.5)
    assert last(circuits, torch.tensor([-0.8]).double()).item() == -0.5
    assert last(circuits, torch.tensor([-0.3]).double()).item() == pytest.approx(-0.3)


@given(sizes=widths, bound=st.floats(1, 5), beta=betas, seed=seeds)
def test_a_loaded_circuit_is_the_plain_one_a_layer_later(
    sizes: list[int], bound: float, beta: float, seed: int
) -> None:
    w, b = layers(3, sizes, seed)
    circuits = gated(w, b, bias=beta, load=bound)
    x = inside(torch.from_numpy(np.random.default_rng(seed + 1).normal(size=sizes[0])))
    assert circuits.L == len(sizes)
    found = last(circuits, x)
    for t in range(3):
        assert_equal(found[t, : sizes[-1]], plain(w, b, t, x))


@given(k=st.integers(1, 5), bound=st.floats(1, 5), seed=seeds)
def test_loading_adds_up_where_circuits_share_a_position(k: int, bound: float, seed: int) -> None:
    w, b = layers(k, [2, 3], seed)
    circuits = gated(w, b, load=bound)
    x = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (k, 2)))
    a0 = circuits.input_mean + x @ circuits.input_map.T
    shared = torch.einsum("tij,tj->i", circuits.w[0], a0) + circuits.b[0]
    held = torch.relu(shared)
    assert_equal(held[:2], torch.tensor([k, k - 1]).double())
    assert_equal(held[2:4] - bound * held[0], x.sum(0))


@given(depth=st.integers(1, 3), read=st.booleans(), seed=seeds)
def test_gated_modules_are_the_modules(depth: int, read: bool, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    sizes = [2, *torch.randint(1, 6, (depth,), generator=draw).tolist()]
    nets = []
    for t in range(3):
        parts: list[nn.Module] = []
        for into, out in pairwise(sizes):
            parts += [nn.Linear(into, out, bias=t == 0), nn.ReLU()]
        nets.append(nn.Sequential(*parts, *([nn.Linear(sizes[-1], 2)] if read else [])).double())
    if len(set(sizes[1:])) > 1:
        with pytest.warns(UserWarning, match=f"are all filled up to {max(sizes[1:])}"):
            circuits = gated_modules(nets)
    else:
        circuits = gated_modules(nets)
    x = torch.randn(2, generator=draw).double()
    found = last(circuits, x, "output" if read else "state")
    assert not circuits.w.requires_grad
    for t, net in enumerate(nets):
        assert_equal(found[t, : 2 if read else sizes[-1]], net(x).detach())


def test_gated_rotation_matrices_are_the_posts_circuits_from_layer_2_on() -> None:
    theta = np.random.default_rng(0).uniform(0, 6, 50)
    c, s = torch.from_numpy(np.cos(theta)), torch.from_numpy(np.sin(theta))
    r = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    for beta in (1.0, 2.5):
        ours = gated(r.expand(3, -1, -1, -1), torch.zeros(3, 50, 2), bias=beta, signed=1)
        post = cisp.conditional_rotations(theta=theta, bias=beta, dtype=torch.float64)
        assert_equal(ours.w[1:], post.w.expand(2, -1, -1, -1))
        assert torch.equal(ours.b, post.b.expand(3, -1))


@pytest.fixture
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module(f"cisp_book.{request.param}")


def apart(*, T: int, S: int, **_: int) -> np.ndarray:
    return np.arange(T * S).reshape(T, S)


def in_networks(circuits: SmallCircuits) -> None:
    """With S positions for each alone, all circuits at once equal the circuits alone."""
    S, every = 3, everyone(circuits)
    a0 = circuits.sample_inputs(batch=1, z=circuits.T, rng=0, active=every)
    a = circuits.run(a0, every)[-1]
    D = circuits.T * S * circuits.d
    for build in (cisp.superpose, cisp.superpose_extrinsic):
        network = build(circuits, D=D, S=S, allocate=apart)
        A = network(network.embed(a0, every))
        assert_equal(cisp.of_active(network.readout(A, network.L), every), a)


@given(T=st.integers(1, 5), sizes=widths, load=st.booleans(), seed=seeds)
def test_circuits_apart_in_a_network_are_the_circuits(
    T: int, sizes: list[int], load: bool, seed: int
) -> None:
    w, b = layers(T, sizes, seed, scale=0.5)
    in_networks(gated(w, b, bias=2, load=1.0 if load else None))


@pytest.mark.parametrize("page", ["logic"], indirect=True)
def test_logic_apart_in_a_network_is_logic(page: ModuleType) -> None:
    draw = np.random.default_rng(0)
    gates = [page.gate(truth) for truth in page.patterns(4).int().tolist()]
    for kind in (gates, [page.adder(1)] * 3, [page.adder(4)] * 2):
        own = [page.shuffled(circuit, draw) for circuit in kind]
        w, b = ([each.double() for each in part] for part in page.stacked(own))
        bits = page.patterns(w[0].shape[2])
        in_networks(gated(w, b, inputs=bits, bias=0.5))
        in_networks(gated(w, b, inputs=bits, bias=0.5, load=1))


@pytest.mark.parametrize("page", ["logic"], indirect=True)
def test_distances_and_products_apart_in_a_network_are_themselves(page: ModuleType) -> None:
    for own in (
        [page.distance(c, width=4) for c in (-0.5, 0.3)],
        [page.turned_product(angle) for angle in (0, 1)],
    ):
        w, b, v = (torch.stack(part).double() for part in zip(*own, strict=True))
        in_networks(gated([w], [b], outputs=(v, torch.zeros(2, 1)), load=1))


@pytest.mark.parametrize("page", ["logic"], indirect=True)
def test_logic_is_what_it_says(page: ModuleType) -> None:
    def run(circuit: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
        for w, b in circuit:
            x = torch.relu(x @ w.T + b)
        return x

    two, draw = page.patterns(2), np.random.default_rng(0)
    for truth in page.patterns(4).int().tolist():
        assert run(page.gate(truth), two)[:, 0].int().tolist() == truth
    for bits in (1, 2, 4):
        x = page.patterns(2 * bits + 1)
        value = 2.0 ** torch.arange(bits + 1)
        flip = draw.random(2 * bits + 1) < 0.5
        own = page.held(page.shuffled(page.inverted(page.adder(bits), flip), draw), L=10)
        x_ = torch.where(torch.from_numpy(flip), 1 - x, x)
        wanted = (x_[:, :bits] + x_[:, bits:-1]) @ value[:-1] + x_[:, -1]
        assert torch.equal(run(own, x) @ value, wanted)
        assert len(own) == 10


@pytest.mark.parametrize("page", ["logic"], indirect=True)
def test_a_product_is_off_by_a_64th_at_most_and_a_distance_not_at_all(page: ModuleType) -> None:
    line = torch.linspace(-1, 1, 41)
    x = torch.cartesian_prod(line, line)
    for angle in (0.0, 0.4, 1.3):
        w, b, v = page.turned_product(angle)
        c, s = float(np.cos(angle)), float(np.sin(angle))
        turned = (c * x[:, 0] + s * x[:, 1]) * (c * x[:, 1] - s * x[:, 0])
        off = (torch.relu(x @ w.T + b) @ v[0] - turned).abs().max()
        assert 0.01 < off < 1 / 64 + 1e-6  # float32
    w, b, v = page.distance(0.3, width=5)
    assert_equal(torch.relu(x @ w.T + b) @ v[0], (x[:, 0] - 0.3).abs(), atol=1e-6)


@pytest.mark.parametrize("page", ["little"], indirect=True)
def test_the_little_networks_learn_each_its_own_surface(page: ModuleType) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        x = page.grid(13)
        y, nets = page.surfaces(x, T=6), page.trained(T=6, steps=150)
        found = torch.stack([net(x)[:, 0] for net in nets]).detach()
    finally:
        torch.set_default_dtype(torch.float32)
    error = (found.unsqueeze(1) - y).square().mean(2)
    assert (error.argmin(1) == torch.arange(6)).all()
    assert error.diagonal().max() < 0.05 < y.square().mean()


def family(seed: int, **options: Any) -> SmallCircuits:
    w, b = layers(4, [2, 3, 3], seed)
    v = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=(4, 1, 3)))
    return gated(w, b, outputs=(v, torch.ones(4, 1)), **options)


def outputs(circuits: SmallCircuits, active: list[int], x: Tensor) -> Tensor:
    """Outputs (z, 1) of some circuits at x."""
    row = torch.tensor([active])
    a0 = switched_on(circuits, x)[:, : len(active)]
    return circuits.quantities(circuits.run(a0, row)[-1], row)["output"][0]


@given(some=st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True), seed=seeds)
def test_some_of_the_circuits_are_these_circuits(some: list[int], seed: int) -> None:
    whole = family(seed)
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=2))
    expected = outputs(whole, some, x)
    assert torch.equal(outputs(whole[some], list(range(len(some))), x), expected)
    assert len(whole[1:3]) == 2
    assert torch.equal(whole[1:3].w, whole.w[:, 1:3])


@given(seed=seeds)
def test_concatenated_circuits_are_the_parts(seed: int) -> None:
    own = [torch.rand(5, 2, generator=torch.Generator().manual_seed(k)).double() for k in (0, 1)]
    parts = [family(seed + k, inputs=samples) for k, samples in enumerate(own)]
    both = cisp.concatenate(parts)
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=2))
    expected = torch.cat([outputs(part, [0, 1, 2, 3], x) for part in parts])
    assert torch.equal(outputs(both, list(range(8)), x), expected)
    active = torch.tensor([[1, 6]]).expand(40, 2)
    drawn = both.sample_inputs(batch=40, z=2, rng=0, active=active)[..., 2:4]
    for k, samples in enumerate(own):
        assert {*map(tuple, drawn[:, k].tolist())} <= {*map(tuple, samples.tolist())}


def test_concatenated_weights_have_layers_only_where_a_part_has() -> None:
    shared = cisp.step_indicators(T=3).with_layers(4)
    layered = replace(shared, w=torch.stack([shared.w * k for k in (1.0, 2.0, 1.0, 0.5)]))
    assert cisp.concatenate([shared, shared]).w.shape == (6, *shared.w.shape[1:])
    both = cisp.concatenate([shared, layered]).w
    assert torch.equal(both[:, :3], shared.w.expand(4, -1, -1, -1))
    assert torch.equal(both[:, 3:], layered.w)


@pytest.mark.parametrize("load", [None, 1.0])
def test_gated_circuits_come_back_from_a_file(tmp_path: Path, load: float | None) -> None:
    whole = family(0, inputs=torch.rand(5, 2).double(), load=load)
    whole.save(tmp_path / "circuits")
    back = SmallCircuits.load(tmp_path / "circuits")
    assert repr(back) == repr(whole)
    for name in ("w", "b", "inputs", "input_mean", "input_map"):
        assert torch.equal(getattr(back, name), getattr(whole, name))
    for name, matrix in whole.readouts.items():
        assert torch.equal(back.readouts[name], matrix)


@given(more=st.floats(0.1, 5), seed=seeds)
def test_another_silencer_leaves_an_active_circuit_as_it_is(more: float, seed: int) -> None:
    whole = family(seed)
    raised = cisp.silenced(whole, torch.full((2, 5), 1 + more).double())
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=2))
    assert_equal(outputs(raised, [0, 1, 2, 3], x), outputs(whole, [0, 1, 2, 3], x))
    assert torch.equal(raised.b[0], whole.b[0])  # layer 1 is the input's
    assert_equal(raised.b[1, 2:], torch.full((3,), -1 - more).double())
    assert torch.equal(raised.b[1, :2], whole.b[1, :2])


def test_trained_networks_alone_are_exact_in_a_narrow_network() -> None:
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)).double() for _ in range(100)]
    circuits = gated_modules(nets, load=1)
    network = cisp.superpose_extrinsic(circuits, D=500, S=4, silence="auto")
    errors = cisp.measure(network, z=1).errors
    assert errors[errors.circuits == "active"].worst.max() < 1e-12
    with pytest.raises(ValueError, match=r"b\[2\]=-0\.001 in layer 2 lets circuit"):
        cisp.superpose_extrinsic(gated_modules(nets, load=1, bias=1e-3), D=500, S=4)


def test_signed_neurons_without_weights_read_0() -> None:
    w = [torch.ones(3, 4, 2).double(), torch.ones(3, 1, 4).double()]  # the last layer is narrower
    circuits = cisp.gated(w, [torch.zeros(3, 4), torch.zeros(3, 1)], signed=9.0)
    active = torch.arange(3).unsqueeze(1)
    a = circuits.run(circuits.sample_inputs(batch=3, z=1), active)
    state = circuits.quantities(a[2])["state"]
    assert state[..., 1:].abs().max() < 1e-12
    assert state[..., 0].abs().min() > 1e-3
