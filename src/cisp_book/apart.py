"""Methods that take a network apart, each in a few lines: from activations or weights to pieces.

Methods on activations X (samples, D) return the directions (K, D) that they found and a function
from activations to latents (batch, K), 0 where a latent does not fire: of a linear method the k
largest do.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

BATCH = 256


class Latents(NamedTuple):
    """Directions that a method found (K, D), and when each fires."""

    decoder: Tensor
    encode: Callable[[Tensor], Tensor]


def top(h: Float[Tensor, "batch K"], k: int) -> Float[Tensor, "batch K"]:
    """The k largest of each row by size, the rest 0."""
    return torch.zeros_like(h).scatter(1, (which := h.abs().topk(k, 1).indices), h.gather(1, which))


def linear(directions: Float[Tensor, "K D"], mean: Tensor | float, k: int) -> Latents:
    """Latents of a method that only gives directions."""
    return Latents(directions, lambda x: top((x - mean) @ directions.T, k))


def normal(*shape: int, rng: np.random.Generator) -> Tensor:
    """Normal numbers, the same on every machine."""
    return torch.from_numpy(rng.normal(size=shape)).float()


def unit(rows: Float[Tensor, "K D"]) -> Float[Tensor, "K D"]:
    """Rows of length 1."""
    return normalize(rows, dim=1)


def random(X: Tensor, *, K: int, k: int, rng: np.random.Generator) -> Latents:
    """Directions drawn at random: what is found by chance."""
    return linear(unit(normal(K, X.shape[1], rng=rng)), 0, k)


def principal(X: Tensor, *, K: int, k: int) -> Latents:
    """PCA: the K directions along which activations vary most."""
    mean = X.mean(0)
    return linear(
        torch.linalg.eigh((X - mean).T @ (X - mean)).eigenvectors.flip(1)[:, :K].T, mean, k
    )


def independent(X: Tensor, *, K: int, k: int, rng: np.random.Generator, steps: int = 30) -> Latents:
    """FastICA with tanh (Hyvarinen 1999), after PCA to K dimensions: directions of the mixing."""
    mean = X.mean(0)
    values, vectors = torch.linalg.eigh((X - mean).T @ (X - mean) / len(X))
    values, vectors = values.flip(0)[:K].clamp(min=1e-9), vectors.flip(1)[:, :K]
    white = (X - mean) @ vectors / values.sqrt()
    R = torch.linalg.qr(normal(K, K, rng=rng)).Q
    for _ in range(steps):
        g = (white @ R.T).tanh()
        u, _, v = torch.linalg.svd(g.T @ white / len(X) - (1 - g**2).mean(0).unsqueeze(1) * R)
        R = u @ v
    reads, writes = R @ (vectors / values.sqrt()).T, unit(R @ (vectors * values.sqrt()).T)
    return Latents(writes, lambda x: top((x - mean) @ reads.T, k))


def clusters(X: Tensor, *, K: int, k: int, rng: np.random.Generator, steps: int = 20) -> Latents:
    """k-means on activations of length 1: the directions of the K centres."""
    unit_X = unit(X)
    C = unit_X[torch.from_numpy(rng.choice(len(X), K, replace=False))]
    for _ in range(steps):
        nearest = (unit_X @ C.T).argmax(1)
        summed = torch.zeros_like(C).index_add(0, nearest, unit_X)
        C = torch.where(summed.any(1, keepdim=True), unit(summed), C)
    return linear(C, 0, k)


def singular(W: Float[Tensor, "D D"], *, K: int, k: int) -> Latents:
    """SVD of W: the K directions into which the layer writes most."""
    return linear(torch.linalg.svd(W).U[:, :K].T, 0, k)


def descended(
    parameters: Sequence[Tensor],
    loss: Callable[[Tensor], Tensor],
    N: int,
    *,
    steps: int,
    lr: float,
    rng: np.random.Generator,
) -> None:
    """Adam on loss(rows), rows a batch out of N samples; the rate falls to 0 at the end."""
    for p in parameters:
        p.requires_grad_()
    adam = torch.optim.Adam(parameters, lr=lr)
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * min(1, 2 * (1 - step / steps))
        adam.zero_grad()
        loss(torch.from_numpy(rng.integers(N, size=BATCH))).backward()
        adam.step()
    for p in parameters:
        p.requires_grad_(False)


Start = tuple[Float[Tensor, "K D"], Float[Tensor, "K D"]]  # what latents read, and what they write


def by_chance(X: Tensor, Y: Tensor, K: int, rng: np.random.Generator) -> Start:
    """Latents that start in random directions, the same on both sides."""
    return (rows := unit(normal(K, X.shape[1], rng=rng))), rows.clone()


def by_samples(X: Tensor, Y: Tensor, K: int, rng: np.random.Generator) -> Start:
    """Latents that start at K of the samples, so that none is dead."""
    some = torch.from_numpy(rng.choice(len(X), K, replace=False))
    return unit(X[some]), unit(Y[some])


def autoencoder(
    X: Float[Tensor, "samples D"],
    Y: Float[Tensor, "samples D"] | None = None,
    *,
    K: int,
    k: int | None = None,
    l1: float = 0.0,
    steps: int,
    lr: float,
    start: Callable[[Tensor, Tensor, int, np.random.Generator], Start] = by_samples,
    rng: np.random.Generator,
) -> Latents:
    """A sparse autoencoder of X, or a transcoder from X to Y, with K latents.

    TopK: the k largest count. Without k: all above 0, and l1 times their sum is added to the
    squared error. Lengths are as if the mean square of a sample were 1.
    """
    Y = X if Y is None else Y
    size = X.square().sum(1).mean().sqrt()
    X, Y = X / size, Y / Y.square().sum(1).mean().sqrt()
    reads, writes = start(X, Y, K, rng)
    mean, bias = Y.mean(0), torch.zeros(K)

    def latents(x: Tensor) -> Tensor:
        h = (x @ reads.T + bias).relu()
        return top(h, k) if k else h

    def written(h: Tensor) -> Tensor:
        if not k:
            return h @ unit(writes)
        h, which = h.topk(k, 1)  # the same sum, of those that fire only
        return embedding_bag(which, unit(writes), per_sample_weights=h, mode="sum")

    def loss(rows: Tensor) -> Tensor:
        h = (X[rows] @ reads.T + bias).relu()
        error = written(h) + mean - Y[rows]
        return error.square().sum(1).mean() + l1 * h.sum(1).mean()

    descended([reads, writes, bias, mean], loss, len(X), steps=steps, lr=lr, rng=rng)
    return Latents(unit(writes), lambda x: latents(x / size))


class Replacement(NamedTuple):
    """Transcoders of several layers at once, M to read and M to write.

    encode: activations (M, samples, D) of the layers that are read -> latents (M, samples, K).
    writes: of latents of reading layer r into written layer w, (K, D), at [r][w]; None where w < r.
    mean: (M, D) what is written in any case.
    """

    encode: Callable[[Tensor], Tensor]
    writes: list[list[Tensor | None]]
    mean: Tensor

    def parts(self, h: Float[Tensor, "M samples K"]) -> Float[Tensor, "M M samples D"]:
        """What latents of each reading layer write into each layer."""
        zero = torch.zeros(h.shape[1], self.mean.shape[1])
        return torch.stack(
            [
                torch.stack([zero if w is None else h[r] @ w for w in row])
                for r, row in enumerate(self.writes)
            ]
        )


def replaced(
    A: Float[Tensor, "layers samples D"],
    *,
    K: int,
    k: int,
    reach: int,
    steps: int,
    lr: float,
    rng: np.random.Generator,
) -> Replacement:
    """Transcoders that read all layers but the last and write the `reach` layers after their own.

    reach=1 is a transcoder for each layer, a large one a cross-layer transcoder. Together they may
    use the k largest of their latents, whichever layers these read.
    """
    A = A / (size := A.square().sum(2).mean(1).sqrt()[:, None, None])
    M, N = len(A) - 1, A.shape[1]
    some = torch.from_numpy(rng.choice(N, (M, K)))
    reads = torch.stack([unit(A[r, some[r]]) for r in range(M)])
    starts = {
        (r, w): A[w + 1, some[r]] / reach**0.5
        for r in range(M)
        for w in range(r, min(r + reach, M))
    }
    bias, mean = torch.zeros(M, 1, K), A[1:].mean(1)

    def latents(X: Tensor) -> Tensor:
        h = (X @ reads.mT + bias).relu().transpose(0, 1)  # samples M K
        return top(h.flatten(1), k).view_as(h).transpose(0, 1)

    def loss(rows: Tensor) -> Tensor:
        h, total = latents(A[:-1, rows]), torch.zeros(())
        for w in range(M):
            made = sum(h[r] @ starts[r, w] for r in range(M) if (r, w) in starts) + mean[w]
            total = total + (made - A[w + 1, rows]).square().sum(1).mean()
        return total

    descended([reads, bias, mean, *starts.values()], loss, N, steps=steps, lr=lr, rng=rng)
    back = size[1:, 0]
    writes = [
        [starts[r, w] * back[w] if (r, w) in starts else None for w in range(M)] for r in range(M)
    ]
    return Replacement(lambda X: latents(X / size[:-1]), writes, mean * back)


class Decomposition(NamedTuple):
    """Rank-one pieces U V of a layer's weights, and how much each is needed, from activations."""

    U: Float[Tensor, "D C"]
    V: Float[Tensor, "C D"]
    need: Callable[[Tensor], Tensor]


def pieces_by_chance(W: Tensor, C: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """C random pieces, of W's size together."""
    D = len(W)
    U, V = normal(D, C, rng=rng), normal(C, D, rng=rng)
    scale = (W.norm() / (U @ V).norm()).sqrt()
    return U * scale, V * scale


def decomposed(
    W: Float[Tensor, "D D"],
    B: Float[Tensor, " D"],
    X: Float[Tensor, "samples D"],
    start: tuple[Tensor, Tensor],
    *,
    price: float,
    steps: int,
    lr: float,
    rng: np.random.Generator,
) -> Decomposition:
    """Pieces that sum to W, few of them needed for any one input.

    After stochastic parameter decomposition (Bushnaq, Braun and Sharkey 2025), of one layer: a
    piece is needed by g in 0..1, a sigmoid of how much it reads; what is not needed is turned down
    at random, to anything between g and 1, and the layer's output must stay. price: of the sum of
    g. The pieces' sum is held to W.
    """
    U, V = (part.clone() for part in start)
    unit_read = X.square().sum(1).mean().sqrt() / X.shape[1] ** 0.5 * V.norm(dim=1).mean()
    slope, offset = torch.full((len(V),), 1.0), torch.full((len(V),), -1.0)
    Y = (X @ W.T + B).relu()
    size, weight = Y.square().sum(1).mean(), W.square().sum()

    def need(read: Tensor) -> Tensor:
        return torch.sigmoid(4 * (slope * read.abs() / unit_read + offset))

    def loss(rows: Tensor) -> Tensor:
        read = X[rows] @ V.T
        g = need(read)
        u = torch.from_numpy(rng.random(size=g.shape, dtype=np.float32))
        made = ((read * (g + (1 - g) * u)) @ U.T + B).relu()
        wrong = (made - Y[rows]).square().sum(1).mean() / size
        return wrong + 10 * (W - U @ V).square().sum() / weight + price * g.sum(1).mean()

    descended([U, V, slope, offset], loss, len(X), steps=steps, lr=lr, rng=rng)
    return Decomposition(U, V, lambda x: need(x @ V.T))
