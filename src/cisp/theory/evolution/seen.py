"""What the positions of a layer see of the layer before, for active and inactive circuits."""

import numpy as np
from jaxtyping import Complex, Float, Int

from cisp.theory.evolution.crowd import Array, Crowd, Numbers, none
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import Seen, Side, State


def received(crowd: Crowd, own: Array, X: Array, shift: Array) -> Array:
    """u_p = a_t + (1/S + chi) X - chi M of a position p of circuit t, with shift = chi M (C10.3).

    W_emb is (1/S + chi) times 1 on its linked entries, less chi on all. So with all S positions of
    t linked to p, and S a_t what these hold, they bring (1/S + chi) S a_t - chi S a_t = a_t.
    """
    return own + ((1 / crowd.S + crowd.chi) * X - shift)


def sides(setting: Setting, state: State, kinds: Int[np.ndarray, "r z"]) -> tuple[Side, Side]:
    """Inactive and active circuits, on their way from this layer to one with rows of these kinds.

    X adds up independent parts: noise positions, each linked or not, and the active circuits, of
    which h positions are linked (none counted twice). Their transforms multiply.
    """
    crowd, z = setting.crowd, setting.z
    waves = _waves(setting, state)
    noise, blocks = _noise(setting, state, waves), _blocks(setting, state, waves)
    whole, fewer = (state.active.sum(1) @ waves)[:, None], _fewer(setting, state)
    size = 2 * (waves.shape[1] - 1)

    def seen(others: int, m: int, own: Numbers) -> Seen:
        """X from so many other active circuits, m of which have a position less to send from."""
        laws = []
        for j in (0, 1):
            hat = noise * whole if j else noise
            for v in range(others - j):
                hat = hat * blocks[v < m][v]
            law = np.fft.irfft(hat, size).clip(0)
            laws.append(setting.ingredients.narrowed(law, fewer))
        return Seen(laws, crowd.chi * (state.total - own))

    m = np.arange(state.active.shape[1])
    own = crowd.S * (state.active.sum(1) @ crowd.values) - state.active.sum(2) @ m
    inactive = [seen(z, m, m) for m in range(state.inactive.shape[1])]
    active = [seen(z - 1, m, own + m) for m in range(state.active.shape[1])]
    return (
        Side(state.inactive, inactive, crowd.taken(kinds), *crowd.classes(z)),
        Side(state.active, active, crowd.taken(kinds[:, :-1]), *crowd.classes(z - 1)),
    )


def _links(setting: Setting) -> Float[np.ndarray, "c c"]:
    """How likely a position of one class is linked to one of another."""
    crowd = setting.crowd
    return 1 - none(crowd.T - 1 - setting.z, crowd.others[:, None] + 1, crowd.others)


def _waves(setting: Setting, state: State) -> Complex[np.ndarray, "a w"]:
    """The transforms of the read-outs' values, on a grid that holds X."""
    crowd, S = setting.crowd, setting.crowd.S
    linked = _links(setting)
    mean = float((state.noise @ crowd.indicators @ linked).max()) + (2 * setting.z + 1) * S
    size = 2 ** int(np.ceil(np.log2(crowd.levels * (mean + 8 * np.sqrt(mean)))))
    return np.exp(
        -2j * np.pi / size * np.outer(np.arange(S * crowd.levels + 1), np.arange(size // 2 + 1))
    )


def _noise(
    setting: Setting, state: State, waves: Complex[np.ndarray, "a w"]
) -> Complex[np.ndarray, "r c w"]:
    """The transform of what positions of no active circuit bring in, each linked or not."""
    linked, some = _links(setting), waves[: setting.crowd.levels + 1, None]
    chance = 1 + linked[:, None, :, None] * (some - 1)  # c s c w
    logs = np.log(np.where(np.abs(chance) < 1e-300, 1e-300, chance))
    return np.exp(np.tensordot(state.noise, logs, 2))


def _blocks(
    setting: Setting, state: State, waves: Complex[np.ndarray, "a w"]
) -> list[list[Complex[np.ndarray, "r c w"]]]:
    """The transform of what each active circuit brings in, from S or from S - 1 positions."""
    crowd, S = setting.crowd, setting.crowd.S
    sent = state.sent @ waves[: crowd.levels + 1]
    links = [setting.ingredients.linked(crowd, less) for less in (0, 1)]

    def block(v: int, less: int) -> Complex[np.ndarray, "r c w"]:
        """Active circuit v, a position of which may be one of an active circuit before it too."""
        again = v * crowd.meets / S
        once = (1 - again) * sent + again
        return links[less][state.kinds[:, v]] @ once[:, None] ** np.arange(S + 1)[:, None]

    return [[block(v, less) for v in range(setting.z)] for less in (0, 1)]


def _fewer(setting: Setting, state: State) -> Float[np.ndarray, "r c"]:
    """The variance that X lacks, in steps squared, as a position has a fixed number of links."""
    crowd = setting.crowd
    brought = (state.noise @ crowd.indicators) @ (crowd.others + 1) / (crowd.T - setting.z)
    unlinked = 1 - _links(setting).T @ crowd.size / crowd.size.sum()
    return crowd.others * unlinked**2 * brought[:, None] ** 2 / crowd.S * crowd.levels**2
