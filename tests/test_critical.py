"""The critical line: its exponents, and the simulation that finds it."""

import importlib
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import exp, log
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import cisp
from cisp import theory
from cisp.allocation import Table
from cisp.theory.evolution import Step

BOOK = Path(__file__).parent.parent / "book"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("cisp_book.studies.critical")


def noise_on_each(n: float, rho: float, S: int, L: int, q: int) -> float:
    """rho M of layer L-1 for an even load, z = 1 and any n; beyond 1, of the first such layer.

    Links from positions that are on to an extent k/q are Poisson numbers of mean rho times how many
    there are; what they bring together follows by the recursion for such sums.
    """
    k, X = np.arange(q + 1), np.arange(3 * S * q // 4 + 1)
    right, wrong = S * (k == q), np.zeros(q + 1)
    for _ in range(2, L):
        links = rho * (right + wrong)
        if (M := links @ k / q) > 1:
            return float(M)
        p = np.zeros(len(X))
        p[0] = exp(-links.sum())
        for x in X[1:]:
            most = min(x, q)
            p[x] = (links * k)[1 : most + 1] @ p[x - most : x][::-1] / x
        on = q * Step()((X / q - M) / S)
        low = np.minimum(on.astype(int), q - 1)
        wrong = np.zeros(q + 1)
        np.add.at(wrong, low, n * p * (low + 1 - on))
        np.add.at(wrong, low + 1, n * p * (on - low))
        wrong[0] = 0
    return float(rho * (right + wrong) @ k / q)


def critical_log_rho(n: float, S: int, L: int, q: int) -> float:
    """The least ln rho at which what layer L-1 sends at random is 1 on each position."""
    low = -0.7 * log(n)
    while noise_on_each(n, exp(low + 0.25), S, L, q) < 1:
        low += 0.25
    high = low + 0.25
    for _ in range(12):
        middle = (low + high) / 2
        grown = noise_on_each(n, exp(middle), S, L, q) >= 1
        low, high = (low, middle) if grown else (middle, high)
    return low


@pytest.mark.parametrize(
    ("S", "L", "q"),
    [(3, 3, 6), (3, 4, 36), (4, 3, 8), (4, 4, 8), (4, 5, 16), (4, 6, 16), (6, 4, 18), (8, 4, 16)],
)
def test_the_critical_exponent_is_that_of_a_network_without_end(S: int, L: int, q: int) -> None:
    widths = (1e25, 1e30)  # what is left of other powers of n moves the slope by 0.001
    low, high = (critical_log_rho(n, S, L, q) for n in widths)
    slope = 2 + (high - low) / log(widths[1] / widths[0])
    assert theory.derived_critical_exponent(S=S, L=L) == pytest.approx(slope, abs=0.002)


@pytest.mark.parametrize(("S", "L"), [(6, 8), (4, 10_000), (10**9, 4)])
def test_an_exponent_that_would_take_for_ever_is_refused(S: int, L: int) -> None:
    with pytest.raises(ValueError, match=rf"L={L} .* S={S} that \(2 S\)\^\(L-2\) is at most"):
        theory.derived_critical_exponent(S=S, L=L)


@pytest.mark.parametrize(("S", "L"), [*product((4, 8, 12), (3, 4, 5)), (4, 6), (8, 6)])
def test_where_4_divides_S_the_exponent_is_a_fraction_that_falls_with_depth(S: int, L: int) -> None:
    h = S // 4 + 1
    above = Fraction(1, h * (h * (L - 2) + 1))
    assert theory.derived_critical_exponent(S=S, L=L) == pytest.approx(2 - 1 / h + float(above))


@pytest.mark.parametrize(
    ("T", "S", "z", "allocate", "step"),
    [
        (1100, 4, 1, cisp.transversal_design, {}),
        (700, 6, 3, cisp.prime_steps, {}),
        (700, 6, 2, cisp.prime_steps, {"gain": 4, "threshold": 0.6}),
    ],
)
def test_what_is_followed_of_a_network_errs_as_the_network(
    study: ModuleType,
    T: int,
    S: int,
    z: int,
    allocate: Callable[..., Table],
    step: dict[str, float],
) -> None:
    circuits = cisp.step_indicators(T=T, dtype=torch.float64, **step)
    network = cisp.superpose(circuits, D=600, S=S, L=4, rng=3, allocate=allocate)
    active, a0 = network.sample(batch=150, z=z, rng=1)
    A, a = network(network.embed(a0, active)), circuits.with_layers(4).run(a0, active)
    delta = cisp.of_active(cisp.errors(network, A, a, active, 4)["indicator"], active)
    whole = delta[..., 0].square().mean(1).numpy()
    assert whole.max() > 0.1
    followed = study.active_errors(network.tables.numpy(), active.numpy(), n=300, **step)
    assert followed == pytest.approx(whole, abs=1e-9)


def test_the_critical_T_is_found_where_the_error_is_known(
    study: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = (1000, 4, 1, "design", 2, 0.5, 5)

    def dealt(T: int, line: object, samples: int, rng: np.random.Generator) -> np.ndarray:
        return 0.01 * (T / 500) ** 9 * np.exp(0.2 * rng.normal(size=samples) - 0.02)

    monkeypatch.setattr(study, "dealt_errors", dealt)
    T, stderr = study.critical_simulated(line, 6, 400)
    least = 500 * 0.2 / 9 / (5 * 2400) ** 0.5  # a slope of 9, five T of 2400 inputs each
    assert least / 2 < stderr < 4 * least  # the two jackknives, the curve fitted, six networks
    assert abs(T - 500) < 4 * stderr


def test_kept_critical_T_are_what_the_code_gives(study: ModuleType) -> None:
    stored = study.critical_lines()
    for line in ((1000, 6, 1, "prime steps", 2, 0.5, 5), (1000, 4, 1, "design", 2, 0.5, 3)):
        row = stored[(stored[study.COLUMNS] == list(line)).all(axis=1)]
        fresh = study.critical_simulated(line, 6, 400)
        assert row[["T", "T_stderr"]].to_numpy()[0] == pytest.approx(fresh, rel=1e-4)
