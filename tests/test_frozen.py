"""Frozen beds are what their cards say, and their export needs nothing of ours."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import cisp
from cisp.testbed import Testbed, frozen
from cisp.testbed.__main__ import main
from cisp.testbed.export import export

TOOL = Path(__file__).parents[1] / "tools" / "freeze.py"
CARDS = frozen.cards(frozen.BEDS)
every_bed = pytest.mark.parametrize("name", CARDS)


@every_bed
def test_a_bed_is_as_its_card_says(name: str) -> None:
    bed, card = cisp.reference(name), CARDS[name]
    assert {k: getattr(bed.network, k) for k in ("T", "D", "d", "S", "L")} == {
        k: card[k] for k in ("T", "D", "d", "S", "L")
    }
    assert bed.z == card["z"]
    z = bed.z if isinstance(bed.z, int) else 1  # its share of z = 0 has no error
    errors = cisp.measure(bed.network, z=z, samples=4000, rng=9).errors
    last = errors[(errors.quantity == card["readout"]) & (errors.layer == card["L"])]
    row = last[last.circuits == "active"].iloc[0]
    # 4 standard errors of these inputs and 2 of those behind the card
    assert row.mse == pytest.approx(card["error"], rel=0.01, abs=6 * row.mse_stderr + 1e-9)
    fit = min(card["D"] // card["d"], card["T"]) / card["T"]
    assert card["side_by_side"] == pytest.approx(card["silent"] * (1 - fit), rel=0.01)


@pytest.mark.parametrize("name", [name for name in CARDS if name != "mlps-100"])
def test_a_bed_is_what_its_recipe_makes(name: str) -> None:
    recipes: dict[str, tuple[str, object, Callable[[], cisp.Network]]] = runpy.run_path(str(TOOL))[
        "RECIPES"
    ]
    made, bed = recipes[name][2](), cisp.reference(name).network
    assert torch.equal(made.tables, bed.tables)
    for key, value in bed.state_dict().items():
        # sines and cosines of angles, and biases found by bisection, in float32
        torch.testing.assert_close(made.state_dict()[key], value, rtol=1e-5, atol=1e-6)


def test_beds_are_listed_with_their_cards() -> None:
    found = cisp.references()
    assert list(found.index) == list(CARDS)
    assert found.z["mlps-100"] == {0: 0.2, 1: 0.8}
    assert found.error["extrinsic-557"] < found.side_by_side["extrinsic-557"]
    assert found.error["rotations-557"] > found.silent["rotations-557"]  # it has seized


def test_a_bed_takes_another_activity_and_a_layer() -> None:
    bed = cisp.reference("rotations-100", z=3, layer=2)
    assert (bed.z, bed.layer) == (3, 2)


def test_another_name_and_another_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"name='rotations' is not allowed; .*'rotations-557'"):
        cisp.reference("rotations")
    for path in frozen.BEDS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(frozen, "BEDS", tmp_path)
    cisp.reference("side-by-side-250")
    path = tmp_path / "side-by-side-250.safetensors"
    spoiled = bytearray(path.read_bytes())
    spoiled[-1] ^= 1
    path.write_bytes(spoiled)
    with pytest.raises(ValueError, match="'side-by-side-250' is not the one that was frozen"):
        cisp.reference("side-by-side-250")


def test_an_export_is_model_sample_and_truth_in_plain_files(tmp_path: Path) -> None:
    network = cisp.superpose(cisp.conditional_rotations(T=30, rng=0), D=120, S=3, L=3, rng=1)
    bed = Testbed(network, z={0: 0.2, 2: 0.8})
    export(bed, tmp_path, samples=40)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert set(config["files"]) | {"config.json"} == {p.name for p in tmp_path.iterdir()}
    assert config["z"] == {"0": 0.2, "2": 0.8}
    D, L = config["D"], config["L"]
    model = nn.Sequential(*(m for _ in range(L) for m in (nn.Linear(D, D), nn.ReLU())))
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    sample = load_file(tmp_path / "sample.safetensors")
    A = sample["activations"]
    assert A.shape == (L + 1, 40, D)
    torch.testing.assert_close(model(A[0]), A[-1])

    with np.load(tmp_path / "truth.npz") as truth:
        part = np.zeros((D, D))
        for rows, columns, own in zip(
            truth["rows_2"], truth["columns_2"], truth["own_2"], strict=True
        ):
            part[rows[:, None], columns] += own
        np.testing.assert_allclose(part, network.W(2) - network.shared(2), atol=1e-5)
        t = int(sample["active"][sample["active"][:, 0] >= 0][0, 0])
        i, (p, *_) = 2, truth["tables"][1, t]
        assert abs(truth["subspaces_2"][t, i * (D // config["d"]) + p]).max() > 0.1
        assert truth["directions"].shape == (L, 30, D)
        whole = bed.components(3, whole=True).blocks.numpy()
        np.testing.assert_array_equal(truth["whole_3"], whole)


def test_the_shell_lists_and_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    assert "rotations-557" in capsys.readouterr().out
    folder = tmp_path / "new" / "bed"
    command = [sys.executable, "-m", "cisp.testbed", "export", "side-by-side-250", str(folder)]
    subprocess.run(command, check=True, timeout=300)
    assert {p.name for p in folder.iterdir()} >= {"config.json", "model.safetensors", "truth.npz"}
    for given, says in (
        ([], "required: command"),
        (["export", "none", str(tmp_path / "x")], "invalid choice: 'none'"),
        (["export", "side-by-side-250", str(folder)], "is not empty"),
    ):
        with pytest.raises(SystemExit):
            main(given)
        assert says in capsys.readouterr().err
