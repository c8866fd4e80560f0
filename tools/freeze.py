"""Make the frozen beds and their cards anew: files in src/cisp/testbed/beds."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import cisp
from cisp.testbed.frozen import BEDS, fingerprint
from cisp_book.little import grid, trained

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = 20_000  # inputs behind the errors of a card


def rotations(T: int, S: int = 6) -> cisp.Network:
    """The post's network of T rotations at D = 1000."""
    return cisp.superpose(cisp.conditional_rotations(T=T, rng=0), D=1000, S=S, L=5, rng=1)


def extrinsic() -> cisp.Network:
    """The same circuits as the post's, embedded so that they do not seize."""
    circuits = cisp.conditional_rotations(T=557, rng=0)
    return cisp.superpose_extrinsic(circuits, D=1000, S=6, L=5, silence="auto")


def mlps() -> cisp.Network:
    """A hundred trained networks of the book's chapter on own circuits."""
    torch.set_default_dtype(torch.float64)
    nets = trained(T=100)
    circuits = cisp.gated_modules(nets, load=1, inputs=grid(13))
    torch.set_default_dtype(torch.float32)
    network = cisp.superpose_extrinsic(circuits, D=500, S=4, silence="auto")
    return cisp.Network(network.circuits.to(torch.float32), network.wiring)


RECIPES: dict[str, tuple[str, Any, Callable[[], cisp.Network]]] = {
    "rotations-557": ("the post's running example, which seizes", 2, lambda: rotations(557)),
    "rotations-100": ("the same with fewer circuits, calm", 2, lambda: rotations(100)),
    "extrinsic-557": ("the same circuits in the extrinsic embedding", 2, extrinsic),
    "mlps-100": (
        "trained MLPs 2-8-8-1, each for a surface, in the extrinsic embedding",
        {0: 0.2, 1: 0.8},
        mlps,
    ),
    "side-by-side-250": (
        "rotations without superposition, a control",
        2,
        lambda: rotations(250, S=1),
    ),
}


def card(name: str, about: str, z: Any, network: cisp.Network) -> dict[str, Any]:
    """What is said of a bed."""
    circuits, last = network.circuits, [*network.circuits.readouts][-1]
    active, a0 = network.sample(batch=SAMPLES, z=1, rng=3)
    a = circuits.run(a0, active)[-1]
    silent = float(circuits.quantities(a, active)[last].square().sum(-1).mean())
    samples = None if z == 1 else SAMPLES
    some = z if isinstance(z, int) else {k: share for k, share in z.items() if k}
    errors = cisp.measure(network, z=some, samples=samples, rng=3, progress=False).errors
    rows = errors.query("circuits == 'active' and quantity == @last and layer == @network.L")
    weight = rows.z * rows.samples  # active circuits behind each row
    fit = min(network.D // network.d, network.T)
    return {
        "about": about,
        **{k: getattr(network, k) for k in ("T", "D", "d", "S", "L")},
        "z": z,
        "readout": last,
        "silent": float(f"{silent:.3g}"),
        "side_by_side": float(f"{silent * (1 - fit / network.T):.3g}"),
        "error": float(f"{(rows.mse * weight).sum() / weight.sum():.3g}"),
        "sha256": fingerprint(BEDS / f"{name}.safetensors"),
    }


def main() -> None:
    """Write all beds, or those that are named."""
    BEDS.mkdir(exist_ok=True)
    path = BEDS / "cards.json"
    cards = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in sys.argv[1:] or RECIPES:
        about, z, make = RECIPES[name]
        network = make()
        network.save(BEDS / f"{name}.safetensors")
        cards[name] = card(name, about, z, network)
        print(name, cards[name], flush=True)
    path.write_text(json.dumps(cards, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
