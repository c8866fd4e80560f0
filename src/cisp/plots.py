"""Figures: arrays and axes in, axes out; points are measured, lines are theory."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.patches import Circle

PALETTE = sns.color_palette("colorblind")
ROTATION, INDICATOR = PALETTE[0], PALETTE[1]
ACTIVE, INACTIVE = PALETTE[0], PALETTE[7]
EMBEDDING = {  # of a network: its colour and its mark
    "post": (PALETTE[3], "o"),
    "tuned": (PALETTE[4], "P"),
    "extrinsic": (PALETTE[2], "s"),
    "exact": (PALETTE[0], "D"),
}
ALLOCATION = {"prime steps": PALETTE[3], "design": PALETTE[2]}


def use_style() -> None:
    """Set the one figure style of the book."""
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
        }
    )


def planes(
    axes: Sequence[Axes] | np.ndarray,
    x: Float[np.ndarray, "layers k 2"],
    x_hat: Float[np.ndarray, "layers k 2"] | None = None,
) -> Sequence[Axes] | np.ndarray:
    """One plane a layer: rings are true vectors, dots joined to them estimates."""
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


def curves(
    ax: Axes, x: Float[np.ndarray, " k"], lines: Mapping[str, Float[np.ndarray, " k"]]
) -> Axes:
    """Named lines over a common x, the first drawn strongest, each labelled in the legend."""
    for k, (name, y) in enumerate(lines.items()):
        ax.plot(x, y, label=name, lw=2.5 - 0.8 * (k > 0), ls=("-", "--", ":", "-.")[k % 4])
    ax.legend()
    return ax


def table_rows(ax: Axes, table: Int[np.ndarray, "T S"], *, n: int) -> Axes:
    """Each circuit's positions as a row of marks joined by a thin line."""
    for t, row in enumerate(table):
        ax.plot(row, np.full_like(row, t), "-", color="0.8", lw=0.6, zorder=0)
    ax.plot(
        table.ravel(), np.repeat(np.arange(len(table)), table.shape[1]), "s", ms=3, color=ACTIVE
    )
    ax.set(xlim=(-1, n), ylim=(len(table), -1), xlabel="position $p$", ylabel="circuit $t$")
    return ax


def matrix(ax: Axes, values: Float[np.ndarray, "rows columns"], *, limit: float | int) -> Axes:
    """A matrix as an image, blue negative, white zero, red positive, with its colour bar."""
    image = ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7)
    bar.outline.set_visible(False)
    return ax


def shades(levels: Sequence[int]) -> dict[int, tuple[float, float, float]]:
    """The colour of each number of active circuits z, light (1) to dark (6 and more)."""
    shade = sns.color_palette("flare", as_cmap=True)
    return {z: shade(0.1 + 0.9 * min(z - 1, 5) / 5)[:3] for z in levels}


def errors_by_layer(
    axes: np.ndarray, errors: pd.DataFrame, *, quantity: str, line: float | int
) -> np.ndarray:
    """Mean squared (upper) and worst (lower) error by layer, inactive left, active right.

    One shade for each z, bars of one standard error; `line` marks the error that matters.
    """
    errors = errors[errors.quantity == quantity]
    names = {"mse": "mean squared error", "worst": "worst error"}
    for column, circuits in enumerate(("inactive", "active")):
        for row, statistic in enumerate(names):
            ax = axes[row, column]
            for z, color in shades(sorted(errors.z.unique())).items():
                part = errors[(errors.z == z) & (errors.circuits == circuits)]
                bars = part.mse_stderr if statistic == "mse" else None
                ax.errorbar(
                    part.layer, part[statistic], bars, fmt="o", ms=4, color=color, label=f"z = {z}"
                )
            ax.axhline(line if statistic == "worst" else line**2, color="0.5", ls="--", lw=1)
            ax.set(title=f"{circuits} circuits", xlabel="layer", ylabel=names[statistic])
    axes[0, 0].legend()
    return axes


def activity_by_layer(
    axes: Sequence[Axes] | np.ndarray, activity: pd.DataFrame, *, expected: Mapping[int, float]
) -> Sequence[Axes] | np.ndarray:
    """Fraction of active neurons by layer (dots), a panel for each block; expected[z] is dotted."""
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
