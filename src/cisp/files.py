"""Circuits and networks in safetensors files: tensors, and a few words about them."""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from os import PathLike
from pathlib import Path
from stat import S_IMODE
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cisp.arguments import count

CIRCUITS = ("w", "b", "input_mean", "input_map")  # what every file has
LAW = (*CIRCUITS, "theta", "inputs", "w_mean")  # all of one dtype, if they are there

Found = tuple[dict[str, Tensor], dict[str, Any]]


def write(path: str | PathLike[str], tensors: Mapping[str, Tensor], about: dict[str, Any]) -> None:
    """Write the tensors and `about` with its "format", the whole file or nothing.

    The same tensors and words give the same bytes. The words are one JSON text, as safetensors
    writes several in no fixed order; with them goes a digest of all that is in the file.
    """
    kept = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}  # shares nothing
    words = {**about, "digest": _digest(kept, about)}
    _put(Path(path), save(kept, {"cisp": json.dumps(words, sort_keys=True)}))


def read(
    path: str | PathLike[str], formats: Mapping[str, Collection[str]], *, what: str, size: str
) -> Found:
    """What `write` wrote: the tensors, and what the file says about itself.

    formats: those that are known, each with the tensors that it has beside the circuits'. what: the
    name of what is read. size: a word that must be a whole number.

    Raises ValueError that says what is wrong with a file that is not one of these.
    """
    with refused(path, what):
        try:
            with safe_open(path, framework="pt") as file:
                words = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"it is not a safetensors file: {error}") from None
        about = _words(words)
        if about["format"] not in formats:
            raise ValueError(f"it holds format {about['format']!r}; it must be one of {[*formats]}")
        count(size, about.get(size))
        _check(tensors, about["readouts"], formats[about["format"]])
        return tensors, about


@contextmanager
def refused(path: str | PathLike[str], what: str) -> Iterator[None]:
    """Whatever is wrong with a file becomes a ValueError that names it."""
    try:
        yield
    except OSError:  # there is none, or it cannot be read
        raise
    except Exception as error:  # of whatever finds the first thing that does not fit
        told = f"path={str(path)!r} holds no {what}: {error}"
        raise ValueError(told[:300]) from None


def check_digest(tensors: Mapping[str, Tensor], about: dict[str, Any]) -> None:
    """Raise ValueError unless a file holds what was written. Older ones, without digest, may."""
    if "digest" in about:
        rest = {name: value for name, value in about.items() if name != "digest"}
        if _digest(tensors, rest) != about["digest"]:
            raise ValueError("it was changed since it was written: its digest is another")


def _words(words: Mapping[str, str]) -> dict[str, Any]:
    """What a file says about itself, in one JSON text or, before, in one for each word."""
    if "cisp" in words:
        about = json.loads(words["cisp"])
        if not isinstance(about, dict) or not isinstance(about.get("digest"), str):
            raise ValueError("what it says about itself is no JSON object with a digest")
    else:
        about = {k: v if k == "format" else json.loads(v) for k, v in words.items()}
        about = about if "D" in about or "L" in about else {"format": about.get("format")}
    about = {"format": None, "readouts": [], **about}
    names = about["readouts"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"readouts={names!r} is not allowed; it must be a list of names")
    if len({*names}) < len(names):
        raise ValueError(f"readouts={names!r} holds a name twice")
    return about


def _check(tensors: Mapping[str, Tensor], readouts: list[str], beside: Collection[str]) -> None:
    """Raise ValueError unless all tensors are there, none is unknown, and their dtypes fit."""
    own = [f"readout_{k}" for k in range(len(readouts))]
    needed = {*CIRCUITS, *beside, *own}
    if missing := sorted(needed - tensors.keys()):
        raise ValueError(f"it lacks {', '.join(missing)}")
    if unknown := sorted(tensors.keys() - needed - {"theta", "inputs"}):
        raise ValueError(f"it holds {', '.join(unknown)}, which is unknown")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() and name != "tables":
            raise ValueError(f"{name} has dtype {tensor.dtype}; it must be a floating one")
    wanted = dict.fromkeys((*LAW, *own), tensors["w"].dtype) | {"tables": torch.int64}
    for name, tensor in tensors.items():
        if tensor.dtype != wanted.get(name, tensor.dtype):
            raise ValueError(f"{name} has dtype {tensor.dtype}; it must be {wanted[name]}")


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    whole = sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def _put(path: Path, data: bytes) -> None:
    """Write a file as `open` would, through links, with its mode; on failure the old one stays."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        target.write_bytes(data)  # a device has no old content
        return
    new = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with open(new, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            old = target.stat()
            with suppress(OSError, AttributeError):  # who may not give files away; Windows
                os.chown(new, old.st_uid, old.st_gid)
            new.chmod(S_IMODE(old.st_mode))
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
