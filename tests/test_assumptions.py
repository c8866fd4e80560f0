"""The post's assumptions as checks (section 5.2), on circuits that keep and that break them."""

import numpy as np
import pytest
import torch

import cisp
from cisp import SmallCircuits, check_assumptions, conditional_rotations
from cisp.assumptions import (
    biases_agree,
    few_are_active,
    inactive_ignore_noise,
    inactive_stay_zero,
    leaks_are_silenced,
    noise_is_not_amplified,
    weights_are_uncorrelated,
)

EPS = 0.5 / (2 * 2**0.5)  # 5.9 for the rotations: bias -0.5 and a row (2, -2, 0, 0)


def rotations(T: int = 557) -> SmallCircuits:
    return conditional_rotations(T=T, rng=0, dtype=torch.float64)


def layered(*, T: int = 5, d: int = 3, L: int = 4, b: float = -1.0) -> SmallCircuits:
    w = torch.from_numpy(np.random.default_rng(0).normal(size=(L, T, d, d)))
    return SmallCircuits(w=w, b=torch.full((L, d), b))


def test_the_rotations_keep_the_new_assumptions_and_break_the_old_fourth() -> None:
    findings = check_assumptions(rotations(), D=1000, z=3)
    verdicts = {finding.assumption: finding.holds for finding in findings}
    assert list(verdicts) == ["1", "2", "3", "4'", "5'", "old 4", "C14.2"]
    assert verdicts.pop("C14.2") is False  # the post's bias is too small for any extrinsic network
    assert verdicts == {"1": True, "2": True, "3": True, "4'": True, "5'": True, "old 4": False}


def test_without_an_indicator_all_errors_count() -> None:
    circuits = SmallCircuits(w=rotations(T=5).w, b=rotations(T=5).b)
    finding = check_assumptions(circuits, D=1000, z=1)[4]
    assert finding == noise_is_not_amplified(circuits, keep_indicator=False)


def test_circuits_are_few_up_to_a_tenth_of_the_positions() -> None:
    assert few_are_active(rotations(5), D=400, z=10).holds
    finding = few_are_active(rotations(5), D=396, z=10)
    assert not finding.holds
    assert finding.margin == pytest.approx(10 / 99)


def test_noise_below_eps_is_harmless_and_a_little_more_is_not() -> None:
    circuits = rotations()
    finding = inactive_ignore_noise(circuits)
    assert finding.margin == pytest.approx(EPS, rel=1e-12)  # float64 rounding of a norm
    assert finding.circuit is not None

    noise = torch.from_numpy(np.random.default_rng(1).normal(size=(100, 557, 4)))
    noise *= 0.999 * EPS / noise.norm(dim=-1, keepdim=True)
    everyone = torch.arange(557).expand(100, 557)
    assert not circuits.with_layers(1).run(noise, everyone)[1].any()

    worst = circuits.w[finding.circuit, 0]
    for size, on in ((0.999, False), (1.001, True)):
        a0 = (size * finding.margin * worst / worst.norm())[None, None]
        a = circuits.with_layers(1).run(a0, torch.tensor([[finding.circuit]]))
        assert bool(a[1].any()) == on


def test_the_circuit_and_layer_most_sensitive_to_noise_are_named() -> None:
    circuits = layered()
    circuits.w[2, 3, 1] *= 100 / circuits.w[2, 3, 1].norm()
    finding = inactive_ignore_noise(circuits)
    assert (finding.holds, finding.circuit, finding.layer) == (True, 3, 3)
    assert finding.margin == pytest.approx(1 / 100)


def test_a_neuron_without_negative_bias_ignores_no_noise() -> None:
    circuits = layered()
    circuits.b[1, 2] = 0
    circuits.w[1, :, 2] = (
        0  # neurons without weights stay off at bias 0: only circuit 4 hears noise
    )
    circuits.w[1, 4, 2, 0] = 1
    finding = inactive_ignore_noise(circuits)
    assert (finding.holds, finding.margin) == (False, 0)
    assert (finding.circuit, finding.layer) == (4, 2)


def test_a_positive_bias_wakes_resting_circuits() -> None:
    circuits = layered()
    assert inactive_stay_zero(circuits).margin == 1
    circuits.b[3, 0] = 0.25
    finding = inactive_stay_zero(circuits)
    assert (finding.holds, finding.margin) == (False, -0.25)
    circuits.b[3, 0] = 0
    assert inactive_stay_zero(circuits).holds


def test_the_circuit_and_layer_whose_bias_differs_are_named() -> None:
    b = torch.full((4, 5, 3), -1.0)
    assert biases_agree(b).holds
    b[2, 3, 1] = -1.5
    finding = biases_agree(b)
    assert (finding.holds, finding.margin) == (False, 0.5)
    assert (finding.circuit, finding.layer) == (3, 3)
    assert biases_agree(b[2]).circuit == 3


def test_biases_that_differ_in_the_last_bits_do_not_agree() -> None:
    b = torch.zeros(5, 3)
    b[3, 1] = 1e-7
    assert not biases_agree(b).holds


def test_rotations_amplify_errors_in_the_full_space_but_not_where_the_indicator_is_kept() -> None:
    circuits = rotations()
    norms = np.linalg.norm(circuits.w.numpy(), 2, axis=(1, 2))
    assert norms.min() >= 4.495  # at angle 0: sqrt((21 + sqrt(377)) / 2) = 4.4953...
    assert norms.max() <= 7.260  # at angle pi: sqrt((53 + sqrt(2745)) / 2) = 7.2591...
    full = noise_is_not_amplified(circuits, keep_indicator=False)
    assert not full.holds
    assert full.margin == pytest.approx(norms.max(), rel=1e-12)  # one norm, two routines
    # of circuits that agree to six decimals the first is named
    assert full.margin == pytest.approx(norms[full.circuit], abs=1e-6)
    kept = noise_is_not_amplified(circuits, keep_indicator=True)
    assert kept.holds
    assert kept.margin == pytest.approx(1, abs=1e-12)  # rounding of c^2 + s^2


def test_no_error_is_lengthened_by_more_than_the_amplification_reported() -> None:
    circuits = rotations(T=20)
    draw = np.random.default_rng(2)
    a0 = circuits.sample_inputs(batch=500, z=20)
    everyone = torch.arange(20).expand(500, 20)
    for keep in (True, False):
        da = torch.from_numpy(draw.normal(size=(500, 20, 4)))
        if keep:
            da[..., 1] = da[..., 0]
        da *= 0.05 / da.norm(dim=-1, keepdim=True)
        one = circuits.with_layers(1)
        growth = (one.run(a0 + da, everyone) - one.run(a0, everyone))[1].norm(dim=-1) / 0.05
        margin = noise_is_not_amplified(circuits, keep_indicator=keep).margin
        # among 10,000 random directions some come near: not a loose bound
        assert 0.8 * margin < float(growth.max()) <= margin * (1 + 1e-12)


def test_the_circuit_and_layer_that_amplify_noise_are_named() -> None:
    circuits = layered()
    circuits.w[1, 2] *= 50
    finding = noise_is_not_amplified(circuits, keep_indicator=False)
    assert (finding.holds, finding.circuit, finding.layer) == (False, 2, 2)
    assert not noise_is_not_amplified(layered(), keep_indicator=False).holds
    assert noise_is_not_amplified(
        SmallCircuits(w=torch.eye(3).repeat(4, 1, 1), b=torch.zeros(3)), keep_indicator=False
    ).holds


def test_independent_centred_weights_are_uncorrelated_and_a_common_part_is_found() -> None:
    circuits = layered(T=200)
    assert weights_are_uncorrelated(circuits).holds
    circuits.w[2] += torch.eye(3)
    circuits.w[2, 7] += 9 * torch.eye(3)
    finding = weights_are_uncorrelated(circuits)
    assert (finding.holds, finding.circuit, finding.layer) == (False, 7, 3)


def test_the_correlation_is_the_mean_over_pairs() -> None:
    w = rotations(T=6).w.flatten(1).numpy()
    pairs = [w[t] @ w[u] for t in range(6) for u in range(6) if t != u]
    expected = np.mean(pairs) / np.mean((w**2).sum(1))
    assert weights_are_uncorrelated(rotations(T=6)).margin == pytest.approx(expected, rel=1e-12)


def test_a_finding_reads_as_a_sentence() -> None:
    finding = weights_are_uncorrelated(rotations())
    assert "assumption old 4 FAILS" in str(finding)
    assert f"(circuit {finding.circuit}, layer 1)" in str(finding)
    assert "circuit 0" not in str(inactive_stay_zero(rotations()))


def test_what_leaks_is_silenced_where_the_extrinsic_network_is_silent() -> None:
    for bias, holds in ((2.0, True), (1.0, False)):
        circuits = conditional_rotations(T=50, rng=0, bias=bias, dtype=torch.float64)
        finding = leaks_are_silenced(circuits)
        assert finding.holds == holds
        # Delta w_t a_v = Delta r_t x_v for rotations r_t, so at most the length of its row
        most = float(circuits.delta_w[:, 2:, 2:].norm(dim=-1).max())
        assert most <= bias * finding.margin <= 1.2 * most
        if holds:
            cisp.superpose_extrinsic(circuits, D=200, S=4)
    assert leaks_are_silenced(cisp.loaded_rotations(T=50, rng=0, bias=2.0)).holds
    woken = SmallCircuits(w=rotations(5).w, b=torch.tensor([-0.5, -1.5, 0.1, -1]))
    assert leaks_are_silenced(woken).margin == float("inf")


def test_loaded_rotations_keep_what_their_network_needs() -> None:
    findings = check_assumptions(cisp.loaded_rotations(T=50, rng=0, bias=3.0), D=1000, z=1)
    assert [f.assumption for f in findings if not f.holds] == ["old 4"]


def test_a_relu_that_is_off_passes_no_noise() -> None:
    w = torch.tensor([[[3.0, 0], [0, 1]]]).repeat(4, 1, 1)
    on = SmallCircuits(w=w, b=torch.tensor([-1.0, 0]), input_mean=torch.tensor([2.0, 1]),
                       input_map=torch.zeros(2, 1), L=2)  # fmt: skip
    off = SmallCircuits(w=w, b=torch.tensor([-99.0, 0]), input_mean=torch.tensor([2.0, 1]),
                        input_map=torch.zeros(2, 1), L=2)  # fmt: skip
    assert noise_is_not_amplified(on, keep_indicator=False).margin == pytest.approx(3)
    assert noise_is_not_amplified(off, keep_indicator=False).margin == pytest.approx(1)
    # it is silent towards others, not they towards it: (0, 3) is what it would pass on
    w = torch.tensor([[[0, 3.0], [0, 1]]]).repeat(4, 1, 1)
    deaf = SmallCircuits(w=w, b=off.b, input_mean=off.input_mean, input_map=off.input_map, L=2)
    assert noise_is_not_amplified(deaf, keep_indicator=False).margin == pytest.approx(1)


def test_weights_by_layer_are_checked_as_weights_of_all_layers_are() -> None:
    same = rotations(T=20).with_layers(3)
    layers = SmallCircuits(
        w=same.w.expand(3, -1, -1, -1),
        b=same.b,
        readouts=same.readouts,
        input_mean=same.input_mean,
        input_map=same.input_map,
    )
    for one, other in zip(*(check_assumptions(c, D=400, z=1) for c in (same, layers)), strict=True):
        assert (one.assumption, one.holds) == (other.assumption, other.holds)
        assert other.margin == pytest.approx(one.margin)


def test_of_weights_by_layer_the_worst_layer_decides() -> None:
    circuits = rotations(T=20)
    w = circuits.w.expand(3, -1, -1, -1).clone()
    w[2, 7, 2:] *= 3
    layers = SmallCircuits(
        w=w,
        b=circuits.b,
        readouts=circuits.readouts,
        input_mean=circuits.input_mean,
        input_map=circuits.input_map,
    )
    found = {each.assumption: each for each in check_assumptions(layers, D=400, z=1)}
    assert {k for k, each in found.items() if not each.holds} == {"5'", "old 4", "C14.2"}
    for name in ("5'", "C14.2"):
        assert (found[name].circuit, found[name].layer) == (7, 3)
    assert found["5'"].margin == pytest.approx(3)
