"""Results kept on disk under a key: made once, written whole, and checked when read again."""

import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from threading import current_thread
from typing import Any

import joblib
from filelock import FileLock

Sealed = tuple[str, bytes]  # the digest of a pickle, and the pickle


class Remembered:
    """A function of numbers whose results are kept in a memory, under a key and the numbers.

    The key stands for all else that the results depend on. Two processes that want one result make
    it once: the second waits for the first. A result that was changed on disk is made again.
    """

    def __init__(self, function: Callable[..., object], key: str, memory: joblib.Memory) -> None:
        self.function, self.key = function, key
        self.folder = Path(memory.store_backend.location)
        self.sealed = memory.cache(_sealed, ignore=["function"])

    def __call__(self, **numbers: object) -> Any:
        """The result for these numbers, from the disk if it is there."""
        known = {"key": self.key, "numbers": numbers}
        name = sha256(repr(known).encode()).hexdigest()[:16]
        with _alone(self.folder / f"{name}.lock"):
            found = self.sealed(self.function, **known)
            if not _is_intact(found):
                warnings.warn(
                    f"the result kept for {numbers} was changed; it is made again", stacklevel=2
                )
                self.sealed.call_and_shelve(self.function, **known).clear()
                found = self.sealed(self.function, **known)
            if not self.sealed.check_call_in_cache(self.function, **known):
                self._clear_up()
        return pickle.loads(found[1])

    def _clear_up(self) -> None:
        """Remove what a failed attempt of this thread to write has left, as on a full disk."""
        mark = f"*{os.getpid()}*{id(current_thread())}*"
        for file in (
            *self.folder.rglob(f"output.pkl.{mark}"),
            *self.folder.rglob(f"*.json.{mark}"),
        ):
            file.unlink(missing_ok=True)


def _sealed(function: Callable[..., object], key: str, numbers: dict[str, object]) -> Sealed:
    data = pickle.dumps(function(**numbers))
    return sha256(data).hexdigest(), data


def _is_intact(found: object) -> bool:
    match found:
        case (str(seal), bytes(data)):
            return sha256(data).hexdigest() == seal
    return False


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process is here, by a file that is then removed.

    Where a disk has no locks, go on without. A process that had waited for the file that is removed
    finds the result made.
    """
    lock = FileLock(path)
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps what is open
            path.unlink()
        lock.release()
