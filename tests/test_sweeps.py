"""Sweeps of the user's own functions: in processes, on a cluster, remembered, from a notebook."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from threading import enumerate as threads
from types import SimpleNamespace
from typing import Any

import cells
import jaxtyping
import joblib
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

import cisp
import cisp.sweeps
from cisp import Measurement, Network, SmallCircuits, sweep

HERE = Path(__file__).parent
CELL = {"T": 10, "D": 120, "S": 3, "z": 1, "seed": 0}
CELLS = [{**CELL, "seed": seed} for seed in range(2)]

EVERY_PAIR = """
import tempfile
from functools import partial

import joblib
import numpy as np
import torch

import cisp

BIAS = torch.tensor(2.0)

def bias():
    return float(BIAS)

def make(*, T, rng, offset=None):
    circuits = cisp.conditional_rotations(T=T, rng=rng, bias=bias())
    return cisp.SmallCircuits(w=circuits.w, b=circuits.b + offset, readouts=circuits.readouts)

def allocate(*, T, n, S):
    return np.arange(T * S).reshape(S, T).T

def run(network, **options):
    return cisp.measure_masked(network, **options)

def everywhere(found, **options):
    with joblib.parallel_config(n_jobs=1):
        found.append(cisp.sweep(CELLS, **options))
    with joblib.parallel_config(n_jobs=2):
        found.append(cisp.sweep(CELLS, **options))
    with joblib.parallel_config(backend="dask"):
        found.append(cisp.sweep(CELLS, **options))

if __name__ == "__main__":
    from distributed import Client, LocalCluster

    CELLS = [dict(T=T, D=160, S=3, z=1, seed=0) for T in (9, 10, 11)]
    options = dict(threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with LocalCluster(n_workers=2, **options) as workers:
        with Client(workers):
            for kind, given in {
                "named": dict(make=partial(make, offset=torch.zeros(4))),
                "allocated": dict(make=partial(make, offset=np.zeros(4)), allocate=allocate),
                "run": dict(run=run, allocate=partial(allocate)),
            }.items():
                if kind not in KINDS:
                    continue
                memory = joblib.Memory(tempfile.mkdtemp(), verbose=0)
                found = []
                everywhere(found, **given)
                everywhere(found, **given, memory=memory)
                same = all(one.equals(found[0]) for one in found)
                print(kind, same, len(memory.store_backend.get_items()))
            BIAS = torch.tensor(2.5)
            made = partial(make, offset=torch.zeros(4))
            memory = joblib.Memory(tempfile.mkdtemp(), verbose=0)
            first = cisp.sweep(CELLS, make=made, memory=memory)
            BIAS = torch.tensor(2.0)
            other = cisp.sweep(CELLS, make=made, memory=memory)
            again = cisp.sweep(CELLS, make=made)
            print("a changed global", other.equals(again), other.equals(first))
"""
SCRIPT = 'KINDS = ["named", "allocated", "run"]' + EVERY_PAIR
PRINTED = """named True 3
allocated True 3
run True 3
a changed global True False
"""


def test_every_pair_of_features_works_from_a_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.stdout == PRINTED, done.stderr


def test_every_pair_of_features_works_from_a_notebook(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    defined, main, run = EVERY_PAIR.partition("if __name__")
    cells = ('KINDS = ["allocated"]' + defined, main + run)
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    (output,) = [o for o in notebook.cells[1].outputs if o.get("name") == "stdout"]
    assert output.text == "allocated True 3\na changed global True False\n"


@pytest.fixture
def memory(tmp_path: Path) -> joblib.Memory:
    return joblib.Memory(tmp_path / "memory", verbose=0)


def entries(memory: joblib.Memory) -> list[Path]:
    return list(Path(memory.location).rglob("output.pkl"))


def moved(offset: Any, *, T: int, rng: np.random.Generator) -> SmallCircuits:
    circuits = cisp.conditional_rotations(T=T, rng=rng)
    return SmallCircuits(w=circuits.w, b=circuits.b + torch.as_tensor(offset), readouts={})


@pytest.mark.parametrize("kind", [torch.zeros, np.zeros, lambda d: [0.0] * d])
def test_equal_inputs_have_one_entry(
    kind: Callable[[int], Any], memory: joblib.Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # numpy's integers are no int
    for number in (int, np.int64, int):
        cell: Any = {name: number(value) for name, value in CELL.items()}
        sweep([cell], make=partial(moved, kind(4)), L=cell["S"] - 1, memory=memory)
    assert len(entries(memory)) == 1
    sweep([CELL], make=partial(moved, kind(4)[:1]), L=2, memory=memory)
    assert len(entries(memory)) == 2


def users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> Any:
    """A module of the user's beside others, the first one given."""
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return __import__(next(iter(texts)))


def test_a_changed_global_or_helper_is_not_taken_for_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: joblib.Memory
) -> None:
    own = users_own(
        tmp_path,
        monkeypatch,
        users_own="import users_helper as h\nBIAS = 2.0\n"
        "def make(*, T, rng): return h.made(T, rng, BIAS)",
        users_helper="import cisp\n"
        "def made(T, rng, bias): return cisp.conditional_rotations(T=T, rng=rng, bias=bias)",
    )
    first = sweep([CELL], make=own.make, memory=memory)
    own.BIAS = 3.0
    assert not sweep([CELL], make=own.make, memory=memory).equals(first)
    own.BIAS = 2.0
    assert sweep([CELL], make=own.make, memory=memory).equals(first)
    assert len(entries(memory)) == 2
    own.h.made = lambda T, rng, bias: cisp.conditional_rotations(T=T, rng=1)
    assert not sweep([CELL], make=own.make, memory=memory).equals(first)


def test_what_no_key_can_hold_is_refused_with_memory_and_runs_without(
    memory: joblib.Memory,
) -> None:
    with open(__file__, encoding="utf-8") as file:

        def make(*, T: int, rng: np.random.Generator) -> SmallCircuits:
            return cisp.conditional_rotations(T=T, rng=len(file.name))

        told = "make holds a TextIOWrapper, of which no key can tell what is in it"
        with pytest.raises(ValueError, match=told):
            sweep([CELL], make=make, memory=memory)
        assert len(sweep([CELL], make=make))


def test_a_result_that_was_changed_on_disk_is_made_again(memory: joblib.Memory) -> None:
    first = sweep([CELL], memory=memory)
    (file,) = entries(memory)
    data = file.read_bytes()
    float_of_it = np.float64(first.mse.max()).tobytes()
    assert data.count(float_of_it) >= 1
    file.write_bytes(data.replace(float_of_it, np.float64(7.0).tobytes()))
    with pytest.warns(UserWarning, match="was changed; it is made again"):
        assert sweep([CELL], memory=memory).equals(first)
    assert sweep([CELL], memory=memory).equals(first)
    joblib.dump("something else", file)
    with pytest.warns(UserWarning, match="was changed; it is made again"):
        assert sweep([CELL], memory=memory).equals(first)


@pytest.mark.parametrize("spoilt", [b"", b"garbage"])
def test_a_cut_or_garbled_result_is_made_again(
    spoilt: bytes, memory: joblib.Memory, caplog: pytest.LogCaptureFixture
) -> None:
    first = sweep([CELL], memory=memory)
    (file,) = entries(memory)
    file.write_bytes(spoilt)
    assert sweep([CELL], memory=memory).equals(first)
    assert "Exception while loading results" in caplog.text


def test_a_full_disk_leaves_no_half_written_files(
    memory: joblib.Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(value: object, file: Any, **options: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(joblib.numpy_pickle, "dump", full)
    with pytest.warns(Warning, match="No space left on device"):
        sweep(CELLS, memory=memory)
    monkeypatch.undo()
    left = [file for file in Path(memory.location).rglob("*") if file.is_file()]
    assert {file.name for file in left} <= {"func_code.py", "metadata.json", ".gitignore"}
    sweep(CELLS, memory=memory)
    assert len(entries(memory)) == 2


def test_two_sweeps_on_one_memory_do_each_cell_once(tmp_path: Path) -> None:
    folder = tmp_path / "starts"
    folder.mkdir()
    code = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
from functools import partial
from pathlib import Path
import cells, cisp, cisp.keys, joblib
run = partial(cells.slow, folder=Path({str(folder)!r}))
memory = joblib.Memory({str(tmp_path / "memory")!r}, verbose=0)
cisp.keys.key(all=cisp.sweep)  # what is read once
print("ready", flush=True); input()
cisp.sweep([{CELL} | dict(seed=seed) for seed in range(4)], run=run, memory=memory)
"""
    with (
        subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as one,
        subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as other,
    ):
        both = one, other
        assert [process.stdout.readline() for process in both if process.stdout] == [b"ready\n"] * 2
        for process in both:
            assert process.stdin
            process.stdin.write(b"\n")
            process.stdin.flush()
    assert [process.returncode for process in both] == [0, 0]
    assert len(cells.starts(folder)) == 4


def test_a_sweep_that_is_over_is_watched_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = SimpleNamespace(ncores=dict)
    idle = SimpleNamespace(client=cluster, waiting_futures=SimpleNamespace(futures=[]))
    monkeypatch.setattr(joblib.parallel, "get_active_backend", lambda: (idle, 1))
    before = {*threads()}
    with cisp.sweeps._watched():
        (watch,) = {*threads()} - before
    watch.join(30)  # it ends at once
    assert not watch.is_alive()


def test_a_cluster_has_the_ten_minutes_that_are_promised() -> None:
    sweep([CELL])
    assert cisp.sweeps.PATIENCE == 10 * 60
    assert "for ten minutes" in str(sweep.__doc__)


def test_a_cluster_whose_workers_are_all_gone_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cisp.sweeps, "PATIENCE", 3)
    folder = tmp_path / "starts"
    folder.mkdir()
    with cells.cluster() as cluster:

        def leave() -> None:
            while len(cells.starts(folder)) < 2:
                time.sleep(0.01)
            cluster.scale(0)
            for _, process in cells.starts(folder):
                assert process != os.getpid()
                os.kill(process, signal.SIGKILL)

        Thread(target=leave).start()
        # Ctrl-C is ignored, as it is in what a shell starts in the background
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with pytest.raises(RuntimeError, match="at work on nothing for 3 seconds"):
                sweep(CELLS, run=partial(cells.held, folder=folder, start=1))
        finally:
            signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cells": [{**CELL, "seed": None}]}, "seed=None is not allowed; seed must be an integer"),
        ({"cells": [{**CELL, "T": 0}]}, "T=0 is not allowed"),
        ({"cells": [{**CELL, "D": 12.5}]}, "D=12.5 is not allowed"),
        ({"table": "error"}, "table='error' is not allowed; it must be one of"),
        ({"memory": "a/path"}, "memory='a/path' is not allowed; it must be a joblib.Memory"),
        ({"samples": -1}, "samples=-1 is not allowed"),
    ],
)
def test_what_a_sweep_cannot_use_is_refused_before_a_cell_runs(
    change: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(network: Network, **options: Any) -> Measurement:
        pytest.fail("a cell ran")

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it
    with pytest.raises(ValueError, match=told):
        sweep(**{"cells": [CELL], "run": run, **change})


def test_any_construction_is_swept_with_the_circuits_own_depth() -> None:
    def make(*, T: int, rng: np.random.Generator) -> SmallCircuits:
        return cisp.conditional_rotations(T=T, rng=rng).with_layers(3)

    for embed in (cisp.superpose, cisp.superpose_extrinsic, partial(cisp.superpose_exact, z=2)):
        found = sweep([{**CELL, "D": 200}], make=make, embed=embed)
        assert found.layer.max() == 3
    exact = sweep([{**CELL, "z": 2}], make=make, embed=cisp.superpose_exact, samples=20)
    assert exact.worst.max() < 1e-4  # float32
    older = sweep([CELL], make=make, construct=cisp.superpose_extrinsic)
    assert older.equals(sweep([CELL], make=make, embed=cisp.superpose_extrinsic))
