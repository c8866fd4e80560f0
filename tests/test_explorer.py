"""The explorer's arithmetic in the browser equals that of cisp."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import opened
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


@pytest.fixture
def explorer(browser: Browser, book: str) -> Iterator[Page]:
    """The explorer's page in the built book."""
    with opened(browser, f"{book}/book/explorer.html", width=375) as page:
        yield page


def rows(page: Page) -> list[list[float]]:
    """The table of numbers: layer, error, neurons on, neurons asked for."""
    script = "() => [...get('rows').rows].map(row => [...row.cells].map(cell => +cell.textContent))"
    found: list[list[float]] = page.evaluate(script)
    return found


def test_the_three_settings_go_from_calm_to_seizure(explorer: Page) -> None:
    on = {}
    for name in ("calm", "onset", "seizure"):
        explorer.click(f"#explorer-{name}")
        explorer.wait_for_selector(f"#explorer-{name}[aria-pressed=true]")
        table = rows(explorer)
        assert [row[0] for row in table] == [1, 2, 3, 4, 5]
        assert [row[3] for row in table] == [24] * 5
        assert table[0][1] == 0  # z = 1: layer 1 is exact
        assert 23 < table[0][2] <= 24  # a vector at its lowest leaves a neuron at 0
        on[name] = table[-1][2]
        text = explorer.get_attribute("#explorer-map canvas >> nth=4", "aria-label")
        assert text is not None
        assert text.startswith("Layer 5, neurons on: ")
    assert on["calm"] < 50 < on["onset"] < 150 < 300 < on["seizure"]


def test_the_keyboard_moves_a_slider_and_the_network_follows(explorer: Page) -> None:
    explorer.focus("#explorer-z")
    explorer.keyboard.press("ArrowRight")
    explorer.wait_for_function("get('z-value').textContent === '2'")
    assert [row[3] for row in rows(explorer)] == [48] * 5
    explorer.focus("#explorer-D")
    explorer.keyboard.press("Home")
    explorer.wait_for_function("get('D-value').textContent === '200'")
    fits = cisp.prime_steps_capacity(n=50, S=6)
    assert explorer.text_content("#explorer-T-value") == f"{fits} of {fits} that fit"


def test_the_address_keeps_a_setting_and_brings_it_back(explorer: Page) -> None:
    explorer.click("#explorer-calm")
    explorer.wait_for_url("**#D=1000&T=200&S=6&z=1&seed=0")
    before = rows(explorer)
    explorer.click("#explorer-seizure")
    explorer.wait_for_url("**T=557**")
    assert rows(explorer) != before
    explorer.goto(explorer.url.replace("T=557", "T=200"))
    explorer.wait_for_function("get('T').value === '200'")
    assert rows(explorer) == before


def test_an_address_out_of_bounds_is_brought_within_them(explorer: Page) -> None:
    explorer.goto(explorer.url.split("#")[0] + "#D=1e9&T=-3&S=x&z=99&seed=0.4")
    explorer.wait_for_function("get('z').value === '5'")
    values = explorer.evaluate("['D', 'T', 'S', 'z', 'seed'].map(name => +get(name).value)")
    assert values == [1600, 5, 1, 5, 0]
    assert all(np.isfinite(rows(explorer)).ravel())


def test_a_link_within_the_page_leaves_the_setting(explorer: Page) -> None:
    explorer.click("#explorer-calm")
    explorer.wait_for_url("**T=200**")
    explorer.evaluate("location.hash = '#three-settings-to-try'")
    explorer.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    assert explorer.evaluate("get('T').value") == "200"
    place = explorer.url.split("#")[0] + "#three-settings-to-try"
    explorer.goto("about:blank")
    explorer.goto(place)
    explorer.wait_for_timeout(500)
    assert explorer.url == place  # not replaced by a setting before a reader moves anything


def test_the_map_is_there_when_the_page_is_printed(explorer: Page) -> None:
    drawn = """async () => {
      dispatchEvent(new Event('beforeprint'))
      for (let step = 0; step < 2; step++) await null
      return strips.map(map => map.getContext('2d').getImageData(0, 0, map.width, map.height).data)
        .every(pixels => pixels.some(value => value > 0))
    }"""
    explorer.emulate_media(color_scheme="dark")
    assert explorer.evaluate(drawn)


@pytest.mark.parametrize("scripts", [True, False])
def test_the_figure_stands_in_where_scripts_are_off(
    browser: Browser, book: str, scripts: bool
) -> None:
    context = browser.new_context(java_script_enabled=scripts)
    page = context.new_page()
    page.goto(f"{book}/book/explorer.html")
    figure = page.locator(".tag_explorer-fallback img")
    assert figure.get_attribute("alt")
    assert figure.is_visible() != scripts
    assert page.locator("#explorer").is_visible() == scripts
    context.close()
