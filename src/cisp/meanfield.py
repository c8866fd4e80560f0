"""Any circuits' errors in superposition without their network: one circuit among a crowd.

What the positions of a circuit hear from all others is drawn by its law, layer by layer, and goes
through the circuit's own weights and ReLUs. The law knows how full positions are, and no more of a
table. To first order in the noise it is 6.41 for circuits that are not rotations.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from cisp.allocation import random_subsets
from cisp.circuits import SmallCircuits
from cisp.crowd import Crowd, Dealing, Links, meetings

POOL = 12  # noise vectors that the positions of one draw share, each taken up at random


@dataclass(frozen=True)
class Foretold:
    """An active circuit's mean squared error, and what off neurons send beside on ones.

    >>> Foretold(mse=0.04).mse ** 0.5  # root mean square
    0.2
    """

    mse: float
    off: float = 0.0


def dealt(
    circuits: SmallCircuits, crowd: Crowd, *, z: int, draws: int, rng: np.random.Generator
) -> Foretold:
    """The error of the last read-out in the last layer of the post's embedding (C19.3).

    Position p of circuit t receives in layer l, with a_hat the read-outs of layer l-1,

        w_t a_hat_t + b
        + w_v a_hat_v from each active v on p                                     (6.31, 6.32)
        + 1/S sum over K links of Delta w_u a_hat_v, K ~ Poisson(z (c_p - 1) S^2 q)   (6.27, 6.31)
        + C_pv w_mean a_hat_v from each other active v, C_pv = what W_emb makes of v  (C8.1)
        + w_u s_u from each of the c_p - 1 other circuits u on p, less its mean.

    Inactive circuits go the same way; s_u is their read-out where they should be off. For z < T.

    >>> import cisp
    >>> circuits = cisp.conditional_rotations(T=12)
    >>> crowd = Crowd.of(cisp.transversal_design(T=12, n=24, S=3), n=24)
    >>> rng = np.random.default_rng(0)
    >>> one, two = (dealt(circuits, crowd, z=z, draws=50, rng=rng).mse for z in (1, 2))
    >>> one < two
    True
    """
    gen = Generator().manual_seed(int(rng.integers(2**31)))
    active, a = _groups(circuits, z + 1, draws // z, rng)
    a[:, :, z] = 0  # the last of each group is not active
    links = Links.of(crowd, gen)
    e, leak, off = a[0], a[0][:, z], 0.0
    here = before = links.draw(len(active), z + 1)
    for layer in range(1, circuits.L + 1):
        w, b = circuits.at(layer)
        own = _times(w[active], e)
        sent = own * (torch.arange(z + 1) < z).unsqueeze(1)  # what the last one sends is its leak
        heard = (own + b).unsqueeze(2) + torch.einsum("bijs,bjk->bisk", here.met.to(own), sent)
        if layer > 1:
            C = links.weights(here, before, z).to(own)
            heard += torch.einsum("bivs,bvk->bisk", C, e[:, :z] @ w.mean(0).T)
            heard += _crowd_noise(w, e[:, :z], here, crowd, gen)
            heard += _leak_noise(w, active[:, z], leak, here, gen)
        A, free = torch.relu(heard), ~here.met[:, z].any(1)
        loose, e = A[:, z] * free.unsqueeze(2), A.mean(2)
        leak = loose.sum(1) / crowd.S
        if layer < circuits.L:
            share = loose.square().sum() / free.sum() / a[layer].square().sum(2).mean(0).sum()
            off = max(off, float(share) * (crowd.n / crowd.S - z))
            before, here = here, links.draw(len(active), z + 1)
    return Foretold(_mse(circuits, active[:, :z], (e - a[-1])[:, :z]), off)


def extrinsic(
    circuits: SmallCircuits, crowd: Crowd, *, z: int, draws: int, rng: np.random.Generator
) -> Foretold:
    """The error of the last read-out in the last layer of the extrinsic embedding (C19.4).

    Only active circuits count. Two of them meet with probability S^2 q, in one position, which
    hears both; and N third circuits u on average join a position of one to one of the other, which
    sends Delta w_u a/(S-1). As the table stays, so do meetings and joinings. Positions of other
    circuits are taken to be silent, as they are at z = 1.

    >>> import cisp
    >>> circuits = cisp.conditional_rotations(T=12, bias=2)
    >>> crowd = Crowd.of(cisp.transversal_design(T=12, n=24, S=3), n=24)
    >>> rng = np.random.default_rng(0)
    >>> extrinsic(circuits, crowd, z=1, draws=50, rng=rng).mse < 1e-9  # exact for one
    True
    """
    gen = Generator().manual_seed(int(rng.integers(2**31)))
    active, a = _groups(circuits, z, draws // z, rng)
    size, S, d = len(active), crowd.S, circuits.d
    met = meetings(torch.full((size, z, z), crowd.meets), S, gen).to(a)
    w, b = circuits.at(1)
    own = _times(w[active], a[0])
    A = torch.relu((own + b).unsqueeze(2) + torch.einsum("bijs,bjk->bisk", met, own))
    joined = [*_joinings(size, z, S, circuits.T, crowd.joinings, gen)]
    for layer in range(2, circuits.L + 1):
        w, b = circuits.at(layer)
        delta_w = w - w.mean(0)
        others = (A.sum(2, keepdim=True) - A) / (S - 1)
        part = torch.einsum("bzij,bzsj->bzsi", delta_w[active], others)
        theirs = torch.einsum("bjis,bjsk->bijk", met, part)  # j's own part where it meets i
        heard = A @ w.mean(0).T + b + part + torch.einsum("bijs,bijk->bisk", met, theirs)
        heard, flat = heard.flatten(1, 2), A.flatten(1, 2)
        for to, source, u, times in joined:
            here = flat.gather(1, source.unsqueeze(-1).expand(-1, -1, d))
            sent = _times(delta_w[u], here) * times / (S - 1)
            heard.scatter_add_(1, to.unsqueeze(-1).expand_as(sent), sent)
        A = torch.relu(heard).view_as(A)
    return Foretold(_mse(circuits, active, A.mean(2) - a[-1]))


def _crowd_noise(
    w: Float[Tensor, "T d d"],
    e: Float[Tensor, "b z d"],
    here: Dealing,
    crowd: Crowd,
    gen: Generator,
) -> Float[Tensor, "b k S d"]:
    """1/S Delta w_u a_v over the circuits u on a position that met an active v."""
    b, z, _ = e.shape
    u, v = (torch.randint(high, (b, POOL), generator=gen) for high in (len(w), z))
    noise = _times(w[u] - w.mean(0), e[torch.arange(b).unsqueeze(1), v]) / crowd.S
    return _shot(noise, here.others * z * crowd.meets, gen)


def _leak_noise(
    w: Float[Tensor, "T d d"],
    which: Int[Tensor, " b"],
    leak: Float[Tensor, "b d"],
    here: Dealing,
    gen: Generator,
) -> Float[Tensor, "b k S d"]:
    """w_u s_u over the inactive circuits u on a position, less the mean that chi takes away."""
    sent = _times(w[which], leak).double()
    upto = torch.cat([sent[:1] * 0, sent, sent]).cumsum(0)  # any c in a row are as good as c drawn
    start = torch.randint(len(sent), here.others.shape, generator=gen)
    c = here.others.clamp(max=len(sent))
    noise = (upto[start + c] - upto[start] - c.unsqueeze(-1) * sent.mean(0)).to(leak)
    noise[:, -1] -= leak.mean(0) @ w.mean(0).T
    return noise


def _shot(
    X: Float[Tensor, "b pool d"],
    rate: Float[Tensor, "b k S"] | Int[Tensor, "b k S"],
    gen: Generator,
) -> Float[Tensor, "b k S d"]:
    """Sums of Poisson many vectors at each position, less what they are on average."""
    mean = (rate.to(X) / X.shape[1]).flatten(1).unsqueeze(2).expand(-1, -1, X.shape[1]).contiguous()
    return ((torch.poisson(mean, generator=gen) - mean) @ X).view(*rate.shape, -1)


def _joinings(
    size: int, z: int, S: int, T: int, mean: float, gen: Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """For each pair of a group, both ways: the positions joined, by which circuits, how strongly.

    Where there are more than the pool has, each is stronger, so that their squares add up.
    """
    for i in range(z):
        for j in range(i):
            one, other = (k * S + torch.randint(S, (size, POOL), generator=gen) for k in (i, j))
            u = torch.randint(T, (size, POOL), generator=gen)
            hit = torch.rand(size, POOL, 1, generator=gen) < mean / POOL
            times = hit * max(mean / POOL, 1) ** 0.5
            yield one, other, u, times
            yield other, one, u, times


def _groups(
    circuits: SmallCircuits, k: int, size: int, rng: np.random.Generator
) -> tuple[Int[Tensor, "b k"], Float[Tensor, "layers b k d"]]:
    """Groups of k different circuits, and their states alone."""
    sets = random_subsets(T=max(size, 2), n=circuits.T, S=k, rng=rng)
    active = torch.from_numpy(rng.permuted(sets, axis=1))
    a0 = circuits.sample_inputs(batch=len(active), z=k, rng=rng, active=active)
    return active, circuits.run(a0, active)


def _times(w: Float[Tensor, "*any i j"], a: Float[Tensor, "*any j"]) -> Float[Tensor, "*any i"]:
    return (w @ a.unsqueeze(-1)).squeeze(-1)


def _mse(circuits: SmallCircuits, active: Tensor, delta: Float[Tensor, "b z d"]) -> float:
    name = [*circuits.readouts][-1]
    return float(circuits.quantities(delta, active)[name].square().sum(-1).mean())
