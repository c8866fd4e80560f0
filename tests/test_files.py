"""Files of networks and circuits: the same bytes, a plain file, nothing else taken for one."""

import json
import os
import resource
import stat
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import cisp
from cisp import Network, SmallCircuits

DATA = Path(__file__).parent / "data"
Content = tuple[dict[str, Tensor], Any]


def circuits() -> SmallCircuits:
    return cisp.conditional_rotations(T=9, rng=1, dtype=torch.float64)


def network() -> Network:
    return cisp.superpose(circuits(), D=160, S=3, L=3, rng=2)


def exact() -> Network:
    return cisp.superpose_exact(circuits(), D=150, L=2)


SAVED: dict[str, Callable[[], Any]] = {"network": network, "exact": exact, "circuits": circuits}


@pytest.mark.parametrize("make", SAVED.values(), ids=SAVED)
def test_the_same_network_gives_the_same_bytes(make: Callable[[], Any], tmp_path: Path) -> None:
    for k in range(12):
        make().save(tmp_path / f"{k}")
    assert len({sha256((tmp_path / f"{k}").read_bytes()).digest() for k in range(12)}) == 1


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_a_file_is_written_as_open_would(tmp_path: Path) -> None:
    path, plain = tmp_path / "network", tmp_path / "plain"
    network().save(path)
    plain.touch()
    assert mode(path) == mode(plain) == 0o644
    path.chmod(0o664)
    network().save(path)
    assert mode(path) == 0o664

    link, deep = tmp_path / "link", tmp_path / "deep"
    deep.mkdir()
    for target in (path, deep / "not there yet"):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        exact().save(link)
        assert link.is_symlink()
        assert Network.load(target).D == exact().D
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "deep",
        "link",
        "network",
        "not there yet",
        "plain",
    ]


def test_what_is_no_plain_file_is_written_into(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    network().save(pipe)
    reader.join(60)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    network().save(tmp_path / "plain")
    assert read == [(tmp_path / "plain").read_bytes()]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "network"
    network().save(path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            exact().save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def content(path: Path) -> Content:
    """The tensors of a file, and what it says about itself."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["cisp"])


def put(path: Path, tensors: dict[str, Tensor], about: object) -> None:
    words = about if isinstance(about, str) else json.dumps(about)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"cisp": words})


def tensor(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Content], Content]:
    """A file with one tensor changed."""
    return lambda found: ({**found[0], name: change(found[0][name])}, found[1])


def word(name: str, value: object) -> Callable[[Content], Content]:
    """A file that says something else about itself."""
    return lambda found: (found[0], {**found[1], name: value})


def without(name: str) -> Callable[[Content], Content]:
    return lambda found: tuple({k: v for k, v in x.items() if k != name} for x in found)  # type: ignore[return-value]


def first(value: float) -> Callable[[Tensor], Tensor]:
    def changed(x: Tensor) -> Tensor:
        x = x.clone()
        x.flatten()[0] = value
        return x

    return changed


SPOILT: dict[str, tuple[Callable[[Content], Content], str]] = {
    "tables beyond the positions": (tensor("tables", lambda x: x + 1000), "tables holds position"),
    "tables below 0": (tensor("tables", lambda x: -1 - x), "tables holds position -"),
    "tables of one position": (tensor("tables", lambda x: 0 * x), "tables holds position 0 twice"),
    "a circuit too few": (tensor("tables", lambda x: x[:, 1:]), "have T=9, but the wiring has T=8"),
    "a layer too few": (tensor("tables", lambda x: x[1:]), r"chi has shape \(3,\)"),
    "tables of floats": (
        tensor("tables", Tensor.double),
        "tables has dtype torch.float64",
    ),
    "tables of small integers": (tensor("tables", lambda x: x.to(torch.int8)), "tables has dtype"),
    "flat tables": (tensor("tables", Tensor.flatten), "tables has shape"),
    "no table": (without("tables"), "it lacks tables"),
    "no weights": (without("w"), "it lacks w"),
    "no mean": (without("w_mean"), "it lacks w_mean"),
    "no read-out": (without("readout_1"), "it lacks readout_1"),
    "a stranger": (
        lambda found: ({**found[0], "x": torch.ones(1)}, found[1]),
        "it holds x, which is unknown",
    ),
    "a weight that is no number": (tensor("w", first(float("nan"))), "w holds nan"),
    "a bias without end": (tensor("b", first(float("inf"))), "b holds inf"),
    "a mean that is no number": (tensor("w_mean", first(float("nan"))), "w_mean holds nan"),
    "a chi that is no number": (tensor("chi", first(float("nan"))), "must be finite"),
    "an angle that is no number": (tensor("theta", first(float("nan"))), "theta holds nan"),
    "weights of integers": (
        tensor("w", Tensor.long),
        "w has dtype torch.int64",
    ),
    "weights of another dtype": (tensor("w", Tensor.float), "it must be torch.float32"),
    "weights of another shape": (tensor("w", lambda x: x[:, 1:]), r"w has shape \(9, 3, 4\)"),
    "a bias of another shape": (tensor("b", lambda x: x[1:]), r"b has shape \(3,\)"),
    "a mean of another shape": (tensor("w_mean", lambda x: x[1:]), r"w_mean has shape \(3, 4\)"),
    "a read-out of another shape": (tensor("readout_0", lambda x: x[:, 1:]), "readouts"),
    "another width": (word("D", 192), "its digest is another"),
    "a width that does not divide": (word("D", 161), "D=161 is not divisible"),
    "a width in words": (word("D", "160"), "D='160' is not allowed"),
    "no width": (without("D"), "D=None is not allowed"),
    "another T": (word("T", 8), "T=8 is written, but it holds 9"),
    "another L": (word("L", 4), "L=4 is written, but it holds 3"),
    "read-outs as a word": (word("readouts", "ab"), "readouts='ab' is not allowed"),
    "a read-out named twice": (word("readouts", ["a", "a"]), "holds a name twice"),
    "a read-out by another name": (word("readouts", ["a", "b"]), "its digest is another"),
    "another format": (word("format", "cisp circuits 1"), "it holds format 'cisp circuits 1'; it"),
    "no format": (without("format"), "it holds format None; it must be one of"),
    "no digest": (without("digest"), "no JSON object with a digest"),
    "no object": (lambda found: (found[0], [1]), "no JSON object with a digest"),
    "no JSON": (lambda found: (found[0], "{"), "Expecting property name"),
    "one weight changed": (tensor("w", first(0.25)), "its digest is another"),
    "one position changed": (tensor("tables", lambda x: x.flip(1)), "its digest is another"),
}


@pytest.mark.parametrize(("spoil", "told"), SPOILT.values(), ids=SPOILT)
def test_a_spoilt_file_is_refused_and_told_why(
    spoil: Callable[[Content], Content], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "network"
    network().save(path)
    put(path, *spoil(content(path)))
    with pytest.raises(ValueError, match=told) as refused:
        Network.load(path)
    assert str(refused.value).startswith(f"path={str(path)!r} holds no network: ")
    assert len(str(refused.value)) <= 300


EXACTLY: dict[str, tuple[Callable[[Content], Content], str]] = {
    "counts of another shape": (tensor("counts", lambda x: x[..., 1:]), "no network"),
    "counts of other numbers": (tensor("counts", lambda x: x + 1), "weights in layer 2 are off"),
    "flags of fewer layers": (tensor("flags", lambda x: x[1:]), "flags"),
}


@pytest.mark.parametrize(("spoil", "told"), EXACTLY.values(), ids=EXACTLY)
def test_a_spoilt_exact_network_is_refused(
    spoil: Callable[[Content], Content], told: str, tmp_path: Path
) -> None:
    exact().save(tmp_path / "network")
    put(tmp_path / "network", *spoil(content(tmp_path / "network")))
    with pytest.raises(ValueError, match=told):
        Network.load(tmp_path / "network")


@pytest.mark.parametrize("kept", [0, 4, 100, 2000, -1])
@pytest.mark.parametrize("load", [Network.load, SmallCircuits.load])
def test_a_cut_file_is_refused(load: Callable[[Path], object], kept: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    (network() if load == Network.load else circuits()).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: min(kept, len(data) - 8)])
    with pytest.raises(ValueError, match="it is not a safetensors file"):
        load(path)


def test_a_file_of_the_other_class_and_a_missing_one_are_told_apart(tmp_path: Path) -> None:
    network().save(tmp_path / "network")
    circuits().save(tmp_path / "circuits")
    with pytest.raises(ValueError, match=r"holds format 'cisp circuits 1'; it must be one of"):
        Network.load(tmp_path / "circuits")
    with pytest.raises(ValueError, match=r"holds format 'cisp network 1'; it must be one of"):
        SmallCircuits.load(tmp_path / "network")
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(OSError, match=r"."):
            Network.load(path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (tensor("w", first(float("nan"))), "w holds nan"),
        (tensor("b", lambda x: x[1:]), r"b has shape \(3,\)"),
        (without("b"), "it lacks b"),
        (word("L", "5"), "L='5' is not allowed"),
        (word("L", 6), "its digest is another"),
    ],
)
def test_spoilt_circuits_are_refused(
    spoil: Callable[[Content], Content], told: str, tmp_path: Path
) -> None:
    circuits().save(tmp_path / "circuits")
    put(tmp_path / "circuits", *spoil(content(tmp_path / "circuits")))
    with pytest.raises(ValueError, match=told):
        SmallCircuits.load(tmp_path / "circuits")
