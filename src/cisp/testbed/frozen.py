"""Beds that are the same on every machine: files with a card each, verified when loaded."""

import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from cisp.arguments import one_of
from cisp.network import Network
from cisp.testbed.activity import Activity
from cisp.testbed.bed import Testbed

BEDS = Path(__file__).parent / "beds"


def reference(name: str, *, z: Activity | None = None, layer: int | None = None) -> Testbed:
    """The frozen bed of this name, one of `references`.

    z, layer: as for `Testbed`; the z of its card and all layers unless given.

    Raises ValueError for another name, or if the file is not the one that was frozen.

    >>> reference("side-by-side-250")
    Testbed(T=250, D=1000, S=1, L=5, z=2, all layers)
    """
    one_of("name", name, cards(BEDS))
    card = cards(BEDS)[name]
    path = BEDS / f"{name}.safetensors"
    if fingerprint(path) != card["sha256"]:
        raise ValueError(f"the file of {name!r} is not the one that was frozen; install cisp again")
    return Testbed(Network.load(path), z=card["z"] if z is None else z, layer=layer)


def references() -> pd.DataFrame:
    """The cards of the frozen beds, a row for each: what it is, its sizes, activity and errors.

    z: how many circuits are active, each set alike, or shares of several. silent: the mean squared
    error of giving nothing for an active circuit. side_by_side: of as many circuits as fit side by
    side in the same width, and nothing for the others, the baseline to beat. error: of the
    network's active circuits in the last layer, at that z. All of the last read-out.

    >>> references().index.tolist()[:2]
    ['rotations-557', 'rotations-100']
    """
    return pd.DataFrame(cards(BEDS)).T.drop(columns="sha256")


@cache
def cards(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """The cards of the beds in a folder."""
    found: dict[str, dict[str, Any]] = json.loads(
        (folder / "cards.json").read_text(encoding="utf-8")
    )
    for card in found.values():
        if isinstance(card["z"], dict):  # JSON has no numbers for keys
            card["z"] = {int(z): share for z, share in card["z"].items()}
    return found


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return sha256(path.read_bytes()).hexdigest()
