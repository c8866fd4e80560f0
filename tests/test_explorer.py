"""The explorer's arithmetic in the browser equals that of cisp."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import opened
from playwright.sync_api import Browser, Page

import cisp
from cisp_book.claims import claimed

SOURCE = Path(__file__).parent.parent / "book"
SCRIPT = SOURCE / "_static" / "explorer.js"
BUILD = "({post: superpose, extrinsic: superposeExtrinsic})[kind](theta, tables, n)"


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


def built(kind: str, T: int, D: int, S: int) -> cisp.Network:
    """The network of cisp that the explorer builds, with angles and dealing of cisp.

    The extrinsic one is accepted on any table: its bias is S/(S-1), its mean that over all angles.
    """
    bias = S / (S - 1) if kind == "extrinsic" else 1
    circuits = cisp.conditional_rotations(T=T, rng=T, bias=bias, dtype=torch.float64)
    if kind == "post":
        return cisp.superpose(circuits, D=D, S=S, L=5, rng=S)
    rows = [[2, -2, 0, 0]] * 2 + [[1 + bias, -1 - bias, 0, 0]] * 2
    w_mean = torch.tensor(rows, dtype=torch.float64)
    given: Any = {"allocate": cisp.prime_steps, "w_mean": w_mean}
    return cisp.superpose_extrinsic(circuits, D=D, S=S, L=5, rng=S, **given)


def facts(network: cisp.Network) -> dict[str, Any]:
    """What the explorer builds a network from."""
    assert network.theta is not None
    kind = "post" if isinstance(network.wiring, cisp.Dealt) else "extrinsic"
    given = {"theta": network.theta.tolist(), "tables": network.tables.tolist()}
    return {"kind": kind, "n": network.n, **given}


@pytest.mark.parametrize(
    ("kind", "T", "D", "S", "z"),
    [
        *[("post", 2, 8, 1, 1), ("post", 20, 100, 3, 2), ("post", 60, 400, 6, 1)],
        *[("post", 150, 400, 4, 3), ("post", 557, 1000, 6, 3)],
        *[
            ("extrinsic", 4, 20, 2, 1),
            ("extrinsic", 150, 400, 4, 3),
            ("extrinsic", 557, 1000, 6, 2),
        ],
    ],
)
def test_activations_chi_and_estimates_are_those_of_cisp(
    page: Page, kind: str, T: int, D: int, S: int, z: int
) -> None:
    network = built(kind, T, D, S)
    active, a0 = network.sample(batch=4, z=z, rng=z)
    A = network(network.embed(a0, active))
    found: Any = page.evaluate(
        f"""({{kind, theta, tables, n, active, a0}}) => {{
          const network = {BUILD}
          const runs = active.map((on, k) => forward(network, on, a0[k]))
          const read = runs.map((A, k) => active[k].map(t => estimate(network, A, 5, t)))
          return [network.chi, runs.map(A => A.map(layer => [...layer])), read]
        }}""",
        {**facts(network), "active": active.tolist(), "a0": a0.tolist()},
    )
    chi, runs, read = (np.array(part) for part in found)
    # Both compute in double precision; only the order of sums differs.
    np.testing.assert_allclose(chi, network.chi, rtol=1e-12)
    np.testing.assert_allclose(runs.swapaxes(0, 1), A.flatten(2), atol=1e-9)
    x_hat = cisp.estimates(network, A, 5)["rotation"][torch.arange(4)[:, None], active]
    np.testing.assert_allclose(read, x_hat, atol=1e-9)


@pytest.mark.parametrize("kind", ["post", "extrinsic"])
def test_what_arrives_at_a_neuron_is_what_the_weights_of_cisp_bring(page: Page, kind: str) -> None:
    network = built(kind, T=170, D=600, S=6)
    active, a0 = network.sample(batch=1, z=3, rng=0)
    A, n = network(network.embed(a0, active))[:, 0].flatten(1), network.n
    own = network.tables[:, active[0, 0], 0].tolist()  # a position of an active circuit, by layer
    neurons = [
        (layer, i, q)
        for layer in range(1, 6)
        for i in range(4)
        for q in (0, 30, 60, own[layer - 1])
    ]
    found = page.evaluate(
        f"""({{kind, theta, tables, n, active, a0, neurons}}) => {{
          const network = {BUILD}, A = forward(network, active, a0)
          return neurons.map(([l, i, q]) => arriving(network, A, active, l, i, q))
        }}""",
        {**facts(network), "active": active[0].tolist(), "a0": a0[0].tolist(), "neurons": neurons},
    )
    weights = {layer: network.W(layer) for layer in range(1, 6)}
    strays = 0
    for (layer, i, q), got in zip(neurons, found, strict=True):
        on_q = (network.tables[layer - 1] == q).any(1)
        assert got["through"] == on_q.nonzero().flatten().tolist()
        brought = (weights[layer][i * n + q] * A[layer - 1]).unflatten(0, (4, n)).sum(0)
        bias = network.B(layer)[i * n + q].item()
        whole = got["input"] + sum(link["value"] for link in got["links"]) + got["others"]
        # Sums of some hundred terms near 1, in double precision.
        np.testing.assert_allclose(whole + got["bias"], brought.sum() + bias, atol=1e-9)
        assert got["bias"] == pytest.approx(bias)
        if layer == 1:
            assert (got["links"], got["others"]) == ([], 0)
            continue
        before = network.tables[layer - 2]
        linked = network.W_emb(layer)[q] > 0
        if kind == "extrinsic":  # besides, from the other positions of its circuits
            linked[before[on_q].flatten()] = True
        links = {link["p"]: link for link in got["links"]}
        assert sorted(links) == linked.nonzero().flatten().tolist()
        found_values = [links[p]["value"] for p in sorted(links)]
        np.testing.assert_allclose(found_values, brought[linked], atol=1e-9)
        np.testing.assert_allclose(got["others"], brought[~linked].sum(), atol=1e-9)
        sizes = [abs(link["value"]) for link in got["links"]]
        assert sizes == sorted(sizes, reverse=True)
        on, asked = (A[layer - 1].unflatten(0, (4, n)) > 1e-4).any(0), before[active[0]].flatten()
        assert all(link["on"] == on[p] for p, link in links.items())
        assert all(link["asked"] == (p in asked) for p, link in links.items())
        strays += sum(link["on"] and not link["asked"] for link in got["links"])
    assert (strays > 0) == (kind == "post")


def test_the_switch_keeps_angles_positions_in_layer_1_and_inputs(page: Page) -> None:
    post, extrinsic = (
        page.evaluate(
            """network => {
              const {network: {w, tables}, runs} = experiment({...SETTINGS.onset, z: 2, network})
              const turned = w.map(row => [row[10], row[14]])
              return {turned, table: tables[0], runs: runs.map(({active, a0}) => [active, a0])}
            }""",
            kind,
        )
        for kind in ("post", "extrinsic")
    )
    assert post == extrinsic


@pytest.mark.parametrize("inputs", [1, 7, 48])
def test_the_input_that_is_drawn_has_the_median_number_of_neurons_on(
    page: Page, inputs: int
) -> None:
    counts, drawn, active, mean = page.evaluate(
        """inputs => {
          const {runs, A, active, on} = experiment(SETTINGS.onset, 5, inputs)
          return [runs.map(run => run.last), [...A[5]].filter(a => a > 1e-4).length, active, on[4]]
        }""",
        inputs,
    )
    assert drawn == sorted(counts)[inputs // 2]
    assert mean == pytest.approx(np.mean(counts))
    assert len(active) == 1


def test_the_answers_on_the_page_hold(page: Page) -> None:
    def run(**setting: object) -> tuple[np.ndarray, np.ndarray]:
        """Errors, and neurons on beyond what was asked for, by layer, the mean of two seeds."""
        script = """setting => [0, 1].map(seed => {
          const {mse, on} = experiment({...allowed({...SETTINGS.seizure, ...setting}), seed})
          return [mse, on.map(count => count - (setting.z ?? 1) * (setting.S ?? 6) * 4)]
        })"""
        mse, more = np.mean(page.evaluate(script, setting), 0)
        return mse, more

    narrow, same, wide = (run(D=D, T=1e9)[0][4] for D in (800, 1000, 1200))
    assert narrow < same < wide
    assert run(D=1200)[0][4] < same
    few = [run(T=200, S=S)[1][4] for S in (3, 6)]
    assert 2 * max(few) < run(T=200, S=8)[1][4]
    for kind, first in (("post", [5, 4, 3]), ("extrinsic", [6, 6, 6])):
        errors = [run(z=z, network=kind)[0] for z in (1, 2, 5)]
        assert [1 + int((mse < 1).sum()) for mse in errors] == first
    links = page.evaluate(
        """() => {
          const {network, A, active} = experiment(SETTINGS.seizure), wanted = active[0]
          return [...Array(250).keys()]
            .filter(q => A[2][q] > 1e-4 && !network.tables[1][wanted].includes(q))
            .map(q => arriving(network, A, active, 2, 0, q).links.filter(link => link.on).length)
        }"""
    )
    assert min(links) == 3


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


def on_the_map(page: Page, layer: int) -> list[int]:
    """How many neurons of a layer are on in the map: asked for, of how many, and strays."""
    text = page.get_attribute(f"#explorer-map canvas >> nth={layer - 1}", "aria-label") or ""
    found = re.fullmatch(
        rf"Layer {layer}, neurons on: (\d+) of (\d+) asked for, (\d+) strays", text
    )
    assert found
    return [int(number) for number in found.groups()]


def test_text_map_and_plots_agree_on_the_three_settings(explorer: Page) -> None:
    told = {name: float(value) for name, value in claimed(SOURCE / "explorer.ipynb").items()}
    seen = {}
    for name in ("calm", "onset", "seizure"):
        explorer.click(f"#explorer-{name}")
        explorer.wait_for_selector(f"#explorer-{name}[aria-pressed=true]")
        table = rows(explorer)
        assert [row[0] for row in table] == [1, 2, 3, 4, 5]
        assert [row[3] for row in table] == [24] * 5
        assert table[0][1] == 0  # z = 1: layer 1 is exact
        assert 23 < table[0][2] <= 24  # a vector at its lowest leaves a neuron at 0
        # Another network than the text's, and 48 inputs: the errors scatter most.
        assert table[-1][2] / 10 == pytest.approx(told[f"explorer-{name}"], rel=0.1)
        assert 0.5 < table[-1][1] / told[f"explorer-{name}-error"] < 2
        own, asked, strays = on_the_map(explorer, 5)
        assert asked == 24
        assert own + strays == pytest.approx(table[-1][2], rel=0.1)
        seen[name] = (own, table[-1][1] < 1)
        label = explorer.get_attribute("#explorer-activity", "aria-label") or ""
        plotted = float(label.split("layer 5: ")[1])  # two digits, of which the first is at most 4
        assert plotted == pytest.approx(table[-1][2] / 1000, rel=0.05)
    assert seen["calm"] == (24, True)
    assert seen["onset"][0] >= 18  # of 24: the circuit is not lost
    assert seen["onset"][1]
    assert seen["seizure"][0] < 12
    assert not seen["seizure"][1]


def test_the_switch_takes_the_seizure_away_and_the_address_keeps_it(explorer: Page) -> None:
    explorer.click("#explorer-extrinsic")
    explorer.wait_for_url("**#D=1000&T=557&S=6&z=1&seed=0&network=extrinsic")
    assert explorer.get_attribute("#explorer-post", "aria-pressed") == "false"
    for name in ("calm", "onset", "seizure"):
        explorer.click(f"#explorer-{name}")
        explorer.wait_for_selector(f"#explorer-{name}[aria-pressed=true]")
        assert explorer.get_attribute("#explorer-extrinsic", "aria-pressed") == "true"
        table = rows(explorer)
        assert [row[1] for row in table] == [0] * 5
        assert all(23 < row[2] <= 24 for row in table)
        assert [on_the_map(explorer, layer)[2] for layer in range(1, 6)] == [0] * 5
    explorer.wait_for_url("**T=557&S=6&z=1&seed=0&network=extrinsic")
    address = explorer.url.replace("z=1", "z=2")
    explorer.goto(address)
    explorer.wait_for_function("get('z').value === '2'")
    assert 0 < rows(explorer)[-1][1] < 0.3
    assert explorer.get_attribute("#explorer-extrinsic", "aria-pressed") == "true"
    explorer.goto(address.replace("&network=extrinsic", ""))
    explorer.wait_for_selector("#explorer-post[aria-pressed=true]")
    assert rows(explorer)[-1][1] > 1
    explorer.evaluate("choose({...latest, S: 1})")
    explorer.wait_for_function("get('S').value === '1'")
    explorer.click("#explorer-extrinsic")  # it reads other positions: there must be one
    explorer.wait_for_function("get('S').value === '2' && get('S').min === '2'")
    assert [row[3] for row in rows(explorer)] == [16] * 5


PICTURES = """() => strips.map(map =>
  map.getContext('2d').getImageData(0, 0, map.width, map.height).data)"""
CHANGED = """pictures => strips.map(({width}, k) => {  // columns in which a picture changed
  const found = new Set()
  for (let at = 0; at < old[k].length; at++)
    if (old[k][at] !== pictures[k][at]) found.add((at >> 2) % width)
  return [...found]
})"""


def counted(values: list[float], what: str) -> str:
    """So many linked ones, in words."""
    return f"{len(values)} linked {what}{'' if len(values) == 1 else 's'}"


def test_a_click_on_a_neuron_shows_its_links_and_what_arrives(explorer: Page) -> None:
    hint = explorer.text_content("#explorer-neuron") or ""
    assert hint.startswith("Click a neuron")
    explorer.evaluate(f"{{ window.old = ({PICTURES})() }}")
    # A stray in layer 3 with nothing near it that is on, and a place beside it.
    layer, i, q, x, y = explorer.evaluate(
        """() => {
          const {network: {n}} = result, on = q => isOn({l: 3, i: 0, q})
          const q = [...Array(n).keys()].slice(5, -5).find(q => on(q) && !isAsked({l: 3, q})
            && ![-4, -3, -2, -1, 1, 2, 3, 4].some(step => on(q + step)))
          const {left, top, width, height} = strips[2].getBoundingClientRect()
          scrollTo(0, top + scrollY - 300)
          return [3, 0, q, (q + 0.5) / n * width + 2, BAND + (height - BAND) / 8]
        }"""
    )
    explorer.click("#explorer-map canvas >> nth=2", position={"x": x, "y": y})
    assert explorer.evaluate("neuron") == {"l": layer, "i": i, "q": q}
    got = explorer.evaluate("arrivals(neuron)")
    text = (explorer.text_content("#explorer-neuron") or "").replace("−", "-")
    assert text.startswith(f"Layer 3, block 0, position {q}: on, not asked for. ")
    own, stray, others, bias, whole = map(float, re.findall(r"[+-]\d+\.\d\d", text))
    on = [link for link in got["links"] if link["on"]]
    values = {asked: [x["value"] for x in on if x["asked"] == asked] for asked in (True, False)}
    # Two digits are shown.
    assert own == pytest.approx(sum(values[True]), abs=0.006)
    assert stray == pytest.approx(sum(values[False]), abs=0.006)
    assert others == pytest.approx(got["others"], abs=0.006)
    assert bias == -0.5
    assert whole == pytest.approx(explorer.evaluate(f"result.A[3][{q}]"), abs=0.006)
    assert f"from {counted(values[True], 'position')} asked for" in text
    assert f"from {counted(values[False], 'stray')}" in text
    assert f"position: {', '.join(map(str, got['through']))}; active: none." in text
    changed = explorer.evaluate(f"({CHANGED})(({PICTURES})())")
    assert [bool(columns) for columns in changed] == [False, True, True, False, False]
    framed = [(link["p"] + 0.5) * explorer.evaluate("strips[1].width") / 250 for link in on[:6]]
    assert all(any(abs(x - at) < 5 for x in changed[1]) for at in framed)
    assert all(any(abs(x - at) < 5 for at in framed) for x in changed[1])
    explorer.click("#explorer-calm")
    explorer.wait_for_selector("#explorer-calm[aria-pressed=true]")
    assert "Layer 3, block 0" in (explorer.text_content("#explorer-neuron") or "")


def test_the_arrow_keys_choose_a_neuron(explorer: Page) -> None:
    explorer.focus("#explorer-strips")
    explorer.keyboard.press("ArrowRight")
    assert explorer.evaluate("neuron") == {"l": 2, "i": 0, "q": 0}
    explorer.keyboard.press("Shift+ArrowRight")
    assert explorer.evaluate("neuron") == {"l": 2, "i": 0, "q": 1}
    explorer.keyboard.press("ArrowRight")
    q = explorer.evaluate("neuron.q")
    shown = explorer.evaluate("[...Array(250).keys()].filter(q => isOn({l: 2, i: 0, q}))")
    assert q == next(p for p in shown if p > 1)
    for _ in range(6):
        explorer.keyboard.press("ArrowUp")  # and no further than the first row of all
    assert explorer.evaluate("neuron") == {"l": 1, "i": 0, "q": q}
    assert "from the input" in (explorer.text_content("#explorer-neuron") or "")
    explorer.keyboard.press("Escape")
    assert (explorer.text_content("#explorer-neuron") or "").startswith("Click a neuron")


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1440, 800)])
def test_controls_map_and_plots_are_on_one_screen(
    browser: Browser, book: str, width: int, height: int
) -> None:
    with opened(browser, f"{book}/book/explorer.html", width=width) as page:
        page.set_viewport_size({"width": width, "height": height})
        for part in (".explorer-controls", ".explorer-result", "#explorer-strips"):
            box = page.locator(part).bounding_box()
            assert box is not None
            assert box["y"] > 0
            assert box["y"] + box["height"] < height


def test_the_keyboard_moves_a_slider_and_the_network_follows(explorer: Page) -> None:
    explorer.focus("#explorer-z")
    explorer.keyboard.press("ArrowRight")
    explorer.wait_for_function("get('z-value').textContent === '2'")
    assert [row[3] for row in rows(explorer)] == [48] * 5
    explorer.focus("#explorer-D")
    explorer.keyboard.press("Home")
    explorer.wait_for_function("get('D-value').textContent === '200'")
    fits = cisp.prime_steps_capacity(n=50, S=6)
    assert explorer.text_content("#explorer-T-value") == f"{fits} of {fits}"


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
    explorer.goto(explorer.url.split("#")[0] + "#D=1e9&T=-3&S=x&z=99&seed=0.4&network=9")
    explorer.wait_for_function("get('z').value === '5'")
    values = explorer.evaluate("['D', 'T', 'S', 'z', 'seed'].map(name => +get(name).value)")
    assert values == [1600, 5, 1, 5, 0]
    assert explorer.get_attribute("#explorer-post", "aria-pressed") == "true"
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
