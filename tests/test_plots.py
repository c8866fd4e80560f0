"""Plots draw what they are given on the axes they are given, and return these."""

import sys
from collections.abc import Iterator
from io import StringIO

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.typing import ColorType

from cisp import plots


@pytest.fixture(autouse=True)
def _style_and_figures_are_put_back() -> Iterator[None]:
    with mpl.rc_context():
        yield
    plt.close("all")


def labels(ax: Axes) -> list[str]:
    return ax.get_legend_handles_labels()[1]


@pytest.mark.parametrize("with_estimates", [True, False])
def test_planes_join_each_estimate_to_its_true_vector(with_estimates: bool) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 2))
    _, axes = plt.subplots(1, 2)
    axes = list(axes)
    assert plots.planes(axes, x, x + 0.1 if with_estimates else None) is axes
    for layer, ax in enumerate(axes):
        drawn = [line.get_xydata() for line in ax.lines]
        assert len(drawn) == (9 if with_estimates else 3)
        segments = [points for points in drawn if len(points) == 2]
        for segment, true in zip(segments, x[layer], strict=False):
            np.testing.assert_array_equal(segment, [true, true + 0.1])
        rings = [line.get_xydata()[0] for line in ax.lines if line.get_markerfacecolor() == "none"]
        np.testing.assert_array_equal(rings, x[layer])
        dots = [line.get_xydata()[0] for line in ax.lines if line.get_markersize() == 4]
        np.testing.assert_array_equal(dots, x[layer] + 0.1 if with_estimates else [])
        assert labels(ax) == (["estimate", "true"] if with_estimates else ["true"])
        assert ax.get_title() == f"layer {layer}"


def test_an_arc_leads_from_each_vector_to_the_next_the_shorter_way() -> None:
    angles = np.array([[0.0, 3], [0.5, -3], [0.2, -2.5]])
    x = np.stack([np.cos(angles), np.sin(angles)], -1)
    _, axes = plt.subplots(1, 3)
    plots.turns(axes, x)
    assert not axes[0].has_data()
    for layer in (1, 2):
        for k, arc in enumerate(axes[layer].lines):
            points = np.asarray(arc.get_xydata())
            radius = np.linalg.norm(points, axis=1)
            assert np.ptp(radius) < 1e-12  # rounding
            assert radius[0] > 1.1
            np.testing.assert_allclose(points[[0, -1]] / radius[0], x[layer - 1 : layer + 1, k])
            assert np.linalg.norm(np.diff(points, axis=0), axis=1).sum() < 0.6 * radius[0]


def test_curves_are_named_in_the_legend_in_the_order_given() -> None:
    x = np.linspace(0, 1, 5)
    _, ax = plt.subplots()
    assert plots.curves(ax, x, {"b": x, "a": x**2}) is ax
    assert labels(ax) == ["b", "a"]
    assert [type(part).__name__ for part in ax.get_children()].count("Legend") == 1
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), x**2)


def test_each_row_of_a_table_is_drawn_at_its_own_height() -> None:
    table = np.array([[0, 2], [1, 4], [3, 4]])
    _, ax = plt.subplots()
    assert plots.table_rows(ax, table, n=6) is ax
    for t, (row, drawn) in enumerate(zip(table, ax.lines, strict=True)):
        np.testing.assert_array_equal(drawn.get_xydata(), [(p, t) for p in row])
        assert drawn.get_marker() == "s"
    assert [words.get_text() for words in ax.texts] == ["step 2", "step 3", "step 1"]
    assert [words.get_color() for words in ax.texts] == [drawn.get_color() for drawn in ax.lines]
    assert ax.get_xlim() == (-1, 6)
    assert ax.yaxis_inverted()


def test_a_matrix_shows_zero_in_the_middle_of_its_colours() -> None:
    values = np.array([[0.0, 1], [-2, 0.5]])
    figure, ax = plt.subplots()
    assert plots.matrix(ax, values, limit=2.0) is ax
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), values)
    assert image.get_clim() == (-2, 2)
    assert len(figure.axes) == 2  # the colour bar


def test_root_mean_square_and_worst_errors_and_where_a_guess_is_better() -> None:
    rows = [(z, layer, 4.0 ** (layer - 2) * z, 3.0 * z) for z in (1, 2) for layer in (1, 2, 3)]
    errors = pd.DataFrame(rows, columns=["z", "layer", "mse", "worst"])
    errors.loc[0, ["mse", "worst"]] = 1e-30, 1e-15
    _, ax = plt.subplots()
    assert plots.error_growth(ax, errors, line=1, above="worse than a guess") is ax
    drawn = [np.asarray(line.get_ydata()) for line in ax.lines]
    np.testing.assert_allclose(drawn[2], np.sqrt([0.5, 2, 8]))
    np.testing.assert_array_equal(drawn[3], [6, 6, 6])
    for left_out in drawn[:2]:
        np.testing.assert_array_equal(np.isnan(left_out), [True, False, False])
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"] * 2
    assert ax.lines[0].get_color() == ax.lines[1].get_color() != ax.lines[2].get_color()
    (region,) = ax.patches
    assert isinstance(region, Rectangle)
    assert region.get_y() == 1
    assert [words.get_text() for words in ax.texts] == ["worse than a guess"]
    assert (legend := ax.get_legend())
    assert [t.get_text() for t in legend.get_texts()] == [
        "z = 1",
        "z = 2",
        "root mean square",
        "worst",
    ]


def test_nothing_is_drawn_on_other_axes() -> None:
    plots.use_style()
    _, (ax, other) = plt.subplots(1, 2)
    plots.curves(ax, np.arange(3.0), {"a": np.arange(3.0)})
    assert not other.has_data()
    assert len(plt.get_fignums()) == 1
    assert not ax.spines["top"].get_visible()


def lightness(color: ColorType) -> float:
    """CIE L* (0 black, 100 white) of an sRGB colour: how grey it prints."""
    levels = np.array(to_rgb(color))
    linear = np.where(levels <= 0.04045, 0, ((levels + 0.055) / 1.055) ** 2.4)
    return float(116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16)


@pytest.mark.parametrize(
    "colors",
    [
        [plots.ACTIVE, plots.INACTIVE],
        [plots.ROTATION, plots.INDICATOR],
        [*plots.ALLOCATION.values()],
        *(list(plots.shades(range(1, k + 1)).values()) for k in (2, 3, 4)),
    ],
)
def test_colours_of_one_figure_differ_without_their_hue(
    colors: list[ColorType],
) -> None:
    levels = np.sort([lightness(color) for color in colors])
    assert np.diff(levels).min() > 9  # a just noticeable difference is about 1
    assert levels.max() < 75  # visible on white


def test_no_two_networks_share_a_colour_or_a_mark_and_no_allocation_looks_like_a_network() -> None:
    colors, marks = zip(*plots.EMBEDDING.values(), strict=True)
    assert len(set(marks)) == len(marks)
    seen = [*colors, *plots.ALLOCATION.values()]
    assert len({to_rgb(color) for color in seen}) == len(seen)
    assert [plots.EMBEDDING[name][0] for name in ("post", "extrinsic")] == [
        plots.POST,
        plots.EXTRINSIC,
    ]


@pytest.mark.filterwarnings("ignore:InlineBackend:DeprecationWarning")  # its own
def test_in_a_notebook_a_figure_is_drawn_in_lines_and_the_same_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ipython = pytest.importorskip("IPython")
    backend = pytest.importorskip("matplotlib_inline.config").InlineBackend
    notebook = pytest.importorskip("traitlets.config").Configurable()
    backend.clear_instance()
    with monkeypatch.context() as here:
        here.setattr(ipython, "get_ipython", lambda: notebook)
        plots.use_style()
    inline = backend.instance()
    backend.clear_instance()
    assert inline.figure_formats == {"svg"}
    assert inline.print_figure_kwargs["dpi"] == 220
    files = StringIO(), StringIO()
    for file in files:
        fig, ax = plt.subplots()
        ax.plot([0, 1], "o")
        fig.savefig(file, format="svg", **inline.print_figure_kwargs)
    assert files[0].getvalue() == files[1].getvalue()


def test_outside_a_notebook_the_style_asks_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setitem(sys.modules, "matplotlib_inline.config", None)
    plots.use_style()
