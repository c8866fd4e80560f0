"""The arithmetic of what moves beside the text equals that of cisp, and it moves."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from playwright.sync_api import Browser, Page

import cisp
from cisp import theory
from cisp_book.kept import DATA

STATIC = Path(__file__).parent.parent / "book" / "_static"
CHAPTERS = {
    "step": "01_rotation_circuit",
    "allocation": "03_embedding_vectors",
    "chi": "04_embedding_matrix",
    "errors": "11_follow_the_distribution",
}


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """An empty page with the functions of the explorer and of the widgets."""
    page = browser.new_page()
    page.set_content("<p></p>")
    page.add_script_tag(path=STATIC / "explorer.js")
    page.add_script_tag(path=STATIC / "widgets.js")
    yield page
    page.close()


@pytest.mark.parametrize("name", ["one ReLU", "two ReLUs"])
def test_the_steps_are_those_of_the_circuits(page: Page, name: str) -> None:
    starts = np.linspace(-0.25, 1.25, 31)
    found = page.evaluate(
        "([name, starts]) => starts.map(x => widgets.through(widgets.steps[name], x, 5))",
        [name, starts.tolist()],
    )
    two = name == "two ReLUs"
    make = cisp.conditional_rotations if two else cisp.one_relu_rotations
    circuits = make(T=1, rng=0, dtype=torch.float64)
    pair = [starts + 0.5, 0 * starts + 0.5] if two else [starts]
    a0 = torch.from_numpy(np.stack([*pair, starts + 1, starts], 1))[:, None]  # x = (1, 0)
    runs = circuits.run(a0, torch.zeros((len(starts), 1), dtype=torch.int64))
    expected = circuits.quantities(runs)["indicator"][:, :, 0, 0].T
    # float64; the largest value is 9, after five doublings of a rounding error
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize(("T", "n", "S"), [(28, 60, 6), (40, 31, 3), (7, 12, 2), (20, 60, 5)])
def test_loads_and_meetings_are_those_of_the_table(page: Page, T: int, n: int, S: int) -> None:
    table = cisp.prime_steps(T=T, n=n, S=S)
    load, met = page.evaluate(
        """([T, n, S]) => {
          const rows = primeSteps(n, S).slice(0, T)
          return [widgets.load(rows, n), rows.map((_, t) => widgets.meetings(rows, t))]
        }""",
        [T, n, S],
    )
    assert load == cisp.load(table, n=n).tolist()
    e = cisp.vectors(table, n=n).astype(bool)
    for t, positions in enumerate(met):
        assert [p for p, _ in positions] == table[t].tolist()
        for p, others in positions:
            assert others == [u for u in range(T) if u != t and e[u, p]]


@pytest.mark.parametrize(("T", "D", "S"), [(2, 12, 2), (20, 100, 3), (557, 1000, 6)])
def test_what_circuits_hear_and_the_chi_that_balances_it_are_those_of_the_network(
    page: Page, T: int, D: int, S: int
) -> None:
    circuits = cisp.conditional_rotations(T=T, rng=0, dtype=torch.float64)
    network = cisp.superpose(circuits, D=D, S=S, L=2, rng=1)
    before, after = network.tables.numpy()
    n, chi = D // 4, network.chi[1].item()
    found, balanced, left = page.evaluate(
        """([before, after, n, chi]) => {
          const pairs = widgets.heard(before, after, n), S = after[0].length
          const both = k => k / S / S - chi * (S * S - k) / S
          return [pairs, widgets.balanced(pairs), widgets.mean(pairs, both)]
        }""",
        [before.tolist(), after.tolist(), n, chi],
    )
    e, e_before = (cisp.vectors(table, n=n).astype(int) for table in (after, before))
    heard = e @ np.minimum(e.T @ e_before, 1) @ e_before.T
    pairs = heard[~np.eye(T, dtype=bool)]
    assert found == np.bincount(pairs, minlength=S * S + 1).tolist()
    # Both compute in double precision; only the order of sums differs.
    assert balanced == pytest.approx(chi, rel=1e-12)
    assert left == pytest.approx(0, abs=1e-12)


@contextmanager
def moving(browser: Browser, book: str, name: str) -> Iterator[Page]:
    """The page of a widget in the built book, on a phone, without the formulas."""
    page = browser.new_page(viewport={"width": 375, "height": 900})
    page.route("**/mathjax/**", lambda route: route.abort())
    page.goto(f"{book}/book/{CHAPTERS[name]}.html", wait_until="domcontentloaded")
    yield page
    page.close()


def press(page: Page, name: str, slider: str, *keys: str) -> str:
    """What the widget says after keys on one of its sliders; drawing and number move as well."""
    root, before = page.locator(f"#widget-{name}"), state(page, name)
    page.focus(f"#widget-{name}-{slider}")
    for key in keys:
        page.keyboard.press(key)
    value = root.locator(f"#widget-{name}-{slider}").input_value()
    assert root.locator(f"output[for=widget-{name}-{slider}]").text_content() == value
    assert all(old != new for old, new in zip(before, state(page, name), strict=True))
    assert not re.search("NaN|undefined|Infinity", "".join(state(page, name)))
    said = root.locator("[role=status]").text_content() or ""
    for svg in root.locator("svg").all():
        label = svg.get_attribute("aria-label") or ""
        assert label.endswith(said)
        assert label != said
    return said


def state(page: Page, name: str) -> list[str]:
    """The status and the drawings of a widget."""
    parts = page.locator(f"#widget-{name} :is([role=status], svg)")
    found: list[str] = parts.evaluate_all("all => all.map(each => each.innerHTML)")
    return found


def test_a_start_value_goes_its_way_through_five_layers(browser: Browser, book: str) -> None:
    with moving(browser, book, "step") as page:
        said = press(page, "step", "start", "ArrowRight")
        one = "1.12, 1.24, 1.48, 1.96, 2.92"  # 1.06: an offset of 0.06, doubled in each layer
        assert said == f"From 1.06, in layers 1 to 5: one ReLU {one}; two ReLUs 1, 1, 1, 1, 1."
        said = press(page, "step", "start", "Home")
        assert said.endswith("one ReLU 0, 0, 0, 0, 0; two ReLUs 0, 0, 0, 0, 0.")


def test_a_circuit_shows_whom_it_meets(browser: Browser, book: str) -> None:
    with moving(browser, book, "allocation") as page:
        rows = cisp.prime_steps(T=28, n=60, S=6)
        shared = (meetings := cisp.vectors(rows, n=60) @ cisp.vectors(rows, n=60).T).sum(1) - 6
        assert meetings.max() == 6
        rings = page.locator("#widget-allocation .ring")
        said = press(page, "allocation", "t", "ArrowRight")
        assert said.startswith(f"Circuit 12 meets {shared[12]:.0f} of the other 27 (position ")
        assert rings.count() == shared[12]
        page.locator("#widget-allocation [data-t='27']").click()
        assert rings.count() == shared[27] != shared[12]
        assert page.input_value("#widget-allocation-t") == "27"
        press(page, "allocation", "S", "ArrowLeft", "ArrowLeft", "ArrowLeft")
        assert page.input_value("#widget-allocation-T") == "40"
        assert page.locator("#widget-allocation [data-t]").count() == 40
        said = press(page, "allocation", "n", "Home")
        fits = cisp.prime_steps_capacity(n=12, S=3)
        load = cisp.load(cisp.prime_steps(T=fits, n=12, S=3), n=12)
        assert f"The load is {load.min()} to {load.max()}, on average " in said
        assert float(said[:-1].split()[-1]) == pytest.approx(load.mean(), abs=0.05)  # one decimal


def test_chi_moves_one_hump_and_its_balance_is_marked(browser: Browser, book: str) -> None:
    with moving(browser, book, "chi") as page:
        most = cisp.prime_steps_capacity(n=250, S=6)
        assert page.get_attribute("#widget-chi-T", "max") == f"{most}"
        middles = """() => [...document.querySelectorAll('#widget-chi .dashed')]
          .map(line => line.points[0].x)"""
        plus, zero, both = page.evaluate(middles)
        assert zero < plus == both  # chi = 0
        said = press(page, "chi", "chi", *["PageUp"] * 4)
        right, left, together = page.evaluate(middles)
        assert right == plus
        assert left < zero < together < plus
        circuits = cisp.conditional_rotations(T=most, rng=0)
        chi = cisp.superpose(circuits, D=1000, S=6, L=2, rng=0).chi[1].item()
        best = float(said.removesuffix(".").split()[-1])
        assert best == pytest.approx(chi, rel=0.02)  # two deals: they differ by 1 % or so
        marks = """() => {
          const [dot] = document.querySelectorAll('#widget-chi svg > circle:last-of-type')
          return [dot.cx.baseVal.value, document.querySelector('#widget-chi .thick').points[0].x]
        }"""
        assert abs(np.subtract(*page.evaluate(marks))) > 10
        page.fill("#widget-chi-chi", f"{best:.3f}")
        assert abs(np.subtract(*page.evaluate(marks))) < 2  # of 308 units, 0.15
        assert abs(page.evaluate(middles)[2] - zero) < 1
        assert "balance at χ = 0.0000" in press(page, "chi", "T", "Home")


def test_the_errors_are_those_of_the_kept_tables(browser: Browser, book: str) -> None:
    with moving(browser, book, "errors") as page:
        found = page.evaluate(
            "() => widgets.errors(document.querySelector('.tag_widget-errors table'))"
        )
        kinds = {"D": 2000, "z": 2, "quantity": "rotation", "circuits": "active"}
        measured, evolved = (
            cisp.rows(pd.read_csv(DATA / f"{name}.csv", comment="#"), **kinds)
            .set_index(["T", "layer"])
            .sort_index()
            for name in ("figures_8_to_11", "predicted")
        )
        expected = {
            str(T): [
                [
                    theory.mse_rotation_active(T=T, D=2000, d=4, S=6, z=2, layer=layer),
                    evolved.mse[T, layer],
                    measured.mse[T, layer],
                    16**0.5 * measured.mse_stderr[T, layer],
                ]
                for layer in range(1, 5)
            ]
            for T in measured.index.unique("T")
        }
        assert found.keys() == expected.keys()
        for T, rows in expected.items():
            np.testing.assert_allclose(found[T], rows, rtol=0.005)  # three digits
        slider = page.locator("#widget-errors-T")
        low, high, step = (int(slider.get_attribute(k) or 0) for k in ("min", "max", "step"))
        assert list(range(low, high + 1, step)) == [int(T) for T in expected]
        for key, T in (("Home", "200"), ("End", "2000"), ("ArrowLeft", "1800")):
            said = press(page, "errors", "T", key)
            assert said.startswith(f"{T} circuits, layer 4: measured {found[T][3][2]}, with")
            dots = page.locator("#widget-errors circle").evaluate_all(
                "all => all.map(each => each.cy.baseVal.value)"
            )
            powers = np.log10([row[2] for row in found[T]])
            drawn = -np.diff(dots) * 3 / 218  # three powers of ten on 218 units, given to a tenth
            assert drawn == pytest.approx(np.diff(powers), abs=0.003)


def test_without_scripts_nothing_stands_there(browser: Browser, book: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{book}/book/{CHAPTERS['step']}.html")
    assert page.locator("#widget-step").count() == 1
    assert not page.locator("#widget-step").is_visible()
    context.close()
