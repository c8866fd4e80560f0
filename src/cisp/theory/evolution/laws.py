"""Laws of a number on a grid of equal steps, and what is done to them."""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammainc, gammaincinv

from cisp.theory.evolution.crowd import Array


def excess(law: Float[np.ndarray, "r c x"], y: Float[np.ndarray, "r #c y"]) -> Array:
    """E(X - y)+, exact between the points of the grid as beyond them."""
    from cisp.theory.evolution import loops  # compiled at the first call

    y = np.broadcast_to(y, (*law.shape[:2], y.shape[2]))
    found = loops.excesses(law.reshape(-1, law.shape[2]), y.reshape(-1, y.shape[2]))
    return np.asarray(found.reshape(y.shape))


def narrowed(
    law: Float[np.ndarray, "r c x"], fewer: Float[np.ndarray, "r c"]
) -> Float[np.ndarray, "r c x"]:
    """The law stretched about its mean to `fewer` less variance, or to more where that is below 0.

    Not below 1/16 of the variance nor above 4 times.
    """
    x = np.arange(law.shape[2])
    mean = law @ x
    variance = law @ x**2 - mean**2
    k = np.sqrt(np.clip(1 - fewer / np.maximum(variance, 1e-9), 1 / 16, 4))[..., None]
    ends = np.arange(-1, law.shape[2] + 1)
    above = k * excess(law, mean[..., None] + (ends - mean[..., None]) / k)
    found = np.diff(above, 2).clip(0)
    return found / np.maximum(found.sum(-1, keepdims=True), 1e-300)  # 0 of what cannot be


def coarse(law: Float[np.ndarray, "... x"], by: int) -> Float[np.ndarray, "... y"]:
    """The law on every `by`-th point of its grid, each point's share split between neighbours."""
    parts = law.reshape(*law.shape[:-1], -1, by)
    up = parts @ (np.arange(by) / by)
    found = np.zeros((*law.shape[:-1], parts.shape[-2] + 1))
    found[..., :-1] = parts.sum(-1) - up
    found[..., 1:] += up
    return found


def every_second(law: Float[np.ndarray, "... x"]) -> Float[np.ndarray, "... x"]:
    """The law on every second point of its grid and on the last, the others left empty."""
    found = np.zeros_like(law)
    found[..., ::2] = coarse(law[..., :-1], 2)
    found[..., -1] += law[..., -1]
    return found


def sampled(law: Float[np.ndarray, "... x"], by: int) -> Float[np.ndarray, "... y"]:
    """The law on every `by`-th point of its grid from -by on: mass, mean and variance stay.

    Each point's share goes to the three nearest, in part below 0.
    """
    before = by // 2
    after = -(law.shape[-1] + before) % by
    parts = np.pad(law, [(0, 0)] * (law.ndim - 1) + [(before, after)])
    parts = parts.reshape(*law.shape[:-1], -1, by)
    f = (np.arange(by) - before) / by
    found = np.zeros((*law.shape[:-1], parts.shape[-2] + 2))
    for k, weights in enumerate(((f**2 - f) / 2, 1 - f**2, (f**2 + f) / 2)):
        found[..., k : k + parts.shape[-2]] += parts @ weights
    return found


def drawn(
    noise: Float[np.ndarray, "r c s"],
    slices: Int[np.ndarray, " r"],
    clumped: Float[np.ndarray, " r"],
) -> Float[np.ndarray, " r"]:
    """How many times stronger the noise of one input is than its mean, gamma distributed.

    The strength is the sum of s^2 over positions that are on by chance; `clumped` is what its
    variance has besides, as positions of a circuit are on together. Mean and variance fix the
    distribution; that is cut into r equally likely slices, each with its mean in its place.
    """
    draws, levels = len(slices), noise.shape[2] - 1
    power = (np.arange(levels + 1) / levels) ** 2
    mean = np.maximum((noise @ power).sum(1), 1e-300)
    alone = (noise @ power) ** 2 / np.maximum(noise.sum(2), 1e-300)
    left = (noise @ power**2 - alone).sum(1)
    variance = np.maximum(left + clumped, left / 16 + 1e-300)
    shape = np.maximum(mean**2 / variance, 1e-8)[:, None]
    below = gammainc(shape + 1, gammaincinv(shape, (slices[:, None] + np.array([0, 1])) / draws))
    return np.asarray(draws * np.diff(below)[:, 0])
