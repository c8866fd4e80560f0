"""The explorer's arithmetic in the browser equals that of cisp."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page

import cisp

SCRIPT = Path(__file__).parent.parent / "book" / "_static" / "explorer.js"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """An empty page with the explorer's functions."""
    page = browser.new_page()
    page.set_content("<p></p>")
    page.add_script_tag(path=SCRIPT)
    yield page
    page.close()


@pytest.mark.parametrize("S", range(1, 11))
def test_tables_are_those_of_prime_steps(page: Page, S: int) -> None:
    for n in (S, 20, 37, 60, 100, 250):
        T = cisp.prime_steps_capacity(n=n, S=S)
        rows = page.evaluate("([n, S]) => primeSteps(n, S)", [n, S])
        assert len(rows) == T
        if T:
            assert rows == cisp.prime_steps(T=T, n=n, S=S).tolist()


@pytest.mark.parametrize(
    ("T", "D", "S", "z"),
    [(2, 8, 1, 1), (20, 100, 3, 2), (60, 400, 6, 1), (150, 400, 4, 3), (557, 1000, 6, 3)],
)
def test_activations_chi_and_estimates_are_those_of_cisp(
    page: Page, T: int, D: int, S: int, z: int
) -> None:
    circuits = cisp.conditional_rotations(T=T, rng=T, dtype=torch.float64)
    network = cisp.superpose(circuits, D=D, S=S, L=5, rng=S)
    active, a0 = network.sample(batch=4, z=z, rng=z)
    A = network(network.embed(a0, active))
    given = [circuits.theta, network.tables, active, a0]
    found: Any = page.evaluate(
        """([theta, tables, active, a0, n]) => {
          const network = superpose(theta, tables, n)
          const runs = active.map((on, k) => forward(network, on, a0[k]))
          const read = runs.map((A, k) => active[k].map(t => estimate(network, A, 5, t)))
          return [network.chi, runs.map(A => A.map(layer => [...layer])), read]
        }""",
        [x.tolist() for x in given] + [D // 4],  # type: ignore[union-attr]  # theta is given
    )
    chi, runs, read = (np.array(part) for part in found)
    # Both compute in double precision; only the order of sums differs.
    np.testing.assert_allclose(chi, network.chi, rtol=1e-12)
    np.testing.assert_allclose(runs.swapaxes(0, 1), A.flatten(2), atol=1e-9)
    x_hat = cisp.estimates(network, A, 5)["rotation"][torch.arange(4)[:, None], active]
    np.testing.assert_allclose(read, x_hat, atol=1e-9)


def test_the_explorers_own_networks_err_as_those_of_cisp_do(page: Page) -> None:
    sizes = {"D": 400, "T": 60, "S": 6, "z": 2}
    mine = page.evaluate(
        "sizes => [...Array(20).keys()].map(seed => experiment({...sizes, seed}).mse)", sizes
    )
    theirs = []
    for seed in range(20):
        circuits = cisp.conditional_rotations(T=60, rng=seed, dtype=torch.float64)
        network = cisp.superpose(circuits, D=400, S=6, L=5, rng=100 + seed)
        errors = cisp.measure(network, z=2, samples=48, rng=seed).errors
        errors = errors.query("quantity == 'rotation' and circuits == 'active'")
        theirs.append(errors.sort_values("layer").mse.to_numpy())
    a, b = np.array(mine), np.array(theirs)
    spread = np.sqrt((a.var(0, ddof=1) + b.var(0, ddof=1)) / 20)
    assert (abs(a.mean(0) - b.mean(0)) < 4 * spread).all()
    assert (a.mean(0) > 0).all()


def test_a_seed_repeats_its_numbers_and_another_does_not(page: Page) -> None:
    three = "seed => { const random = generator(seed); return [random(), random(), random()] }"
    assert page.evaluate(three, 7) == page.evaluate(three, 7)
    assert page.evaluate(three, 7) != page.evaluate(three, 8)
    many = page.evaluate("() => { const r = generator(1); return Array.from({length: 1e4}, r) }")
    counts = np.histogram(many, bins=10, range=(0, 1))[0]
    assert (abs(counts - 1000) < 150).all()  # five standard deviations


def test_draws_are_without_repetition_and_even(page: Page) -> None:
    rows = page.evaluate(
        "() => { const r = generator(3); return [...Array(3000)].map(() => draw(2, 6, r)) }"
    )
    assert all(len(set(row)) == 2 for row in rows)
    pairs = np.bincount([6 * a + b for a, b in rows], minlength=36).reshape(6, 6)
    off = pairs[~np.eye(6, dtype=bool)]
    assert (abs(off - 100) < 50).all()  # five standard deviations
