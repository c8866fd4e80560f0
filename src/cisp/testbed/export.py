"""A bed as plain files, for users of other frameworks."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from cisp.arguments import instance, refuse
from cisp.inputs import Seed
from cisp.testbed.bed import Testbed
from cisp.testbed.truth import arrays

ABOUT = {
    "model.safetensors": "state of nn.Sequential(Linear, ReLU, Linear, ReLU, ...), (D, D) weights: "
    "module 2 (l - 1) is the Linear of layer l = 1..L",
    "sample.safetensors": "activations (L+1, N, D), A^0 before bias and ReLU; active (N, z), the "
    "active circuits, -1 for none; states (L+1, N, z, d), what they hold by the oracle",
    "truth.npz": "tables (L, T, S), the positions p of each circuit, whose neuron i is number "
    "i D/d + p; directions (L, T, D), and for each layer l = 1..L subspaces_l (T, D, r); for "
    "l = 2..L rows_l (T, R), columns_l (T, C), own_l and whole_l (T, R, C): each circuit's own and "
    "whole part of W^l where it is not 0",
}


def export(
    bed: Testbed, folder: str | PathLike[str], *, samples: int = 1024, rng: Seed = 0
) -> None:
    """Write model, configuration, a sample of activations and the truth to a folder.

    Raises FileExistsError if the folder holds something already.

    >>> import cisp, tempfile
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(Testbed(network, z=1), folder, samples=10)
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['config.json', 'model.safetensors', 'sample.safetensors', 'truth.npz']
    """
    instance("bed", bed, Testbed)
    if not isinstance(folder, str | PathLike):
        refuse("folder", folder, "the path of a folder")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"folder={str(folder)!r} is not empty; give a new or an empty one")
    network, every = bed.network, Testbed(bed.network, z=bed.z)
    state = {k: v.detach().contiguous() for k, v in network.to_dense().state_dict().items()}
    save_file(state, folder / "model.safetensors")
    sample = every.sample(batch=samples, rng=rng)._asdict()
    save_file({k: v.contiguous() for k, v in sample.items()}, folder / "sample.safetensors")
    np.savez_compressed(folder / "truth.npz", **truth(every))
    sizes = {k: getattr(network, k) for k in ("T", "D", "d", "S", "L")}
    config = {**sizes, "z": bed.z if isinstance(bed.z, int | dict) else "drawn", "files": ABOUT}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def truth(bed: Testbed) -> dict[str, Any]:
    """All that is known of the circuits, as arrays."""
    layers = range(1, bed.network.L + 1)
    found: dict[str, Any] = {
        "tables": bed.network.tables.cpu().numpy(),
        "directions": np.stack([bed.directions(layer).cpu().numpy() for layer in layers]),
    }
    for layer in layers:
        found[f"subspaces_{layer}"] = bed.subspaces(layer).cpu().numpy()
        if layer > 1:
            own, whole = (bed.components(layer, whole=w) for w in (False, True))
            found |= {f"{k}_{layer}": v for k, v in arrays(own).items() if k != "blocks"}
            found[f"own_{layer}"] = own.blocks.cpu().numpy()
            found[f"whole_{layer}"] = whole.blocks.cpu().numpy()
    return found
