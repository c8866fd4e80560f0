"""What the positions of a layer see of the layer before, for active and inactive circuits."""

from dataclasses import replace
from math import comb

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy.fft import next_fast_len

from cisp.theory.evolution.crowd import Array, Crowd, none
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import Seen, Side, State

SPARSE = 0.7  # shares of positions not linked, above which links come in rows
QUIET = 0.6  # and of rows without noise


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


def sides(setting: Setting, state: State, kinds: Int[np.ndarray, "r z"]) -> tuple[Side, Side]:
    """Inactive and active circuits, on their way from this layer to one with rows of these kinds.

    X adds up independent parts: noise positions, each linked or not, and the active circuits, of
    which h positions are linked (none counted twice). Their transforms multiply. A position that j
    active circuits take has as many fewer others that link it to anything else.
    """
    crowd, z = setting.crowd, setting.z
    size = _size(setting, state)
    mine = crowd.S / crowd.empty(z).sum()  # the share of the noise on a circuit's own positions
    elsewhere = replace(state, noise=(1 - mine) * state.noise)
    noise, less = ([_noise(setting, of, size, j) for j in (0, 1)] for of in (state, elsewhere))
    blocks = [_blocks(setting, state, size, j) for j in (0, 1)]
    fewer, S = _fewer(setting, state), crowd.S
    together = [_together(setting, state, size, k) for k in (z, z - 1)]
    narrowed = setting.ingredients.narrowed
    last = np.round(np.arange(state.active.shape[2]) * (S - 1) / S).astype(
        int
    )  # what S - 1 positions bring
    fewer_of = np.add.reduceat(state.active, np.flatnonzero(np.diff(last, prepend=-1)), -1)
    wholes = [np.fft.rfft(law, size) for law in (state.active, fewer_of)]

    def seen(others: int, groups: list[Array], own: list[Array], noise: list[Array]) -> list[Seen]:
        """X from so many other active circuits, m of which are met, and chi M: by m and own."""
        most = int(np.ceil(max(m.max() for m in groups)))
        found: list[list[Array]] = [[] for _ in groups]
        for j in range(min(others, 2) + 1):
            some = some_met(blocks[min(j, 1)], range(j, others), most)
            for laws, m in zip(found, groups, strict=True):
                of_each = (m / max(others, 1))[:, None, None]
                whole = wholes[0] + of_each * (wholes[1] - wholes[0])
                hat = noise[min(j, 1)] * whole**j
                hat = hat * _between(some, m * (others - j) / max(others, 1))
                hat *= together[z - others]
                laws.append(narrowed(np.fft.irfft(hat, size).clip(0), fewer))
        return [
            Seen(laws, crowd.chi * (state.total - its))
            for laws, its in zip(found, own, strict=True)
        ]

    m, G = np.arange(state.taken.shape[1]), state.inactive.shape[1]
    many = state.taken[:, G - 1 :]
    beyond = many @ m[G - 1 :] / np.maximum(many.sum(1), 1e-300)
    mean = _sent(setting, state) @ crowd.indicators
    groups = [*np.arange(G - 1)[:, None] + 0 * beyond, beyond]
    twice = setting.ingredients.twice * np.stack([crowd.twice(k) for k in (z, z - 1)])
    met = (2 * state.over.sum(1) / max(z * (z - 1), 1)).clip(0, 1)
    its_own = S * (state.active.sum(1) @ crowd.values)
    alone = seen(z - 1, [met * (z - 1)], [its_own], noise)
    hiss = mine * (state.noise @ crowd.indicators).sum(1)
    return (
        Side(
            state.inactive,
            seen(z, groups, [of_m * mean + hiss for of_m in groups], less),
            setting.taken(kinds),
            *crowd.classes(z),
            twice[0],
        ),
        Side(state.active, alone, crowd.taken(kinds[:, :-1]), *crowd.classes(z - 1), twice[1]),
    )


def some_met(
    blocks: list[list[Complex[np.ndarray, "r c w"]]], circuits: range, most: int
) -> list[Complex[np.ndarray, "r c w"]]:
    """The transform of what these circuits bring in if m of them, 0 to `most`, are met.

    blocks: of each circuit as a whole, and less the position that is met; any m alike likely.
    """
    found = [np.ones_like(blocks[0][0])]
    for v in circuits:
        whole, less = blocks[0][v], blocks[1][v]
        more = [0 * whole] + [one * less for one in found]
        found = [one * whole for one in found] + [0 * whole]
        found = [one + other for one, other in zip(found, more, strict=True)][: most + 1]
    return [one / comb(len(circuits), m) for m, one in enumerate(found)]


def _between(
    some: list[Complex[np.ndarray, "r c w"]], m: Float[np.ndarray, " r"]
) -> Complex[np.ndarray, "r c w"]:
    """Those of whole numbers m, and between them a mixture."""
    m = np.minimum(m, len(some) - 1)
    shares = (np.maximum(1 - np.abs(m - k), 0)[:, None, None] for k in range(len(some)))
    return np.sum([share * one for share, one in zip(shares, some, strict=True)], 0)


def _sent(setting: Setting, state: State) -> Float[np.ndarray, "r s"]:
    """The law of s on active circuits' positions."""
    taken = setting.crowd.taken_by(setting.z).sum(0)
    return np.einsum("c,rcs->rs", taken / taken.sum(), state.sent)


def _links(setting: Setting, j: int = 0) -> Float[np.ndarray, "c c"]:
    """How likely a position of one class is linked to one of another."""
    crowd = setting.crowd
    return 1 - none(
        crowd.T - 1 - setting.z, crowd.others[:, None] + 1, np.maximum(crowd.others - j, 0)
    )


def _size(setting: Setting, state: State) -> int:
    """The points of a grid that holds X, from 0 on, in steps of 1/levels."""
    crowd, S = setting.crowd, setting.crowd.S
    mean = float((state.noise @ crowd.indicators @ _links(setting)).max())
    most = (setting.z + 1) * S + mean + 8 * np.sqrt(mean)
    unit = 2 * crowd.levels  # `coarse` shares out whole numbers of steps
    return int(unit * next_fast_len(int(crowd.levels * most / unit) + 1))


def _noise(setting: Setting, state: State, size: int, j: int) -> Complex[np.ndarray, "r c w"]:
    """The transform of what positions of no active circuit bring in, each linked or not.

    Where few are linked, a share of that comes in rows, c - 1 of them, each with all its noise.
    """
    crowd, levels = setting.crowd, setting.crowd.levels
    linked, others = _links(setting, j), np.maximum(crowd.others - j, 0)
    few, s, w = linked <= 0.5, np.arange(levels + 1), np.arange(size // 2 + 1)
    p = np.where(few, linked, 1 - linked)[..., None]
    once = np.exp(-2j * np.pi / size * np.arange(size)) - 1
    alone = 1 - _by_rows(setting, state, j)
    logs = np.log(1 + p * np.where(few[..., None], once, once.conj()))
    at = np.outer(s[1:], w) % size  # all that s times a frequency comes to
    whole = np.floor(state.noise[..., 1:])
    hat = np.einsum("rds,rdc,dcsw->rcw", whole, alone, logs[:, :, at], optimize=True)
    part = np.tensordot(state.noise[..., 1:] - whole, once[at], (2, 0))  # r c w
    hat += np.einsum("rdw,rdc->rcw", part, linked * alone, optimize=True)
    rows, bring = _row(setting, state)
    row = np.fft.rfft(rows, size) - 1
    mean = np.einsum("rds,s,rdc->rc", state.noise, crowd.indicators, linked * (1 - alone))
    many = mean / np.maximum(bring, 1e-300)[:, None]
    hat += many[..., None] * (row - row**2 / 2)[:, None]
    full = np.tensordot(whole @ s[1:], np.where(few, 0.0, 1.0), 1)
    return np.exp(hat - 2j * np.pi / size * full[..., None] * w)


def _row(
    setting: Setting, state: State
) -> tuple[Float[np.ndarray, "r a"], Float[np.ndarray, " r"]]:
    """The law of the noise of a row that no active circuit meets, and its mean in positions."""
    law = state.inactive[:, 0] / state.inactive[:, 0].sum(1, keepdims=True)
    return law, law @ setting.crowd.values * setting.crowd.S


def _by_rows(setting: Setting, state: State, j: int) -> Float[np.ndarray, "r d c"]:
    """The share of a position's links, from one of class d to one of class c, that is by rows."""
    crowd, linked = setting.crowd, _links(setting, j)
    others = np.maximum(crowd.others - j, 0)
    rate = (crowd.others[:, None] + 1) / (crowd.T - setting.z) * others / np.maximum(linked, 1e-300)
    apart = setting.ingredients.rows * _apart(setting, state)
    return np.asarray(np.minimum(rate * apart[:, None], 1))


def _blocks(
    setting: Setting, state: State, size: int, j: int
) -> list[list[Complex[np.ndarray, "r c w"]]]:
    """The transform of what each active circuit brings in, from S or from S - 1 positions."""
    crowd, S = setting.crowd, setting.crowd.S
    share = crowd.taken_by(setting.z).sum(0) * _links(setting, j)
    share = share / np.maximum(share.sum(1, keepdims=True), 1e-300)
    sent = np.fft.rfft(share @ state.sent, size)
    fewer = replace(crowd, others=np.maximum(crowd.others - j, 0))
    most = int(state.over.max()) + 1
    links = np.stack([setting.ingredients.linked(fewer, less) for less in range(most + 1)])

    def block(v: int, less: int) -> Complex[np.ndarray, "r c w"]:
        """Active circuit v, without positions that are of one before it too."""
        law = links[state.over[:, v] + less, state.kinds[:, v]]
        found = np.zeros_like(sent)
        for h in range(S, -1, -1):
            found = found * sent + law[..., h, None]
        return found

    return [[block(v, less) for v in range(setting.z)] for less in (0, 1)]


def unlinked(setting: Setting) -> Float[np.ndarray, " c"]:
    """How likely a position is linked to none of another's circuits."""
    size = setting.crowd.size
    return np.asarray(1 - _links(setting).T @ size / size.sum())


def _together(setting: Setting, state: State, size: int, z: int) -> Complex[np.ndarray, "r c w"]:
    """What links change by coming in rows, c - 1 of them, and not on their own: a factor.

    A row brings all its noise at once, where each position brought its own; one that meets one
    of z active circuits meets another in a different position, and has the less noise.
    """
    crowd, m = setting.crowd, np.arange(state.taken.shape[1])
    of_m = (state.taken @ m**2 - (state.taken @ m) ** 2) * z / setting.z
    one = np.fft.rfft(_sent(setting, state), size) - 1
    row = np.fft.rfft(_row(setting, state)[0], size) - 1
    log = z * (z - 1) / 2 * (crowd.pairs - crowd.meets**2) * one**2
    log -= (of_m / crowd.S)[:, None] * one * row
    return np.asarray(np.exp((crowd.others * _apart(setting, state))[..., None] * log[:, None]))


def _apart(setting: Setting, state: State) -> Float[np.ndarray, "r c"]:
    """How likely two positions of a row are linked by that alone; where few are, with little noise.

    Elsewhere rows only change the variance.
    """
    free, quiet = unlinked(setting), _row(setting, state)[0][:, 0]
    return np.where((free > SPARSE) & (quiet[:, None] > QUIET), free**2, 0)


def _fewer(setting: Setting, state: State) -> Float[np.ndarray, "r c"]:
    """The variance that X lacks, in steps squared, as links come by rows, in a fixed number.

    A position hears c - 1 rows, of sums sigma: the pairs of positions of one row, and the fixed
    number, add (1 - rho)^2 (c - 1) (Var sigma - S E s^2) to that of links on their own. Within an
    active circuit `linked` has it already. What is sent is fixed, too, while links are drawn.
    """
    crowd, z = setting.crowd, setting.z
    power = (state.noise @ crowd.indicators**2) @ (crowd.others + 1) / (crowd.T - z)
    m, a = np.arange(state.taken.shape[1]), crowd.S * crowd.values
    sent = _sent(setting, state)
    active = sent @ crowd.indicators
    uneven = sent @ crowd.indicators**2 - active**2
    of_m, of_a = (
        law @ x**2 - (law @ x) ** 2 for law, x in ((state.taken, m), (state.inactive.sum(1), a))
    )
    spread = of_a - active**2 * of_m - state.taken @ m * uneven
    pairs = z * (z - 1) * active**2 * (crowd.meets**2 - crowd.pairs)
    free = unlinked(setting)
    fewer = crowd.others * free**2 * (power - setting.ingredients.rows * spread + pairs)[:, None]
    fixed = (1 - free) ** 2 * crowd.occupied(z) * uneven[:, None]
    links, by_rows = _links(setting), _by_rows(setting, state, 0)
    squares = crowd.indicators**2
    whole, part = np.floor(state.noise) @ squares, (state.noise % 1) @ squares
    law, bring = _row(setting, state)
    noise = np.einsum("rd,rdc->rc", state.noise @ crowd.indicators, links * by_rows)
    done = noise * ((law @ a**2 - bring**2) / np.maximum(bring, 1e-300))[:, None]
    done -= np.einsum("rd,rdc->rc", whole * 1, links * (1 - links) * by_rows)
    done -= np.einsum("rd,rdc->rc", part, links * by_rows)
    both = -pairs - 2 * of_m / crowd.S * active * bring
    done += crowd.others * _apart(setting, state) * both[:, None]
    return np.asarray((fewer + done + fixed + part @ links**2) * crowd.levels**2)
