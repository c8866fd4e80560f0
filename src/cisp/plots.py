"""Figures: arrays and axes in, axes out; points are measured, lines are theory."""

import sys
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

PALETTE = sns.color_palette("colorblind")
ROTATION, INDICATOR = PALETTE[0], PALETTE[1]
# One key for the whole book: what these are keeps its colour and its mark on every page.
POST, EXTRINSIC = PALETTE[3], PALETTE[2]  # the post's network, vermillion; the extrinsic, green
ACTIVE, INACTIVE = PALETTE[0], PALETTE[7]  # circuits: blue, grey
EMBEDDING = {"post": (POST, "o"), "extrinsic": (EXTRINSIC, "s")}  # of a network: colour and mark
EMBEDDING |= {"tuned": (PALETTE[4], "P"), "exact": (PALETTE[0], "D")}
LAW = {"color": "black", "ls": "-", "lw": 1.2}  # what a law of the book says
MEASURED = {"marker": "o", "ls": "", "ms": 4}  # what was measured
ALLOCATION = {"prime steps": "#7a5230", "design": PALETTE[9]}  # dark brown, sky


def use_style() -> None:
    """Set the one figure style of the book; in a notebook figures are SVG, pixels in it 220 dpi.

    >>> with plt.rc_context():
    ...     use_style()
    ...     plt.rcParams["axes.spines.top"]
    False
    """
    sns.set_theme(style="ticks", palette="colorblind", font_scale=0.95)
    plt.rcParams.update(
        {
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": "medium",
            "legend.frameon": False,
            "svg.hashsalt": "cisp",  # names within a figure are the same in each run
        }
    )
    ipython = sys.modules.get("IPython")
    if shell := ipython and ipython.get_ipython():
        from matplotlib_inline.config import InlineBackend  # a notebook has it

        inline = InlineBackend.instance(parent=shell)
        undated = {"bbox_inches": "tight", "dpi": 220, "metadata": {"Date": None}}
        inline.set_trait("print_figure_kwargs", undated)
        inline.set_trait("figure_formats", {"svg"})


def planes(
    axes: Sequence[Axes] | np.ndarray,
    x: Float[np.ndarray, "layers k 2"],
    x_hat: Float[np.ndarray, "layers k 2"] | None = None,
) -> Sequence[Axes] | np.ndarray:
    """One plane a layer: rings are true vectors, dots joined to them estimates.

    >>> figure, axes = plt.subplots(ncols=2)
    >>> x = np.array([[[1.0, 0]], [[0, 1]]])  # one vector in layers 0 and 1
    >>> axes = planes(axes, x, x_hat=0.9 * x)
    >>> [ax.get_title() for ax in axes]
    ['layer 0', 'layer 1']
    >>> plt.close(figure)
    """
    for layer, ax in enumerate(axes):
        for k, true in enumerate(x[layer]):
            color = PALETTE[k % len(PALETTE)]
            if x_hat is not None:
                ax.plot(*zip(true, x_hat[layer, k], strict=True), color=color, lw=1)
                ax.plot(
                    *x_hat[layer, k], "o", color=color, ms=4, label="estimate" if k == 0 else ""
                )
            ax.plot(
                *true, "o", mfc="none", mec=color, ms=8, mew=1.5, label="true" if k == 0 else ""
            )
        ax.add_artist(Circle((0, 0), 1, fill=False, lw=0.6, color="0.7", zorder=0))
        ax.set(aspect="equal", xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), title=f"layer {layer}")
        ax.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlabel="$x_0$")
    axes[0].set_ylabel("$x_1$")
    return axes


def turns(
    axes: Sequence[Axes] | np.ndarray, x: Float[np.ndarray, "layers k 2"]
) -> Sequence[Axes] | np.ndarray:
    """Each vector's way from the layer before, as an arc on its own radius, the shorter way.

    >>> figure, axes = plt.subplots(ncols=2)
    >>> x = np.array([[[1.0, 0]], [[0, 1]]])  # one vector in layers 0 and 1
    >>> [len(ax.lines) for ax in turns(axes, x)]  # an arc, in layer 1
    [0, 1]
    >>> plt.close(figure)
    """
    angles = np.unwrap(np.arctan2(x[..., 1], x[..., 0]), axis=0)
    for layer, ax in enumerate(axes[1:], start=1):
        for k, (start, end) in enumerate(zip(angles[layer - 1], angles[layer], strict=True)):
            way, radius = np.linspace(start, end, 60), 1.15 + 0.09 * k
            color = PALETTE[k % len(PALETTE)]
            ax.plot(radius * np.cos(way), radius * np.sin(way), color=color, lw=1.2)
    return axes


def curves(
    ax: Axes, x: Float[np.ndarray, " k"], lines: Mapping[str, Float[np.ndarray, " k"]]
) -> Axes:
    """Named lines over a common x, the first drawn strongest, each labelled in the legend.

    >>> figure, ax = plt.subplots()
    >>> x = np.linspace(0, 1, 5)
    >>> ax = curves(ax, x, {"x": x, "x squared": x**2})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['x', 'x squared']
    >>> plt.close(figure)
    """
    for k, (name, y) in enumerate(lines.items()):
        ax.plot(x, y, label=name, lw=2.5 - 0.8 * (k > 0), ls=("-", "--", ":", "-.")[k % 4])
    ax.legend()
    return ax


def table_rows(ax: Axes, table: Int[np.ndarray, "T S"], *, n: int) -> Axes:
    """Each circuit's positions as a row of marks on a thin line, a shade for each step, named.

    >>> import cisp
    >>> figure, ax = plt.subplots()
    >>> ax = table_rows(ax, cisp.prime_steps(T=12, n=12, S=2), n=12)
    >>> [text.get_text() for text in ax.texts]
    ['step 1', 'step 2']
    >>> plt.close(figure)
    """
    steps = table[:, 1] - table[:, 0]
    names = list(dict.fromkeys(steps.tolist()))
    for step, color in zip(names, sns.color_palette("crest", len(names)), strict=True):
        rows = np.flatnonzero(steps == step)
        for t in rows:
            ax.plot(table[t], np.full_like(table[t], t), "s-", ms=3, lw=0.6, color=color)
        ax.text(n, rows.mean(), f"step {step}", va="center", color=color)
    ax.set(xlim=(-1, n), ylim=(len(table), -1), xlabel="position $p$", ylabel="circuit $t$")
    return ax


def matrix(ax: Axes, values: Float[np.ndarray, "rows columns"], *, limit: float | int) -> Axes:
    """A matrix as an image, blue negative, white zero, red positive, with its colour bar.

    >>> figure, ax = plt.subplots()
    >>> matrix(ax, np.eye(3), limit=1).images[0].get_clim()
    (-1.0, 1.0)
    >>> plt.close(figure)
    """
    image = ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7)
    bar.outline.set_visible(False)
    return ax


def shades(levels: Sequence[int]) -> dict[int, tuple[float, float, float]]:
    """The colour of each number of active circuits z, light (1) to dark (6 and more).

    >>> light, dark = shades([1, 6]).values()
    >>> bool(sum(dark) < sum(light))
    True
    """
    shade = sns.color_palette("flare", as_cmap=True)
    return {z: shade(0.1 + 0.9 * min(z - 1, 5) / 5)[:3] for z in levels}


def error_growth(ax: Axes, errors: pd.DataFrame, *, line: float | int, above: str) -> Axes:
    """Root mean square (solid) and worst error (dashed) of a quantity by layer, shaded by z.

    The region over `line` is shaded and named `above`; errors that are rounding are left out.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> figure, ax = plt.subplots()
    >>> errors = cisp.measure(network, z=1).errors.query("quantity == 'indicator'")
    >>> ax = error_growth(ax, errors, line=0.25, above="not removed")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['z = 1', 'root mean square', 'worst']
    >>> plt.close(figure)
    """
    shade = shades(sorted(errors.z.unique().tolist()))
    for z, color in shade.items():
        part = errors[errors.z == z]
        for values, style in ((part.mse**0.5, "-"), (part.worst, "--")):
            ax.plot(part.layer, values.where(values > 1e-9), style, marker="o", ms=4, color=color)
    ax.set(yscale="log", xlabel="layer", ylabel="error", xticks=sorted(errors.layer.unique()))
    limits = ax.get_ylim()
    ax.axhspan(line, 1e6 * line, color="0.93", zorder=0)
    ax.set_ylim(limits)
    ax.annotate(above, (0.02, 0.97), xycoords="axes fraction", va="top", color="0.35")
    names = {f"z = {z}": Line2D([], [], color=color) for z, color in shade.items()}
    names |= {"root mean square": Line2D([], [], color="0.3", ls="-")}
    names |= {"worst": Line2D([], [], color="0.3", ls="--")}
    ax.legend(list(names.values()), list(names), fontsize="small", loc="lower right")
    return ax


def activity_by_layer(
    axes: Sequence[Axes] | np.ndarray, activity: pd.DataFrame, *, expected: Mapping[int, float]
) -> Sequence[Axes] | np.ndarray:
    """Fraction of active neurons by layer (dots), a panel for each block; expected[z] is dotted.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> figure, axes = plt.subplots(ncols=4)
    >>> activity = cisp.measure(network, z=1).activity
    >>> axes = activity_by_layer(axes, activity, expected={1: 2 / 12})  # S of n positions
    >>> [ax.get_title() for ax in axes]
    ['block 0', 'block 1', 'block 2', 'block 3']
    >>> plt.close(figure)
    """
    for block, ax in enumerate(axes):
        for z, color in shades(sorted(expected)).items():
            part = activity[(activity.z == z) & (activity.block == block)]
            ax.plot(part.layer, part.fraction, "o", ms=4, color=color, label=f"z = {z}")
            ax.axhline(expected[z], color=color, ls=":", lw=1.2)
        ax.set(title=f"block {block}", xlabel="layer", ylim=(0, None))
        ax.set_xticks(sorted(activity.layer.unique()))
    axes[0].set_ylabel("fraction of neurons on")
    axes[1].legend(loc="upper left", fontsize="small")
    return axes
