"""How links come: a position hears c - 1 rows of the layer before, each with all that it holds.

Where few positions are linked and few rows hold noise, the law of what a row holds says so; else
its variance does.
"""

import numpy as np
from jaxtyping import Complex, Float

from cisp.theory.evolution.crowd import none
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import State

# Set on measured networks, others than those it is tried on in chapter 11.
SPARSE = 0.7  # shares of positions not linked, above which links come in rows
QUIET = 0.6  # and of rows without noise


def links(setting: Setting, j: int = 0) -> Float[np.ndarray, "c c"]:
    """How likely a position of one class is linked to one of another."""
    crowd = setting.crowd
    return 1 - none(
        crowd.T - 1 - setting.z, crowd.others[:, None] + 1, np.maximum(crowd.others - j, 0)
    )


def unlinked(setting: Setting) -> Float[np.ndarray, " c"]:
    """How likely a position is linked to none of another's circuits."""
    size = setting.crowd.size
    return np.asarray(1 - links(setting).T @ size / size.sum())


def sent_by_active(setting: Setting, state: State) -> Float[np.ndarray, "r s"]:
    """The law of s on active circuits' positions."""
    taken = setting.crowd.taken_by(setting.z).sum(0)
    return np.einsum("c,rcs->rs", taken / taken.sum(), state.sent)


def noise_of_row(
    setting: Setting, state: State
) -> tuple[Float[np.ndarray, "r a"], Float[np.ndarray, " r"]]:
    """The law of the noise of a row that no active circuit meets, and its mean in positions."""
    law = state.inactive[:, 0] / np.maximum(state.inactive[:, 0].sum(1, keepdims=True), 1e-300)
    return law, law @ setting.crowd.values * setting.crowd.S


def by_rows(setting: Setting, state: State, j: int) -> Float[np.ndarray, "r d c"]:
    """The share of a position's links, from one of class d to one of class c, that is by rows."""
    crowd, linked = setting.crowd, links(setting, j)
    others = np.maximum(crowd.others - j, 0)
    rate = (crowd.others[:, None] + 1) / (crowd.T - setting.z) * others / np.maximum(linked, 1e-300)
    alone = setting.ingredients.rows * apart(setting, state)
    return np.asarray(np.minimum(rate * alone[:, None], 1))


def apart(setting: Setting, state: State) -> Float[np.ndarray, "r c"]:
    """How likely two positions of a row are linked by that alone; where few are, with little noise.

    Elsewhere rows only change the variance.
    """
    free, quiet = unlinked(setting), noise_of_row(setting, state)[0][:, 0]
    return np.where((free > SPARSE) & (quiet[:, None] > QUIET), free**2, 0)


def together(setting: Setting, state: State, size: int, z: int) -> Complex[np.ndarray, "r c w"]:
    """What links change by coming in rows, c - 1 of them, and not on their own: a factor.

    A row brings all its noise at once, where each position brought its own; one that meets one
    of z active circuits meets another in a different position, and has the less noise.
    """
    crowd, m = setting.crowd, np.arange(state.taken.shape[1])
    of_m = (state.taken @ m**2 - (state.taken @ m) ** 2) * z / setting.z
    one = np.fft.rfft(sent_by_active(setting, state), size) - 1
    row = np.fft.rfft(noise_of_row(setting, state)[0], size) - 1
    log = z * (z - 1) / 2 * (crowd.pairs - crowd.meets**2) * one**2
    log -= (of_m / crowd.S)[:, None] * one * row
    return np.asarray(np.exp((crowd.others * apart(setting, state))[..., None] * log[:, None]))


def fewer(setting: Setting, state: State) -> Float[np.ndarray, "r c"]:
    """The variance that X lacks, in steps squared, as links come by rows, in a fixed number.

    A position hears c - 1 rows, of sums sigma: the pairs of positions of one row, and the fixed
    number, add (1 - rho)^2 (c - 1) (Var sigma - S E s^2) to that of links on their own. Within an
    active circuit `linked` has it already. What is sent is fixed, too, while links are drawn.
    What the laws of rows have changed already counts.
    """
    crowd, z, free = setting.crowd, setting.z, unlinked(setting)
    m, a, squares = np.arange(state.taken.shape[1]), crowd.S * crowd.values, crowd.indicators**2
    sent = sent_by_active(setting, state)
    active = sent @ crowd.indicators
    uneven = sent @ squares - active**2
    of_m, of_a = (
        law @ x**2 - (law @ x) ** 2 for law, x in ((state.taken, m), (state.inactive.sum(1), a))
    )
    power = (state.noise @ squares) @ (crowd.others + 1) / (crowd.T - z)
    spread = of_a - active**2 * of_m - state.taken @ m * uneven
    pairs = z * (z - 1) * active**2 * (crowd.pairs - crowd.meets**2)
    asked = setting.ingredients.rows * spread - power + pairs
    fixed = (1 - free) ** 2 * crowd.occupied(z) * uneven[:, None]

    linked, share = links(setting), by_rows(setting, state, 0)
    law, mean = noise_of_row(setting, state)
    whole, part = np.floor(state.noise) @ squares, (state.noise % 1) @ squares
    relative = (law @ a**2 - mean**2) / np.maximum(mean, 1e-300)
    change = (state.noise @ crowd.indicators * relative[:, None] - part)[..., None] * linked
    change -= whole[..., None] * linked * (1 - linked)
    both = pairs - 2 * of_m / crowd.S * active * mean
    done = (change * share).sum(1) + crowd.others * apart(setting, state) * both[:, None]
    lacking = done - crowd.others * free**2 * asked[:, None] + fixed + part @ linked**2
    return np.asarray(lacking * crowd.levels**2)
