"""The import contracts: each kind of forbidden import breaks one, and no room is forgotten."""

import os
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
LAYERS = [layer.split(" | ") for layer in CONTRACTS[0]["layers"]]

UPWARD = [(low[0], high[0]) for high, low in pairwise(LAYERS)]
SIDEWAYS = [tuple(layer[:2]) for layer in LAYERS if len(layer) > 1]
HIDDEN = [
    ("silence", "theory"),
    ("experiment", "theory.evolution"),
    ("sweeps", "plots"),
    ("network", "assumptions"),
    ("construct", "theory.post"),
    ("theory.post", "designs"),
    ("sweeps", "neighbours"),
]


def broken(tmp_path: Path, plants: dict[str, str]) -> bool:
    """Whether the contracts break once lines are added to modules of a copy of the package."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for room, line in plants.items():
        file = tmp_path / "src" / "cisp" / f"{room.replace('.', '/')}.py"
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        file.write_text(f"{text}\n{line}\n", encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert "Contracts: " in done.stdout, done.stdout + done.stderr
    return done.returncode != 0


def test_the_package_keeps_its_contracts(tmp_path: Path) -> None:
    assert not broken(tmp_path, {})


@pytest.mark.parametrize(("room", "other"), [*UPWARD, *SIDEWAYS, *HIDDEN])
def test_a_forbidden_import_breaks_a_contract(tmp_path: Path, room: str, other: str) -> None:
    assert broken(tmp_path, {room: f"import cisp.{other}"})


@pytest.mark.parametrize("room", ["allocation", "designs", "theory.post", "plots", "tables"])
def test_a_room_that_knows_no_weights_cannot_import_torch(tmp_path: Path, room: str) -> None:
    assert broken(tmp_path, {room: "import torch"})


def test_a_module_that_no_contract_names_breaks_one(tmp_path: Path) -> None:
    assert broken(tmp_path, {"newcomer": "import numpy"})


def test_no_exported_name_hides_a_module() -> None:
    import cisp

    rooms = {path.stem for path in (ROOT / "src" / "cisp").iterdir() if path.stem[0] != "_"}
    assert {name for name in cisp.__all__ if name in rooms} == {"theory"}
