"""What cells of a sweep run in the tests of test_experiment.py; workers import it from here."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import joblib
import pytest

from cisp import Measurement, Network, measure


def logged(network: Network, *, folder: Path, **options: Any) -> Measurement:
    """A measurement that leaves a file behind when it starts."""
    _start(network, folder)
    return measure(network, **options)


def held(network: Network, *, folder: Path, start: int, **options: Any) -> Measurement:
    """The same; from the given start on it waits for a file `go`, beside the folder."""
    _start(network, folder)
    begun = time.monotonic()
    while len(list(folder.iterdir())) >= start and not folder.with_name("go").exists():
        if time.monotonic() > begun + 30:
            raise TimeoutError("nobody let the cells go")
        time.sleep(0.01)
    return measure(network, **options)


def slow(network: Network, *, folder: Path, **options: Any) -> Measurement:
    """The same, half a second later."""
    _start(network, folder)
    time.sleep(0.5)
    return measure(network, **options)


def interrupted(network: Network, *, folder: Path, start: int, **options: Any) -> Measurement:
    """The same; at the given start the user presses Ctrl-C."""
    _start(network, folder)
    if len(list(folder.iterdir())) == start:
        raise KeyboardInterrupt
    return measure(network, **options)


def starts(folder: Path) -> list[tuple[int, int]]:
    """T and process of every measurement that started, in no order."""
    names = [file.name.split("-") for file in folder.iterdir()]
    return [(int(T), int(process)) for T, process, _ in names]


def _start(network: Network, folder: Path) -> None:
    (folder / f"{network.T}-{os.getpid()}-{uuid4().hex}").touch()


@contextmanager
def cluster() -> Iterator[Any]:
    """A dask cluster of two workers, in whose reach sweeps run on it.

    The dashboard is on a free port: a second run of the tests would find the usual one taken.
    """
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as found,
        distributed.Client(found),
        joblib.parallel_config(backend="dask"),
    ):
        yield found
