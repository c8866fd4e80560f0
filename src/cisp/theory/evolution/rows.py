"""How links come: a position hears c - 1 rows of the layer before, each with all that it holds."""

import numpy as np
from jaxtyping import Complex, Float

from cisp.theory.evolution.crowd import none
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import State

# Set on measured networks, others than those it is tried on in chapter 11.
POWER = 4  # of how likely two positions are not linked: the share of links that come in rows
STEEP = 8  # no row changes a frequency by more than that
RING = 0.001  # more of a law below 0, and it is none


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


def of_a_row(setting: Setting, state: State, size: int, z: int) -> Complex[np.ndarray, "r w"]:
    """What a row brings in as a whole, over what as many positions on their own would: a factor.

    z of the active circuits may meet the row, each in one position at most.
    """
    crowd = setting.crowd
    law = state.inactive / np.maximum(state.inactive.sum(2, keepdims=True), 1e-300)
    row = np.einsum("rga,rg->ra", law, met_by(setting, state, z))
    sent = sent_by_active(setting, state)
    meets = crowd.S * crowd.met[state.kinds].mean(1) / (crowd.T - 1)
    rate = np.einsum("rcs,c->rs", state.noise, crowd.others + 1) / (crowd.T - setting.z)
    mean = rate @ crowd.indicators + z * meets * (sent @ crowd.indicators)
    alone = np.fft.rfft(rate, size) - rate.sum(1, keepdims=True)
    one = np.fft.rfft(sent, size) - 1
    two = (crowd.alike - 1) / 2 * one**2  # on two of a circuit's positions, which `linked` counts
    met = 1 + meets[:, None] * (one + two)
    met[np.abs(met) < 1e-6] = 1e-6  # 0 where meets is 1/2
    alone += z * np.log(met)
    alone *= (row @ crowd.values * crowd.S / np.maximum(mean, 1e-300))[:, None]
    return np.asarray(np.fft.rfft(row, size) * np.exp(-alone))


def in_rows(
    setting: Setting,
    hat: Complex[np.ndarray, "r c w"],
    row: Complex[np.ndarray, "r w"],
    size: int,
) -> tuple[Float[np.ndarray, "r c x"], Float[np.ndarray, "r c"]]:
    """The law of X as links come in rows, c - 1 of them, and the variance that it still lacks.

    A row brings all its noise, and all its positions of active circuits, at once. Of the variance
    that this adds, (1 - rho)^2 is left where others link the same positions (`unlinked`); as much
    as is sure to come in rows changes the law, the rest of it the variance.
    """
    crowd, free = setting.crowd, unlinked(setting)
    spread = -2 * np.log(np.maximum(np.abs(row[:, 1]), 1e-300)) * (size / 2 / np.pi) ** 2
    spread = setting.ingredients.rows * crowd.others * spread[:, None]
    ratio = (row / np.maximum(np.abs(row) / STEEP, 1))[:, None]
    many = setting.ingredients.rows * crowd.others * free**POWER
    whole = np.floor(many).astype(int)[:, None]
    changed = hat * ratio**whole * (1 + (many[:, None] - whole) * (ratio - 1))
    law = np.fft.irfft(changed, size)
    rings = -law.clip(max=0).sum(2) > RING * law.sum(2)
    law[rings] = np.fft.irfft(hat[rings], size)
    law = law.clip(0)
    law = law / np.maximum(law.sum(2, keepdims=True), 1e-300)  # 0 of what cannot be
    return law, np.where(rings, free**2, free**2 - free**POWER) * spread


def met_by(setting: Setting, state: State, z: int) -> Float[np.ndarray, "r g"]:
    """The share of rows that z of the active circuits meet in so many positions, by group."""
    share = state.inactive.sum(2)
    share = share / share.sum(1, keepdims=True)
    if z == setting.z:
        return share
    m = np.arange(share.shape[1])
    its = np.ceil(m / setting.z).astype(int)  # more than one where rows share positions
    lose = share * np.minimum(m / setting.z, 1)
    found = share - lose
    for group, left in enumerate(m - its):
        found[:, left] += lose[:, group]
    return found


def fewer(setting: Setting, state: State) -> Float[np.ndarray, "r c"]:
    """The variance that X lacks, in steps squared: what is sent is fixed, while links are drawn.

    And what it has too much of, as what is sent is rounded.
    """
    crowd, z, free = setting.crowd, setting.z, unlinked(setting)
    squares = crowd.indicators**2
    sent = sent_by_active(setting, state)
    uneven = sent @ squares - (sent @ crowd.indicators) ** 2
    fixed = (1 - free) ** 2 * crowd.occupied(z) * uneven[:, None]
    part = (state.noise % 1) @ squares
    linked = links(setting)
    return np.asarray((fixed + part @ linked**2 + state.rough @ linked) * crowd.levels**2)
