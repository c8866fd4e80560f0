"""What the positions of a layer see of the layer before, for active and inactive circuits."""

from dataclasses import replace

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy.fft import next_fast_len

from cisp.theory.evolution.crowd import Array, Crowd
from cisp.theory.evolution.laws import every_second
from cisp.theory.evolution.rows import (
    fewer,
    in_rows,
    links,
    of_a_row,
    sent_by_active,
)
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import Seen, Side, State


def received(crowd: Crowd, own: Array, X: Array, shift: Array) -> Array:
    """u_p = a_t + (1/S + chi) X - chi M of a position p of circuit t, with shift = chi M (C10.3).

    W_emb is (1/S + chi) times 1 on its linked entries, less chi on all. So with all S positions of
    t linked to p, and S a_t what these hold, they bring (1/S + chi) S a_t - chi S a_t = a_t.

    >>> from cisp.theory.evolution.crowd import crowd_of
    >>> crowd = crowd_of(T=12, D=96, d=4, S=3)
    >>> own, X = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    >>> received(crowd, own, X, shift=crowd.chi * X).round(2).tolist()  # 1/S of a stranger
    [0.33, 1.0]
    """
    return own + ((1 / crowd.S + crowd.chi) * X - shift)


def sides(
    setting: Setting, state: State, kinds: Int[np.ndarray, "r z"], slices: Int[np.ndarray, " r"]
) -> tuple[Side, Side]:
    """Inactive and active circuits, on their way from this layer to one with such active circuits.

    X adds up independent parts: noise positions, each linked or not, and the active circuits, of
    which h positions are linked (none counted twice). Their transforms multiply. A position that j
    active circuits take has as many fewer others that link it to anything else.
    """
    from cisp.theory.evolution import loops  # compiled at the first call

    crowd, z = setting.crowd, setting.z
    size = _size(setting, state)
    own = setting.ingredients.own_noise * crowd.S / crowd.n
    heard = np.concatenate([(1 - own) * state.noise, state.noise])  # by z others, and by z - 1
    both = [np.split(_noise(setting, heard, size, j), 2) for j in (0, 1)]
    noise = {k: [of_both[i] for of_both in both] for i, k in enumerate((z, z - 1))}
    blocks = [_blocks(setting, state, size, j) for j in (0, 1)]
    less, S = fewer(setting, state), crowd.S
    row = {k: of_a_row(setting, state, size, k) for k in (z, z - 1)}
    narrowed = setting.ingredients.narrowed
    last = (np.arange(state.active.shape[2]) * (S - 1) / S).round()  # what S - 1 positions bring
    fewer_of = np.add.reduceat(state.active, np.flatnonzero(np.diff(last, prepend=-1)), -1)
    wholes = [np.fft.rfft(law, size) for law in (state.active, fewer_of)]

    def seen(others: int, groups: list[Array], own: list[Array]) -> list[Seen]:
        """X from so many other active circuits, m of which are met, and chi M: by m and own."""
        most = int(np.ceil(max(m.max() for m in groups)))
        found: list[list[Array]] = [[] for _ in groups]
        for j in range(min(others, 2) + 1):
            some = loops.met(*(of_each[j:others] for of_each in blocks[min(j, 1)]), most)
            for laws, m in zip(found, groups, strict=True):
                of_each = (m / max(others, 1))[:, None, None]
                whole = wholes[0] + of_each * (wholes[1] - wholes[0])
                hat = noise[others][min(j, 1)] * whole**j
                hat *= _between(some, m * (others - j) / max(others, 1))
                law, lacks = in_rows(setting, hat, row[others], size)
                laws.append(narrowed(law, less - lacks))
        return [
            Seen(laws, crowd.chi * (state.total - its))
            for laws, its in zip(found, own, strict=True)
        ]

    m, G = np.arange(state.taken.shape[1]), state.inactive.shape[1]
    many = state.taken[:, G - 1 :]
    beyond = many @ m[G - 1 :] / np.maximum(many.sum(1), 1e-300)
    mean = sent_by_active(setting, state) @ crowd.indicators
    groups = [*np.arange(G - 1)[:, None] + 0 * beyond, beyond]
    mine = own * (state.noise @ crowd.indicators).sum(1)
    twice = setting.ingredients.twice * np.stack([crowd.twice(k) for k in (z, z - 1)])
    met = (2 * state.over.sum(1) / max(z * (z - 1), 1)).clip(0, 1)
    its_own = S * (state.active.sum(1) @ crowd.values)
    alone = seen(z - 1, [met * (z - 1)], [its_own])
    return (
        Side(
            every_second(state.inactive),
            seen(z, groups, [of_m * mean + mine for of_m in groups]),
            setting.taken(slices),
            *crowd.classes(z),
            twice[0],
        ),
        Side(
            every_second(state.active),
            alone,
            crowd.share[:, None] * crowd.taken(kinds[:, :-1]),
            *crowd.classes(z - 1),
            twice[1],
        ),
    )


def _between(
    some: Complex[np.ndarray, "m r c w"], m: Float[np.ndarray, " r"]
) -> Complex[np.ndarray, "r c w"]:
    """Those of whole numbers m, and between them a mixture."""
    k = np.arange(len(some))[:, None]
    shares = np.maximum(1 - np.abs(np.minimum(m, len(some) - 1) - k), 0)
    return np.asarray(np.einsum("mr,mrcw->rcw", shares, some))


def _size(setting: Setting, state: State) -> int:
    """The points of a grid that holds X, from 0 on, in steps of 1/levels."""
    crowd, S = setting.crowd, setting.crowd.S
    mean = float((state.noise @ crowd.indicators @ links(setting)).max())
    most = (setting.z + 1) * S + mean + 8 * np.sqrt(mean)
    unit = 2 * crowd.levels  # `coarse` shares out whole numbers of steps
    return int(unit * next_fast_len(int(crowd.levels * most / unit) + 1))


def _noise(
    setting: Setting, noise: Float[np.ndarray, "r c s"], size: int, j: int
) -> Complex[np.ndarray, "r c w"]:
    """The transform of what positions of no active circuit bring in, each linked or not."""
    levels = setting.crowd.levels
    linked = links(setting, j)
    few, s, w = linked <= 0.5, np.arange(levels + 1), np.arange(size // 2 + 1)
    p = np.where(few, linked, 1 - linked)[..., None]
    once = np.exp(-2j * np.pi / size * np.arange(size)) - 1
    logs = np.log(1 + p * np.where(few[..., None], once, once.conj()))
    at = np.outer(s[1:], w) % size  # all that s times a frequency comes to
    whole = np.floor(noise[..., 1:])
    hat = np.einsum("rds,dcsw->rcw", whole, logs[:, :, at], optimize=True)
    part = np.tensordot(noise[..., 1:] - whole, once[at], (2, 0))  # r c w
    hat += np.einsum("rdw,dc->rcw", part, linked, optimize=True)
    full = np.tensordot(whole @ s[1:], np.where(few, 0.0, 1.0), 1)
    return np.exp(hat - 2j * np.pi / size * full[..., None] * w)


def _blocks(
    setting: Setting, state: State, size: int, j: int
) -> list[Complex[np.ndarray, "z r c w"]]:
    """The transform of what each active circuit brings in, from S or from S - 1 positions.

    Positions that are of one before it too are left out.
    """
    from cisp.theory.evolution import loops  # compiled at the first call

    crowd = setting.crowd
    share = crowd.taken_by(setting.z).sum(0) * links(setting, j)
    share = share / np.maximum(share.sum(1, keepdims=True), 1e-300)
    sent = np.fft.rfft(share @ state.sent, size)
    left = replace(crowd, others=np.maximum(crowd.others - j, 0))
    most = int(state.over.max()) + 1
    laws = np.stack([setting.ingredients.linked(left, less) for less in range(most + 1)])
    of_both = (laws[state.over.T + less, state.kinds.T] for less in (0, 1))
    return [loops.polynomials(law, sent) for law in of_both]
