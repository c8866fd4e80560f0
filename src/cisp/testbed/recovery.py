"""One table of how well a method took the bed's network apart."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from cisp.arguments import count, function, generator, instance, refuse
from cisp.dense import run_dense
from cisp.inputs import Seed
from cisp.readout import of_active
from cisp.shapes import check_tensor
from cisp.testbed import scores
from cisp.testbed.bed import Testbed

Encode = Callable[[Tensor], Tensor]
Pieces = tuple[Float[Tensor, "D C"], Float[Tensor, "C D"]]

Found = dict[tuple[str, str], tuple[float, float]]  # by truth and score: its value, and by chance

ABLATED = 16  # circuits whose recovered part is taken out
INPUTS = 256  # inputs for each of them


def recovery(
    bed: Testbed,
    *,
    layer: int | None = None,
    decoder: Tensor | list[Tensor] | None = None,
    encode: Encode | list[Encode] | None = None,
    pieces: Pieces | list[Pieces] | None = None,
    samples: int = 4096,
    rng: Seed = 0,
) -> pd.DataFrame:
    """Scores of what a method returned, as a tidy table: truth, score, value, stderr, chance, runs.

    Give one of each or, for standard errors, a list with one for each run:

    decoder: (K, D) directions, one for each latent.
    encode: activations (batch, D) -> latents (batch, K); a latent fires where it is not 0.
    pieces: U (D, C) and V (C, D), a decomposition of W(layer) into rank-one pieces U_c V_c.

    truth says what was compared: "direction", "subspace" (the decoder with `Testbed.directions` and
    `Testbed.subspaces`), "activity" (what fires with which circuits are on), "own part", "whole
    part", "weights" (the pieces with `Testbed.components` and with W), "ablated latents" and
    "ablated pieces": what taking out of the activations, or of the weights, what was recovered of a
    circuit does to it ("itself", 1: its read-out in the last layer is gone) and to the others that
    are active ("others", 0: nothing). The scores are explained at `cisp.testbed.scores`. chance:
    what as many random directions would score, where a formula says so.

    Raises ValueError if nothing is given, or if shapes or numbers of runs disagree.

    >>> import cisp
    >>> bed = cisp.reference("rotations-100", layer=2)
    >>> found = recovery(bed, decoder=torch.eye(1000)[:20])
    >>> found.score.tolist()[:3]
    ['mean best', 'one-to-one', 'found']
    """
    instance("bed", bed, Testbed)
    layer, samples = bed._one(layer), count("samples", samples)
    runs = {
        name: _runs(value)
        for name, value in (("decoder", decoder), ("encode", encode), ("pieces", pieces))
        if value is not None
    }
    lengths = {name: len(value) for name, value in runs.items()}
    if not runs or len(set(lengths.values())) > 1:
        raise ValueError(
            f"runs given are {lengths or 'none'}; give decoder, encode or pieces, as many of each"
        )
    seed = int(generator(rng).integers(2**31))
    found = [
        _one_run(bed, layer, samples, seed, **{name: value[k] for name, value in runs.items()})
        for k in range(max(lengths.values()))
    ]
    table = pd.concat(found, keys=range(len(found)), names=["run"])
    grouped = table.groupby(["truth", "score"], sort=False)
    return grouped.agg(
        value=("value", "mean"),
        stderr=("value", "sem"),
        chance=("chance", "mean"),
        runs=("value", "size"),
    ).reset_index()


def _runs(value: Any) -> list[Any]:
    """A list is of runs; a tensor, a function or a pair (U, V) is one."""
    return value if isinstance(value, list) else [value]


def _one_run(
    bed: Testbed,
    layer: int,
    samples: int,
    seed: int,
    decoder: Tensor | None = None,
    encode: Encode | None = None,
    pieces: Pieces | None = None,
) -> pd.DataFrame:
    found: Found = {}
    if decoder is not None:
        found |= _of_decoder(bed, layer, _checked(bed, "decoder", decoder, 1), seed)
    if encode is not None:
        found |= _of_latents(bed, layer, encode, samples, seed)
    if pieces is not None:
        if not isinstance(pieces, tuple) or len(pieces) != 2:
            refuse("pieces", pieces, "a pair of tensors U (D, C) and V (C, D)")
        U, V = _checked(bed, "pieces[0]", pieces[0], 0), _checked(bed, "pieces[1]", pieces[1], 1)
        found |= _of_pieces(bed, layer, U, V, seed)
    rows = [(*key, *values) for key, values in found.items()]
    return pd.DataFrame(rows, columns=["truth", "score", "value", "chance"])


def _of_decoder(bed: Testbed, layer: int, decoder: Float[Tensor, "K D"], seed: int) -> Found:
    directions, subspaces = bed.directions(layer), bed.subspaces(layer)
    K, D = decoder.shape
    found: Found = {}
    for truth, true in (("direction", directions.unsqueeze(2)), ("subspace", subspaces)):
        by_chance = {"mean best": scores.chance(D, K, true.shape[2])}
        values = scores.of_directions(scores.lengths(true, decoder))
        found |= {(truth, k): (v, by_chance.get(k, np.nan)) for k, v in values.items()}
    recovered = scores.gathered(subspaces, decoder)
    values = scores.of_subspaces(subspaces, recovered)
    found |= {("subspace", k): (v, np.nan) for k, v in values.items()}

    def without(A0: Tensor, t: int) -> Tensor:
        Q = recovered[t]
        return bed.network(A0, {layer: lambda A: A - (A.flatten(1) @ Q @ Q.T).view_as(A)})

    return found | _ablated("ablated latents", bed, without, seed)


def _of_latents(bed: Testbed, layer: int, encode: Encode, samples: int, seed: int) -> Found:
    function("encode", encode)
    batch = Testbed(bed.network, z=bed.z, layer=layer).sample(batch=samples, rng=seed)
    with torch.no_grad():
        latents = encode(batch.activations)
    check_tensor("encode(A)", latents, (samples, "K"), None)
    fires = latents != 0
    values = scores.of_activity(batch.on(bed.network.T), fires)
    values["dead"] = float((~fires.any(0)).double().mean())
    return {("activity", k): (v, np.nan) for k, v in values.items()}


def _of_pieces(bed: Testbed, layer: int, U: Tensor, V: Tensor, seed: int) -> Found:
    W, owner = bed.network.W(layer), torch.empty(0)
    found: Found = {}
    for truth, whole in (("whole part", True), ("own part", False)):
        values, owner = scores.of_pieces(bed.components(layer, whole=whole), U, V)
        found |= {(truth, k): (v, np.nan) for k, v in values.items()}
    left = float((W - U @ V).square().sum() / W.square().sum())
    found["weights", "left over"] = left, np.nan

    def without(A0: Tensor, t: int) -> Tensor:
        own = owner == t
        return run_dense(bed.network, A0, {layer: W - U[:, own] @ V[own]})

    return found | _ablated("ablated pieces", bed, without, seed)


def _ablated(
    truth: str, bed: Testbed, without: Callable[[Tensor, int], Tensor], seed: int
) -> Found:
    """How much of its read-out in the last layer a circuit, and another that is on, loses."""
    network, rng = bed.network, np.random.default_rng(seed)
    lost = np.zeros((2, 2))
    for t in rng.permutation(network.T)[:ABLATED].tolist():
        others = (t + rng.integers(1, max(network.T, 2), INPUTS)) % network.T
        active = torch.from_numpy(np.stack([np.full(INPUTS, t), others], 1))[:, : network.T]
        z = active.shape[1]
        with torch.no_grad():
            a0 = network.circuits.sample_inputs(batch=INPUTS, z=z, rng=rng, active=active)
            active = active.to(network.tables.device)
            A0 = network.embed(a0, active)
            plain, after = (
                of_active(network.readout(A, network.L), active)
                for A in (network(A0), without(A0, t))
            )
        change, size = ((x.square().sum((0, 2))) for x in (after - plain, plain))
        lost[:z] += np.stack([change.cpu(), size.cpu()], 1)
    kept = {"itself": lost[0], "others": lost[1]}
    return {(truth, k): (float(a / b) if b else np.nan, np.nan) for k, (a, b) in kept.items()}


def _checked(bed: Testbed, name: str, value: Tensor, axis: int) -> Tensor:
    D = bed.network.D
    check_tensor(name, value, (D, "C") if axis == 0 else ("K", D), None)
    if not value.is_floating_point():
        raise ValueError(f"{name} has dtype {value.dtype}; it must be of real floating numbers")
    return value.detach().to(bed.network.w)
