"""Bad input of sweeps and of files that are loaded: refused by name, nothing run, nothing made."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import pytest

import cisp

pytest.importorskip("cisp.keys", reason="sweeps and files are checked together with their keys")

CELL = {"T": 6, "D": 48, "S": 3, "z": 1, "seed": 0}
SWEEP: dict[str, list[Any]] = {
    "cells": [[]],
    "cell": [[{}], [{**CELL, "extra": 1}], [{k: v for k, v in CELL.items() if k != "z"}]],
    **{k: [[{**CELL, k: v}] for v in (None, -1, 2.5, "3", True)] for k in CELL},
    "samples": [0, -1, 2.5, "every", True],
    "L": [0, -1, 2.5, "3", True],
    "table": ["error", None, 3],
    "memory": ["path", Path("path"), 3],
}


@pytest.mark.parametrize("argument", SWEEP)
def test_a_sweep_is_refused_before_a_cell_runs(
    argument: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)

    def never(*_: object, **__: object) -> cisp.SmallCircuits:
        raise AssertionError("a cell ran")

    for value in SWEEP[argument]:
        options: dict[str, Any] = {"make": never}
        cells = value if isinstance(value, list) else [CELL]
        options |= {} if isinstance(value, list) else {argument: value}
        with pytest.raises(ValueError, match=rf"(?<!\w){argument}(?!\w)") as error:
            cisp.sweep(cells, progress=False, **options)
        assert len(str(error.value)) <= 300


network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=3, L=3)
SAVED: dict[str, Callable[[Path], object]] = {
    "Network": network.save,
    "SmallCircuits": network.circuits.save,
}
SPOIL: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "a word": lambda whole: b"nothing of the kind",
    "one bit": lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
    "one of the header": lambda whole: whole.replace(b"float", b"flaot").replace(b"F32", b"F23"),
    "longer": lambda whole: whole + b"0",
}


@pytest.mark.parametrize("spoil", SPOIL)
@pytest.mark.parametrize("kind", SAVED)
def test_a_spoiled_file_is_refused_by_its_path(kind: str, spoil: str, tmp_path: Path) -> None:
    path = tmp_path / "saved"
    SAVED[kind](path)
    path.write_bytes(SPOIL[spoil](path.read_bytes()))
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        getattr(cisp, kind).load(path)
    assert len(str(error.value)) <= 300


def test_a_file_of_the_other_class_is_refused(tmp_path: Path) -> None:
    for kind, other in (("Network", "SmallCircuits"), ("SmallCircuits", "Network")):
        SAVED[other](tmp_path / "saved")
        with pytest.raises(ValueError, match="it must be one of"):
            getattr(cisp, kind).load(tmp_path / "saved")
