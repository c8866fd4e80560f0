"""Small circuits and the oracle that runs them (sections 3 and 5.1)."""

from collections.abc import Callable
from functools import partial

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from cisp import (
    SmallCircuits,
    conditional_rotations,
    loaded_rotations,
    one_relu_rotations,
    step_indicators,
)

# float64, a few dozen operations on numbers below 10
assert_equal = partial(torch.testing.assert_close, rtol=0, atol=1e-12)


def normal(*shape: int, rng: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(rng).normal(size=shape))


def random_circuits(*, T: int = 5, d: int = 3, L: int = 4, rng: int = 0) -> SmallCircuits:
    return SmallCircuits(w=normal(L, T, d, d, rng=rng), b=normal(L, d, rng=rng + 1))


def rotations(*, T: int = 7, rng: int = 0) -> SmallCircuits:
    return conditional_rotations(T=T, rng=rng, dtype=torch.float64)


KINDS = {
    "rotations": rotations(),
    "step": step_indicators(T=7, dtype=torch.float64),
    "one relu": one_relu_rotations(T=7, dtype=torch.float64),
    "random": random_circuits(),
    "rotations, angles by layer": conditional_rotations(
        theta=np.random.default_rng(1).uniform(0, 6, (3, 7)), dtype=torch.float64
    ),
    "shared weights, biases by layer": SmallCircuits(w=rotations().w, b=normal(3, 4)),
}


@pytest.mark.parametrize("circuits", KINDS.values(), ids=KINDS)
def test_the_oracle_equals_a_loop_over_circuits_and_layers(circuits: SmallCircuits) -> None:
    a0 = circuits.sample_inputs(batch=4, z=2, rng=2)
    active = torch.tensor([[0, 1], [3, 2], [4, 1], [2, 0]])
    a = circuits.run(a0, active)
    w, b = circuits.w.numpy(), circuits.b.numpy()
    for batch, row in enumerate(active.tolist()):
        for k, t in enumerate(row):
            state = a0[batch, k].numpy()
            for layer in range(circuits.L):
                assert_equal(a[layer, batch, k], torch.from_numpy(state))
                w_t = w[layer, t] if w.ndim == 4 else w[t]
                state = np.maximum(w_t @ state + (b[layer] if b.ndim == 2 else b), 0)
            assert_equal(a[circuits.L, batch, k], torch.from_numpy(state))


def test_the_step_reads_the_indicator_and_the_vector_of_the_posts_encoding() -> None:
    alpha, x = normal(50, 1), normal(50, 2, rng=1)
    a = torch.cat([1.5 * alpha, 0.5 * alpha, x + alpha], -1)  # 5.4
    read = rotations().quantities(a)
    assert_equal(read["indicator"], alpha)  # 5.5
    assert_equal(read["rotation"], x)  # 5.6


def test_a_rotation_circuit_computes_equations_3_1_to_3_3() -> None:
    circuits = rotations(T=50)
    assert circuits.theta is not None
    theta = circuits.theta.numpy()
    draw = np.random.default_rng(3)
    alpha, x0, x1 = draw.uniform(0, 1, 50), *draw.uniform(-1, 1, (2, 50))
    a0 = torch.from_numpy(np.stack([1.5 * alpha, 0.5 * alpha, x0 + alpha, x1 + alpha], -1))
    a1 = circuits.with_layers(1).run(a0[:, None], torch.arange(50)[:, None])[1, :, 0]

    def relu(y: np.ndarray) -> np.ndarray:
        return np.maximum(y, 0)

    after = relu(2 * alpha - 0.5) - relu(2 * alpha - 1.5)
    c, s = np.cos(theta), np.sin(theta)
    y0 = relu(c * x0 - s * x1 + 2 * alpha - 1) - after
    y1 = relu(s * x0 + c * x1 + 2 * alpha - 1) - after
    read = circuits.quantities(a1)
    assert_equal(read["indicator"][:, 0], torch.from_numpy(after))
    assert_equal(read["rotation"], torch.from_numpy(np.stack([y0, y1], -1)))


@pytest.mark.parametrize("make", [conditional_rotations, one_relu_rotations])
def test_an_active_circuit_turns_its_vector_by_its_angle_at_every_layer(
    make: Callable[..., SmallCircuits],
) -> None:
    circuits = make(T=9, rng=4, dtype=torch.float64)
    a0 = circuits.sample_inputs(batch=9, z=1, rng=5)
    read = circuits.quantities(circuits.run(a0, torch.arange(9)[:, None])[:, :, 0])
    x = torch.view_as_complex(read["rotation"])
    assert circuits.theta is not None
    turns = torch.exp(1j * circuits.theta * torch.arange(circuits.L + 1)[:, None])
    assert_equal(x, x[0] * turns)
    assert_equal(x.abs(), torch.ones(6, 9).double())  # 5.7
    assert_equal(read["indicator"], torch.ones(6, 9, 1).double())  # 5.8


def test_an_inactive_circuit_stays_exactly_zero_and_swallows_noise_below_0_177() -> None:
    circuits = rotations()
    noise = torch.from_numpy(np.random.default_rng(6).normal(size=(200, 7, 4)))
    noise *= 0.176 / noise.norm(dim=-1, keepdim=True)
    everyone = torch.arange(7).expand(200, 7)
    assert not circuits.run(torch.zeros(1, 7, 4).double(), everyone[:1]).any()
    assert not circuits.run(noise, everyone)[1:].any()


def test_angles_by_layer_turn_each_layer_by_its_own_angle() -> None:
    theta = np.random.default_rng(7).uniform(0, 6, (3, 5))
    circuits = conditional_rotations(theta=theta, dtype=torch.float64)
    assert (circuits.L, circuits.T) == theta.shape
    a = circuits.run(circuits.sample_inputs(batch=1, z=5), torch.arange(5)[None])
    x = torch.view_as_complex(circuits.quantities(a[:, 0])["rotation"].contiguous())
    total = torch.from_numpy(theta.cumsum(0))
    assert_equal(x[1:], x[0] * torch.exp(1j * total))


def test_one_relu_doubles_an_error_on_the_indicator_at_each_layer() -> None:
    circuits = one_relu_rotations(T=1, dtype=torch.float64)
    a0 = torch.tensor([[[1.01, 1.01, 1.01]]]).double()
    alpha = circuits.quantities(circuits.run(a0, torch.tensor([[0]])))["indicator"].flatten()
    expected = 1 + 0.01 * 2.0 ** torch.arange(6).double()
    # 1.01 is stored as float32, whose rounding 5e-8 doubles five times
    torch.testing.assert_close(alpha, expected, rtol=0, atol=32 * 5e-8)


@pytest.mark.parametrize("true", [0, 1])
def test_two_relus_remove_an_error_on_the_indicator_below_0_25(true: int) -> None:
    circuits = step_indicators(T=1, dtype=torch.float64)
    error = torch.linspace(-0.249, 0.249, 9).double()
    a0 = torch.tensor([1.5, 0.5]).double() * true + torch.stack([error, 0 * error], -1)
    a = circuits.run(a0[:, None], torch.zeros(9, 1, dtype=torch.int64))
    alpha = circuits.quantities(a)["indicator"].squeeze()
    assert_equal(alpha[0], true + error)
    assert_equal(alpha[1:], torch.full((5, 9), true).double())


def test_two_relus_let_through_an_error_on_the_indicator_above_0_25() -> None:
    circuits = step_indicators(T=1, dtype=torch.float64)
    a = circuits.run(torch.tensor([[[0.26, 0.0]]]).double(), torch.tensor([[0]]))
    assert float(circuits.quantities(a)["indicator"][1]) > 0.01  # 2 * 0.26 - 0.5 = 0.02


def test_inputs_lie_on_the_circle_that_the_class_describes() -> None:
    read = rotations().quantities(rotations().sample_inputs(batch=50, z=3))
    assert_equal(read["indicator"], torch.ones(50, 3, 1).double())
    one = torch.ones(50, 3).double()
    assert_equal(read["rotation"].norm(dim=-1), one)
    unit = random_circuits().sample_inputs(batch=50, z=3)
    assert_equal(unit.norm(dim=-1), one)


def test_inputs_of_one_relu_have_an_indicator_of_1_and_vectors_in_all_directions() -> None:
    a0 = one_relu_rotations(T=7, dtype=torch.float64).sample_inputs(batch=2000, z=2, rng=0)
    assert_equal(a0[..., 0], torch.ones(2000, 2).double())
    x = a0[..., 1:] - 1
    assert_equal(x.norm(dim=-1), torch.ones(2000, 2).double())
    assert x.mean((0, 1)).abs().max() < 4 * 0.5**0.5 / 4000**0.5  # four standard errors of a mean
    assert (x.flatten(0, 1).T @ x.flatten(0, 1) / 4000 - torch.eye(2) / 2).abs().max() < 0.05


def test_the_same_seed_gives_the_same_circuits_and_inputs_and_another_seed_others() -> None:
    first, again, other = (conditional_rotations(T=5, rng=seed) for seed in (0, 0, 1))
    assert torch.equal(first.w, again.w)
    assert not torch.equal(first.w, other.w)
    inputs = [first.sample_inputs(batch=3, z=2, rng=seed) for seed in (0, 0, 1)]
    assert torch.equal(inputs[0], inputs[1])
    assert not torch.equal(inputs[0], inputs[2])


def test_weights_are_the_mean_plus_differences_that_average_to_zero() -> None:
    circuits = random_circuits(T=4, d=2, L=3)
    assert circuits.w_mean.shape == (3, 2, 2)
    for layer in range(3):
        mean = sum(circuits.w[layer, t] for t in range(4)) / 4
        for t in range(4):
            delta = circuits.w[layer, t] - mean
            assert_equal(circuits.delta_w[layer, t], delta)


def test_fewer_layers_are_the_first_ones() -> None:
    circuits = random_circuits()
    a0, active = circuits.sample_inputs(batch=2, z=2), torch.tensor([[0, 1], [4, 2]])
    short = circuits.with_layers(2)
    assert torch.equal(short.run(a0, active), circuits.run(a0, active)[:3])
    assert rotations().with_layers(8).L == 8  # the same weights in every layer never run out


def test_moving_to_another_dtype_moves_every_tensor_and_the_readouts() -> None:
    circuits = rotations().to(torch.float32)
    tensors = [*circuits.readouts.values(), *vars(circuits).values()]
    kinds = {x.dtype for x in tensors if isinstance(x, Tensor)}
    assert kinds == {torch.float32}
    assert list(circuits.readouts) == ["indicator", "rotation"]


@pytest.mark.parametrize("L", [1, 2, 4])
@pytest.mark.parametrize("fresh", [False, True])
def test_loaded_rotations_rotate_and_add_up_where_circuits_share(L: int, fresh: bool) -> None:
    theta = np.random.default_rng(0).uniform(0, 6, (L, 5) if fresh else 5)
    plain = conditional_rotations(theta=theta, bias=2, dtype=torch.float64).with_layers(L)
    loaded = loaded_rotations(theta=theta, bias=2, L=L, dtype=torch.float64)
    active = torch.arange(5).unsqueeze(1)
    a0 = plain.sample_inputs(batch=5, z=1)
    ours, theirs = loaded.run(a0, active), plain.run(a0, active)
    for name, value in loaded.quantities(ours[1:]).items():
        assert_equal(value, plain.quantities(theirs[1:])[name])

    # one position that circuits 0 and 1 share: layer 1 on the sum of what they embed
    (w, b), (u, c) = loaded.at(1), plain.at(1)
    both = torch.relu((w[:2] @ a0[:2].mT).sum(0).squeeze(-1) + b)
    x = plain.quantities(torch.relu((u[:2] @ a0[:2].mT).squeeze(-1) + c))["rotation"].sum(0)
    expected = torch.cat([torch.tensor([2.0, 1]).double(), x + 2])
    assert_equal(both, expected)
    if L > 1:  # layer 2 makes of it an indicator of 1, and the turned sum of the vectors
        (w, b), angle = loaded.at(2), torch.tensor(theta[1, 0] if fresh else theta[0])
        c, s = torch.cos(angle), torch.sin(angle)
        turned = torch.stack([c * x[0] - s * x[1], s * x[0] + c * x[1]])
        assert_equal(w[0] @ both + b, torch.cat([torch.tensor([1.5, 0.5]).double(), turned + 1]))


@pytest.mark.parametrize("bias", [1, 1.5, 4.0])
def test_the_bias_is_what_an_inactive_circuit_silences_and_changes_nothing_when_on(
    bias: float,
) -> None:
    ours = conditional_rotations(theta=[0.0], bias=bias, dtype=torch.float64)
    posts = conditional_rotations(theta=[0.0], dtype=torch.float64)
    alone = torch.zeros(3, 1).long()
    a0 = posts.sample_inputs(batch=3, z=1)
    assert_equal(ours.run(a0, alone), posts.run(a0, alone))
    noise = torch.tensor([[0, 0, bias - 0.25, 0], [0, 0, 0, bias], [0, 0, bias + 0.25, 0]]).double()
    after = ours.run(noise.unsqueeze(1), alone)[1, :, 0]
    assert_equal(after, torch.tensor([[0] * 4, [0] * 4, [0, 0, 0.25, 0]]).double())


STEPS = [(2, 0.5), (4, 0.75), (8, 0.875), (10, 0.5), (6, 0.83)]


@pytest.mark.parametrize(("gain", "threshold"), STEPS)
@pytest.mark.parametrize("make", [step_indicators, conditional_rotations])
def test_gain_and_threshold_say_what_the_step_makes_of_the_indicator(
    make: Callable[..., SmallCircuits], gain: float, threshold: float
) -> None:
    circuits = make(T=1, gain=gain, threshold=threshold, dtype=torch.float64)
    alpha = torch.linspace(0, 1.25, 51).double()
    a0 = circuits.input_mean * alpha[:, None]
    a = circuits.run(a0[:, None], torch.zeros(51, 1, dtype=torch.int64))
    after = circuits.quantities(a)["indicator"][1].flatten()
    assert_equal(after, (gain * (alpha - threshold) + 0.5).clamp(0, 1))


@pytest.mark.parametrize(("gain", "threshold"), STEPS)
@pytest.mark.parametrize("make", [conditional_rotations, loaded_rotations])
def test_gain_and_threshold_change_the_step_and_nothing_else(
    make: Callable[..., SmallCircuits], gain: float, threshold: float
) -> None:
    plain, stepped = make(T=3, bias=2), make(T=3, bias=2, gain=gain, threshold=threshold)
    first = int(make is loaded_rotations)  # its layer 1 has no step
    w, b = plain.w.expand(5, 3, 4, 4).clone(), plain.b.expand(5, 4).clone()
    w[first:, :, :2] *= gain / 2
    b[first:, :2] = torch.tensor([0.5, -0.5]) - gain * threshold
    assert torch.equal(stepped.w.expand(5, 3, 4, 4), w)
    assert torch.equal(stepped.b.expand(5, 4), b)


@pytest.mark.parametrize("which", [None, "x", 2.5, 9, [0, 9], (0, 1), torch.tensor([[0, 1]]), {}])
def test_circuits_that_there_are_not_cannot_be_picked(
    which: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users
    with pytest.raises(IndexError, match=r"^circuits are 0\.\.6, not ") as error:
        one_relu_rotations(T=7)[which]  # type: ignore[index]  # wrong on purpose
    assert len(str(error.value)) <= 300
