"""Which test reaches which statement of src/cisp, and the runs of a test file on a changed copy.

A process that has imported what is slow to import forks: once for a copy of the package, which is
imported there, and from there once for a test file. What a run costs is processor time, its own and
that of its children, so that other work on the machine changes no verdict.
"""

import ast
import builtins
import gc
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "cisp"
# Another process that a test starts reaches nothing that is known here.
ELSEWHERE = "_reached = getattr(__import__('builtins'), '_reached', int)"
BYTES = 12 * 2**30  # address space of one run: a fault may ask for any array
# Tests of pages, of files kept beside them, of the environment: not of the package.
BESIDE = {"browser", "explorer", "pages", "kept", "book_map", "ledger", "errata", "contracts"}
BESIDE |= {"widgets", "run_ahead", "environment", "encodings", "cuda", "prints", "annotations"}
BESIDE |= {"inside"}


@dataclass(eq=False)
class Watch:
    """A pytest plugin: of each test what it costs, what it reaches; or up to a first failure."""

    order: dict[str, float] | None = None  # the tests to run, by cost; new ones first; None is all
    known: set[str] = field(default_factory=set)  # tests that the order could have named
    hits: set[int] = field(default_factory=set)
    shared: dict[Any, set[int]] = field(default_factory=dict)  # what a fixture reached
    tests: dict[str, tuple[float, list[int]]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Only what reaches the fault, the cheapest first."""
        if self.order is not None:
            order = self.order
            items[:] = [i for i in items if named(i) in order or named(i) not in self.known]
            items.sort(key=lambda item: order.get(named(item), 0))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Any:
        """What a fixture reaches, every test reaches that uses it."""
        before = set(self.hits)
        self.hits.clear()
        try:
            return (yield)
        finally:
            self.shared[fixturedef] = set(self.hits)
            self.hits |= before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Any:
        """One test: its processor seconds and its statements."""
        self.hits.clear()
        start = time.process_time()
        try:
            return (yield)
        finally:
            for every in item._fixtureinfo.name2fixturedefs.values():
                for each in every:
                    self.hits |= self.shared.get(each, set())
            self.tests[named(item)] = time.process_time() - start, sorted(self.hits)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The names of failures."""
        if report.failed:
            self.failed.append(report.nodeid.split("::", 1)[-1])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected."""
        if report.failed:
            self.failed.append("at import")

    def cached(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """functools.cache which remembers what a call reached, too."""
        kept: dict[Any, tuple[Any, set[int]]] = {}

        def call(*args: Any, **kwargs: Any) -> Any:
            key = args, tuple(kwargs.items())
            if key not in kept:
                before = set(self.hits)
                self.hits.clear()
                kept[key] = function(*args, **kwargs), set(self.hits)
                self.hits |= before
            self.hits |= kept[key][1]
            return kept[key][0]

        call.cache_clear = kept.clear  # type: ignore[attr-defined]
        call.__dict__.update(__wrapped__=function, __name__=getattr(function, "__name__", ""))
        return call


def named(item: pytest.Item) -> str:
    """The test without its file."""
    return item.nodeid.split("::", 1)[-1]


def files() -> list[str]:
    """The test files, and the modules whose docstrings hold tests, from the root."""
    tests = [p for p in (ROOT / "tests").glob("test_*.py") if p.stem[5:] not in BESIDE]
    rooms = [p for p in PACKAGE.rglob("*.py") if ">>>" in p.read_text(encoding="utf-8")]
    return sorted(p.relative_to(ROOT).as_posix() for p in tests + rooms)


def ready() -> None:
    """Import what is slow to import and none of what is under test."""
    import beartype  # noqa: F401
    import hypothesis  # noqa: F401
    import joblib  # noqa: F401
    import matplotlib as mpl
    import pandas as pd  # noqa: F401
    import safetensors.torch  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch

    mpl.use("Agg")
    import seaborn as sns  # noqa: F401

    torch.set_num_threads(1)


def package(folder: Path, source: Path = PACKAGE) -> None:
    """A copy of the package, to be imported instead of it."""
    shutil.copytree(source, folder / "cisp")


def imported(folder: Path, compiled: bool = False) -> bool:
    """Import the copy as the tests do, its types checked; leave it compiled if asked."""
    from jaxtyping import install_import_hook

    sys.dont_write_bytecode = not compiled
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)
    install_import_hook("cisp", "beartype.beartype")
    import cisp

    assert str(folder) in str(cisp.__file__)
    sys.dont_write_bytecode = False
    return True


def run(file: str, folder: Path, watch: Watch, first: bool) -> None:
    """One test file, in this process; up to the first failure if asked."""
    where = ROOT / file if file.startswith("tests") else folder / file.removeprefix("src/")
    options = ["-q", "--tb=line", "--no-header", "-p", "no:cacheprovider", "-p", "no:nbval"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what is imported by now
    options += ["-W", "ignore:data/"]  # that a kept table is of other code says nothing here
    options += ["-p", "no:xdist", "-o", "addopts=--doctest-modules", "--rootdir", str(ROOT)]
    done = pytest.main([*options, *["-x"] * first, str(where)], plugins=[watch])
    assert done not in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)


def forked(work: Callable[[], object], log: Path, seconds: float) -> tuple[Any, float, bool]:
    """What work returns, in a process of its own; its processor seconds; whether it had to stop.

    None is returned by a process that died. It is stopped after the processor seconds given, or,
    where it waits for something that never comes, after ten times as many on the clock.
    """
    result = log.with_suffix(".result")
    result.unlink(missing_ok=True)
    start = time.monotonic()
    gc.freeze()  # what is there now stays: a collection in the child would copy all its pages
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        with log.open("w", encoding="utf-8") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 3))
        try:
            result.write_text(json.dumps(work()), encoding="utf-8")
        except BaseException as error:
            print(repr(error))
        finally:
            sys.stdout.flush()
            os._exit(0)
    over = False
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - start > 10 * seconds + 60:
            over = True
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)
    over |= os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
    found = json.loads(result.read_text(encoding="utf-8")) if result.exists() else None
    return found, used.ru_utime + used.ru_stime, over


class _Mark(ast.NodeTransformer):
    """Every statement within a function says that it was reached."""

    def __init__(self, numbers: dict[str, int], room: str) -> None:
        self.numbers, self.room, self.within = numbers, room, 0

    def visit(self, node: ast.AST) -> Any:
        function = isinstance(node, ast.FunctionDef)
        self.within += function
        self.generic_visit(node)
        if self.within:
            for name in ("body", "orelse", "finalbody"):
                block = getattr(node, name, None)
                if isinstance(block, list) and block:
                    says = function and name == "body" and ast.get_docstring(node) is not None  # type: ignore[arg-type]
                    marked = [each for s in block[says:] for each in (self.mark(s), s)]
                    setattr(node, name, block[:says] + marked)
        self.within -= function
        return node

    def mark(self, statement: ast.stmt) -> ast.stmt:
        number = self.numbers.setdefault(f"{self.room}:{statement.lineno}", len(self.numbers))
        return ast.copy_location(ast.parse(f"_reached({number})").body[0], statement)


def mark(folder: Path) -> list[str]:
    """Mark every statement of the copy; their names are module:line."""
    numbers: dict[str, int] = {}
    for path in sorted((folder / "cisp").rglob("*.py")):
        room = path.relative_to(folder / "cisp").with_suffix("").as_posix()
        tree = _Mark(numbers, room).visit(ast.parse(path.read_text(encoding="utf-8")))
        tree.body.insert(1, ast.parse(ELSEWHERE).body[0])  # behind the docstring
        path.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
    return list(numbers)


def traced(file: str, folder: Path) -> dict[str, Any]:
    """Of every test in the file the cost and the statements it reaches, on a marked copy."""
    import functools

    watch = Watch()
    builtins._reached = watch.hits.add  # type: ignore[attr-defined]
    functools.cache = watch.cached  # type: ignore[assignment]
    imported(folder)
    run(file, folder, watch, first=False)
    return {"tests": watch.tests, "failed": watch.failed}


def unmarked(file: str, folder: Path, found: dict[str, Any]) -> list[str]:
    """The tests that fail on a copy without marks, too: these kill no fault."""
    imported(folder)
    watch = Watch(dict.fromkeys(found["failed"], 0.0), {*found["tests"]})
    run(file, folder, watch, first=False)
    return watch.failed


def reach(kept: Path, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each file the tests, what each costs and reaches; kept until a source changes."""
    kept.mkdir(parents=True, exist_ok=True)
    folder = kept / "marked"
    shutil.rmtree(folder, ignore_errors=True)
    package(folder)
    names = mark(folder)
    plain = kept / "plain"
    shutil.rmtree(plain, ignore_errors=True)
    package(plain)
    forked(partial(imported, plain, compiled=True), kept / "plain.log", seconds)
    sources = sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        sources.update(path.read_bytes())
    for file in files():
        digest = sources.copy()
        digest.update((ROOT / file).read_bytes())
        where = kept / f"{file.replace('/', '.')}.json"
        found = json.loads(where.read_text(encoding="utf-8")) if where.exists() else {}
        if found.get("digest") != digest.hexdigest():
            work = partial(traced, file, folder)
            found, cost, over = forked(work, where.with_suffix(".log"), seconds)
            found = found or {"tests": {}, "failed": ["over" if over else "died"]}
            if found["failed"]:  # is it the marks?
                again = partial(unmarked, file, plain, found)
                found["failed"] = forked(again, where.with_suffix(".log"), seconds)[0]
            found.update(digest=digest.hexdigest(), cost=cost, names=names)
            where.write_text(json.dumps(found), encoding="utf-8")
            told = f"{len(found['tests'])} tests, {len(found['failed'])} fail"
            print(f"{file}: {cost:.0f} s, {told}", flush=True)
        yield file, found
