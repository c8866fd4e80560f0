"""Mutation score of src/cisp: small faults planted one by one, and whether the tests see them.

    python tools/mutants.py --draw 200 --seed 0 --minutes 30

Of every module at least four faults are drawn, and others at random until there are enough. A
fault is run against the tests that reach the mutated function by name, the module's own first, up
to the first failure. What survives is printed with its line, to be read: a survivor is either an
equal program, or a test that is missing. With --minutes it stops there and says how far it came;
--skip goes on from there. The order depends on the seed alone.
"""

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "cisp"
EACH = 4  # faults in a module, at least
SLOW = 600  # seconds of the tests of one fault, after which it counts as undecided
NO_TESTS = 5  # what pytest exits with
WIDE = {"test_every_argument", "test_bad_input", "test_devices", "test_annotations"}  # run last
OUTSIDE = {"plots", "__init__"}  # arrays in, axes out; names only

COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In},
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.MatMult: ast.Add},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
}


@dataclass(frozen=True)
class Mutant:
    """One fault: a module, the place of its node in a walk of the tree, what becomes of it."""

    module: str
    place: int
    line: int
    owner: str
    says: str


def mutants(module: str) -> Iterator[Mutant]:
    """All faults of a module, in order."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    owners = {
        id(inner): node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        for inner in ast.walk(node)
    }
    idle = _idle(tree)
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in idle:
            continue
        changed = _changed(node)
        if changed is not None:
            before, after = (_on_one_line(each) for each in (node, changed))
            line = getattr(node, "lineno", 0)
            yield Mutant(module, place, line, owners.get(id(node), ""), f"{before}  ->  {after}")


def _on_one_line(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:90]


def _changed(node: ast.AST) -> ast.AST | None:
    """The node with one fault, or None if there is none for its kind."""
    new = deepcopy(node)
    match new:
        case ast.Compare(ops=[op, *_]) if type(op) in COMPARE:
            new.ops[0] = COMPARE[type(op)]()
        case ast.BinOp(op=op) if type(op) in ARITHMETIC:
            new.op = ARITHMETIC[type(op)]()
        case ast.AugAssign(op=op) if type(op) in ARITHMETIC:
            new.op = ARITHMETIC[type(op)]()
        case ast.BoolOp(op=ast.And()):
            new.op = ast.Or()
        case ast.BoolOp(op=ast.Or()):
            new.op = ast.And()
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            return new.operand
        case ast.IfExp():
            new.body, new.orelse = new.orelse, new.body
        case ast.Constant(value=bool()):
            new.value = not new.value
        case ast.Constant(value=int(number)):
            new.value = number + 1
        case ast.Constant(value=float(number)):
            new.value = 2 * number or 1.0
        case ast.Expr(value=ast.Call() | ast.Tuple()):
            return ast.Pass()  # a check, or a change, that is left out
        case _:
            return None
    return new


def _idle(tree: ast.AST) -> set[int]:
    """Nodes that say nothing a test could see: annotations, messages, doctests, imports."""
    found: set[int] = set()
    for node in ast.walk(tree):
        skipped: list[ast.AST | None] = []
        match node:
            case ast.FunctionDef():
                every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                skipped = [node.returns, *(a.annotation for a in every)]
            case ast.AnnAssign():
                skipped = [node.annotation]
            case ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
                skipped = [node]
            case ast.Assign(value=ast.Subscript(value=ast.Name(id="Float" | "Int" | "Num"))):
                skipped = [node]
            case ast.Assign(value=value) if "Tensor" in ast.unparse(value) and "[" in ast.unparse(
                value
            ):
                skipped = [node]  # a type
        found |= {id(inner) for each in skipped if each for inner in ast.walk(each)}
    return found


def mutated(mutant: Mutant) -> str:
    """The module's source with the fault."""
    tree = ast.parse((PACKAGE / f"{mutant.module}.py").read_text(encoding="utf-8"))
    wanted = [*ast.walk(tree)][mutant.place]
    changed = _changed(wanted)
    assert changed is not None

    class Plant(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return changed if node is wanted else self.generic_visit(node)

    return ast.unparse(ast.fix_missing_locations(Plant().visit(tree)))


def drawn(draw: int, seed: int) -> list[Mutant]:
    """At least EACH faults of every module, and others, in an order of the seed alone."""
    rng = random.Random(seed)
    rooms = sorted(
        path.relative_to(PACKAGE).with_suffix("").as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.stem not in OUTSIDE
    )
    first, rest = [], []
    for room in rooms:
        every = list(mutants(room))
        rng.shuffle(every)
        first += every[:EACH]
        rest += every[EACH:]
    rng.shuffle(rest)
    chosen = first + rest[: max(draw - len(first), 0)]
    rng.shuffle(chosen)
    return chosen


def covering(mutant: Mutant) -> list[str]:
    """The test files that reach the mutated function by name, the nearest first."""
    tests = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py")}
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    uses: dict[str, set[str]] = {}
    for text in texts:
        for node in ast.parse(text).body:
            name = getattr(node, "name", None) or (
                node.targets[0].id
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
                else None
            )
            if name:
                uses.setdefault(name, set()).update(re.findall(r"\w+", ast.unparse(node)))
    near = {mutant.owner} if mutant.owner else set(uses)
    hops = [near]
    while hops[-1]:
        known = set().union(*hops)
        hops.append({f for f, named in uses.items() if f not in known and named & hops[-1]})
    found: list[Path] = sorted((ROOT / "tests").glob(f"test_{Path(mutant.module).stem}.py"))
    for names in hops:
        wanted = re.compile(rf"\b({'|'.join(map(re.escape, names)) or '(?!)'})\b")
        often = {p: len(wanted.findall(text)) / len(text) for p, text in tests.items()}
        near_first = sorted(often, key=lambda p: (-often[p], p.name))
        found += [p for p in near_first if often[p] and p not in found]
    slow = {"test_browser", "test_explorer", "test_pages", "test_kept", "test_book_map"}
    slow |= {"test_contracts", "test_environment", "test_ledger", "test_errata", "test_cuda"}
    kept = [path for path in found if path.stem not in slow]
    kept.sort(key=lambda path: path.stem in WIDE)
    return [str(path.relative_to(ROOT)) for path in kept]


def verdict(mutant: Mutant, timeout: float = SLOW) -> tuple[str, str]:
    """Killed and by which test, survived, or undecided if the time is over."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder, "cisp"), ignore=shutil.ignore_patterns("__pycache__"))
        Path(folder, "cisp", f"{mutant.module}.py").write_text(mutated(mutant), encoding="utf-8")
        env = {**os.environ, "PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-n0", "-q", "-x", "--tb=line", "--no-header"]
        command += ["-p", "no:cacheprovider", "-p", "no:nbval", "-rf"]
        command += ["-o", "addopts=--jaxtyping-packages=cisp,beartype.beartype"]
        try:
            done = subprocess.run(
                [*command, *covering(mutant)],
                cwd=ROOT,
                env=env,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            return "undecided", ""
    if done.returncode == NO_TESTS or not covering(mutant):
        return "no tests", ""
    by = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", done.stdout, re.MULTILINE)
    return ("survived", "") if done.returncode == 0 else ("killed", by[1] if by else "at import")


def main() -> None:
    """The score of the faults drawn, and those that survived."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--draw", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--skip", type=int, default=0)
    options.add_argument("--only", default="", help="a regular expression of modules")
    options.add_argument("--minutes", type=float, default=float("inf"))
    options.add_argument("--slow", type=float, default=SLOW)
    given = options.parse_args()
    end, told = time.monotonic() + 60 * given.minutes, dict[str, list[Mutant]]()
    chosen = drawn(given.draw, given.seed)
    for k, mutant in enumerate(chosen):
        if k < given.skip or not re.match(given.only, mutant.module):
            continue
        if time.monotonic() > end:
            break
        start = time.monotonic()
        found, by = verdict(mutant, min(given.slow, max(end - start, 60)))
        told.setdefault(found, []).append(mutant)
        where = f"{mutant.module}.py:{mutant.line} {mutant.owner}"
        print(
            f"{k:4} {found:9} {time.monotonic() - start:5.0f} s  {where}: {mutant.says}", flush=True
        )
    counts = {name: len(each) for name, each in told.items()}
    killed, survived = counts.get("killed", 0), counts.get("survived", 0)
    print(f"{len(chosen)} drawn, {sum(counts.values())} run: {counts}")
    print(f"score {killed / max(killed + survived, 1):.1%} of {killed + survived} decided")


if __name__ == "__main__":
    main()
