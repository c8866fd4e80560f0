"""Tensors and a few words about them in one safetensors file."""

from collections.abc import Collection, Mapping
from os import PathLike

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def write(
    path: str | PathLike[str], tensors: Mapping[str, Tensor], about: Mapping[str, str]
) -> None:
    """Write the tensors, in their own storage each, and `about` with its "format"."""
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, path, metadata=dict(about))


def read(
    path: str | PathLike[str], formats: Collection[str]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `write` wrote. Raises ValueError for a file of another kind or format."""
    try:
        opened = safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ValueError(f"path={str(path)!r} is not a safetensors file: {error}") from None
    with opened as file:
        about = file.metadata() or {}
        if about.get("format") not in formats:
            raise ValueError(
                f"path={str(path)!r} holds format {about.get('format')!r}; "
                f"it must be one of {[*formats]}, as written by Network.save"
            )
        return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
