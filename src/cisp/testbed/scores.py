"""How well what a method returns fits a truth: numbers from tensors, whatever the method."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.integrate import quad
from scipy.optimize import linear_sum_assignment
from scipy.special import betainc
from torch import Tensor

from cisp.testbed.truth import Components

FOUND = 0.9  # a cosine above this counts as found

Scores = dict[str, float]


def chance(D: int, K: int, r: int = 1) -> float:
    """The largest length, on average, that K random unit vectors have in a given subspace.

    Of r of D dimensions; for r = 1 the largest absolute cosine. The squared length of one is
    Beta(r/2, (D-r)/2), so the mean of the largest is the integral of 1 - P(length < x)^K.

    >>> round(chance(48, 6), 2), round(chance(48, 6, r=4), 2)
    (0.24, 0.4)
    """
    if K == 0:
        return 0.0
    return float(quad(lambda x: 1 - betainc(r / 2, (D - r) / 2, x * x) ** K, 0, 1, limit=200)[0])


def lengths(
    subspaces: Float[Tensor, "T D r"], decoder: Float[Tensor, "K D"]
) -> Float[Tensor, "T K"]:
    """The length of each latent's direction, taken as 1, within each circuit's subspace.

    >>> subspaces = torch.eye(4).view(2, 2, 4).mT  # of circuits 0 and 1, two axes each
    >>> decoder = torch.tensor([[1.0, 0, 0, 0], [0, 3, 4, 0]])
    >>> lengths(subspaces, decoder)
    tensor([[1.0000, 0.6000],
            [0.0000, 0.8000]])
    """
    unit = torch.nn.functional.normalize(decoder.to(subspaces), dim=1)
    return torch.einsum("tdr,kd->tkr", subspaces, unit).norm(dim=2)


def matched(values: Float[Tensor, "T K"]) -> float:
    """The mean over circuits where each takes a latent of its own, by the best assignment.

    >>> round(matched(torch.tensor([[0.9, 0.8], [0.7, 0.1]])), 2)  # 0.8 and 0.7
    0.75
    """
    found = values.cpu().double().numpy()
    rows, columns = linear_sum_assignment(found, maximize=True)
    return float(found[rows, columns].sum() / len(found))


def of_directions(values: Float[Tensor, "T K"]) -> Scores:
    """Scores of latents by their length in each circuit's truth.

    mean best: the mean over circuits of their best latent's. one-to-one: with a latent of its own
    for each circuit. found: the share of circuits whose best is above 0.9. unique: the share of
    circuits left if those with the same best latent are counted once.

    >>> found = of_directions(torch.tensor([[0.95, 0.1], [0.35, 0.25]]))
    >>> {name: round(value, 2) for name, value in found.items()}
    {'mean best': 0.65, 'one-to-one': 0.6, 'found': 0.5, 'unique': 0.5}
    """
    best, which = values.max(1)
    return {
        "mean best": float(best.mean()),
        "one-to-one": matched(values),
        "found": float((best > FOUND).double().mean()),
        "unique": len(which.unique()) / len(values),
    }


def of_subspaces(subspaces: Float[Tensor, "T D r"], recovered: list[Tensor]) -> Scores:
    """Scores of the recovered (D, k) orthonormal columns of each circuit.

    principal cosine: the mean cosine of the principal angles between the two, 0 for what is
    missing. share inside: how much of what was recovered lies in the truth, by squares.

    >>> subspaces = torch.eye(4).view(2, 2, 4).mT  # of circuits 0 and 1, two axes each
    >>> of_subspaces(subspaces, [subspaces[0], subspaces[1, :, :1]])  # half of circuit 1's
    {'principal cosine': 0.75, 'share inside': 1.0}
    """
    cosines, inside = [], []
    for true, found in zip(subspaces, recovered, strict=True):
        true = true[:, true.norm(dim=0) > 0]
        overlap = true.T @ found
        values = torch.linalg.svdvals(overlap.double()) if found.shape[1] else true.new_zeros(1)
        cosines.append(float(values.sum()) / max(true.shape[1], 1))
        inside.append(float(overlap.square().sum()) / found.shape[1] if found.shape[1] else 0.0)
    return {"principal cosine": float(np.mean(cosines)), "share inside": float(np.mean(inside))}


def gathered(
    subspaces: Float[Tensor, "T D r"], decoder: Float[Tensor, "K D"]
) -> list[Float[Tensor, "D k"]]:
    """What was recovered of each circuit: the main directions of the latents that are its own.

    A latent belongs to the circuit in whose subspace it is longest, if more than half of its square
    lies there; at most as many directions are taken as the circuit's subspace has.

    >>> subspaces = torch.eye(4).view(2, 2, 4).mT  # of circuits 0 and 1, two axes each
    >>> decoder = torch.tensor([[1.0, 0, 0, 0], [0, 3, 4, 0]])
    >>> [tuple(own.shape) for own in gathered(subspaces, decoder)]
    [(4, 1), (4, 1)]
    """
    inside = lengths(subspaces, decoder)
    square, owner = inside.square().max(0)
    owner = owner.where(square > 0.5, -1)
    unit = torch.nn.functional.normalize(decoder.to(subspaces), dim=1)
    found = []
    for t, true in enumerate(subspaces):
        own, r = unit[owner == t], int((true.norm(dim=0) > 0).sum())
        u, s, _ = torch.linalg.svd(own.T, full_matrices=False)
        found.append(u[:, (s > 1e-3).nonzero().flatten()[:r]])
    return found


def of_activity(on: Bool[Tensor, "batch T"], fires: Bool[Tensor, "batch K"]) -> Scores:
    """Scores of latents as detectors of active circuits.

    F1 of each circuit's best latent, its precision and recall, and F1 one-to-one. Circuits that are
    never active are left out.

    >>> on = torch.tensor([[True, False], [True, False], [False, True]])
    >>> fires = torch.tensor([[True, False], [False, False], [False, True]])
    >>> {name: round(value, 2) for name, value in of_activity(on, fires).items()}
    {'F1': 0.83, 'precision': 1.0, 'recall': 0.75, 'F1 one-to-one': 0.83}
    """
    seen = on.any(0)
    is_on, fired = on[:, seen].double(), fires.double()
    both = is_on.T @ fired
    precision = both / fired.sum(0).clamp(min=1)
    recall = both / is_on.sum(0).unsqueeze(1)
    F1 = 2 * both / (fired.sum(0) + is_on.sum(0).unsqueeze(1))
    best, which = F1.max(1)
    return {
        "F1": float(best.mean()),
        "precision": float(precision.gather(1, which.unsqueeze(1)).mean()),
        "recall": float(recall.gather(1, which.unsqueeze(1)).mean()),
        "F1 one-to-one": matched(F1),
    }


def overlaps(
    true: Components, U: Float[Tensor, "D C"], V: Float[Tensor, "C D"]
) -> Float[Tensor, "T C"]:
    """The inner product of each circuit's part with each rank-one piece of length 1.

    >>> place = torch.tensor([[0], [1]])
    >>> true = Components(place, place, torch.ones(2, 1, 1), D=2)  # W is the identity
    >>> overlaps(true, torch.eye(2), torch.eye(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    unit = torch.nn.functional.normalize(U, dim=0), torch.nn.functional.normalize(V, dim=1)
    to, read = unit[0][true.rows], unit[1].T[true.columns]  # T R C, T R C
    return torch.einsum("trc,trq,tqc->tc", to.to(true.blocks), true.blocks, read.to(true.blocks))


def of_pieces(
    true: Components, U: Float[Tensor, "D C"], V: Float[Tensor, "C D"]
) -> tuple[Scores, Tensor]:
    """Scores of rank-one pieces U_c V_c against circuits' parts, and whose each piece is (C,).

    A piece belongs to the circuit with whose part its cosine is largest, if that is above 0.1;
    else to none, -1. cosine: of a circuit's part with the sum of its pieces, on average over
    circuits. best piece: of a circuit's part with its best piece, over the best that one piece can
    reach. pieces: how many a circuit has.

    >>> place = torch.tensor([[0], [1]])
    >>> true = Components(place, place, torch.ones(2, 1, 1), D=2)  # W is the identity
    >>> of_pieces(true, torch.eye(2), torch.eye(2))
    ({'cosine': 1.0, 'best piece': 1.0, 'pieces': 1.0}, tensor([0, 1]))
    """
    size = true.blocks.flatten(1).norm(dim=1)
    raw = overlaps(true, U, V)
    cosines = raw / size.clamp(min=1e-30).unsqueeze(1)
    best, owner = cosines.max(0)
    owner = owner.where(best > 0.1, -1)
    own = torch.arange(len(true), device=owner.device).unsqueeze(1) == owner
    length = U.norm(dim=0) * V.norm(dim=1)
    gram = (U.T @ U) * (V @ V.T)
    whole = torch.einsum("tc,ce,te->t", own.to(gram), gram, own.to(gram)).clamp(min=0).sqrt()
    inner = (raw * length * own).sum(1)
    top = torch.linalg.matrix_norm(true.blocks.double(), ord=2).to(size)
    scores = {
        "cosine": float((inner / (whole * size).clamp(min=1e-30)).mean()),
        "best piece": float((raw.abs().amax(1) / top.clamp(min=1e-30)).mean()),
        "pieces": float(own.sum(1).double().mean()),
    }
    return scores, owner
