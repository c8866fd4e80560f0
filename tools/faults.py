"""Small faults in src/cisp, one at a time, drawn from a seed."""

import ast
import random
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent / "src" / "cisp"
EACH = 4  # faults in a module, at least
OUTSIDE = {"plots", "__init__"}  # arrays in, axes out; names only
# Faults that change nothing that could be seen, read one by one: module, line and fault, and why.
EQUAL: dict[tuple[str, str, str], str] = {
    (
        "designs",
        "plans = [(n // S, 0)]",
        "0  ->  1",
    ): "so few rows are placed before the size of their groups is asked for",
    (
        "silence",
        "PAIRS = 2**16  # of them, those whose sums are made together",
        "2 ** 16  ->  2 * 16",
    ): "how many sums are made together changes none of them",
    (
        "testbed/activity",
        "p.sum() < mean * (1 - 1e-9) and (p < 1).any()",
        "1e-09  ->  2e-09",
    ): "what is left to share out is either far more, or the rounding of a sum",
    (
        "testbed/export",
        '(folder / "config.json").write_text(json.dumps(config, indent=1) + "\\n", encodin',
        "1  ->  2",
    ): "the same JSON with other white space",
    (
        "testbed/bed",
        "marks = torch.zeros(len(self.active), T + 1, dtype=torch.bool, device=self.activ",
        "1  ->  2",
    ): "columns from T on are cut off",
    (
        "testbed/scores",
        "found.append(u[:, (s > 1e-3).nonzero().flatten()[:r]])",
        "s > 0.001  ->  s >= 0.001",
    ): "no singular value is the threshold to its last bit",
    (
        "inputs",
        "@dataclass(frozen=True)",
        "True  ->  False",
    ): "a class of the module's own, which nothing assigns to and nothing hashes",
    (
        "remembered",
        'f"the result kept for {numbers} was changed; it is made again", stacklevel=2',
        "2  ->  3",
    ): "the warning names one line of joblib, which calls, or another",
    (
        "theory/critical",
        "cost[cost > a + 1e-12] = inf  # not one of them in a wide network",
        "1e-12  ->  2e-12",
    ): "room for rounding: costs are sums of a few a and 1, equal or far apart",
    (
        "plans",
        "job = replace(job, draws=max(job.draws // 4, 2 * job.z))",
        "job.draws // 4  ->  job.draws * 4",
    ): "a search with more draws finds the same, later",
    (
        "plans",
        "middle = min(max(round((low * high) ** 0.5), low + 1), high - 1)",
        "low * high  ->  low / high",
    ): "another point between the two; the search ends where it did",
    (
        "plans",
        "@dataclass(frozen=True, eq=False)",
        "False  ->  True",
    ): "a class of the module's own, never compared",
    (
        "silence",
        "most = [each / share for each in most]",
        "each / share  ->  each * share",
    ): "a looser bound: more pairs are looked at, and none is louder for it",
    (
        "channels",
        "rows = _rows(0, (w.shape[1] - first) // len(counts), first)",
        "1  ->  2",
    ): "weights are square",
    (
        "theory/evolution/indicators",
        "levels = sends[0][0].shape[3] - 1",
        "0  ->  1",
    ): "both have as many levels",
    (
        "wiring",
        "order = positions.argsort(stable=True)",
        "True  ->  False",
    ): "another order of the same sums",
    (
        "theory/evolution/prediction",
        'count("T", T, low=2), count("S", S), count("z", z), count("L", L, high=DEEPEST)',
        "2  ->  3",
    ): "T below z + 2 is refused a line later",
}

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
    text: str
    owner: str
    says: str
    within: str  # module:line of the statement that reaches it, empty if it runs at import


def mutants(module: str) -> Iterator[Mutant]:
    """All faults of a module, in order."""
    source = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    owners = {
        id(inner): node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        for inner in ast.walk(node)
    }
    idle, within = _idle(tree), _within(tree)
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in idle:
            continue
        changed = _changed(node)
        if changed is not None:
            says = "  ->  ".join(_on_one_line(each) for each in (node, changed))
            line: int = getattr(node, "lineno")  # noqa: B009  # all that change have one
            reached = f"{module}:{within[id(node)]}" if id(node) in within else ""
            owner = owners.get(id(node), "")
            yield Mutant(module, place, line, lines[line - 1].strip()[:80], owner, says, reached)


def _within(tree: ast.AST) -> dict[int, int]:
    """Of each node in a function the line of its statement; of its defaults, of the first one."""
    found: dict[int, int] = {}
    for function in ast.walk(tree):  # the outer before the inner
        if isinstance(function, ast.FunctionDef):
            body = function.body[ast.get_docstring(function) is not None :] or function.body
            for node in ast.walk(function):
                found.setdefault(id(node), body[0].lineno)
            for statement in ast.walk(function):
                if isinstance(statement, ast.stmt) and statement is not function:
                    found.update((id(node), statement.lineno) for node in ast.walk(statement))
    return found


def statements(mutant: Mutant) -> set[str]:
    """The statement (module:line) that holds the fault, or all those of functions that name it."""
    if mutant.within:
        return {mutant.within}
    rooms = {
        path.relative_to(PACKAGE).with_suffix("").as_posix(): ast.parse(
            path.read_text(encoding="utf-8")
        ).body
        for path in PACKAGE.rglob("*.py")
    }
    last = max(
        (d for d in rooms[mutant.module] if d.lineno <= mutant.line or _decorated(d, mutant.line)),
        key=lambda d: d.lineno,
    )
    names, defined = (
        {*_defined(last)},
        [(_defined(d), _words(d)) for r in rooms.values() for d in r],
    )
    while more := {n for new, words in defined if words & names for n in new} - names:
        names |= more
    found: set[str] = set()
    for room, body in rooms.items():
        for d in body:
            for function in (f for f in ast.walk(d) if isinstance(f, ast.FunctionDef)):
                if names & {*re.findall(r"\w+", ast.unparse(function)), *_defined(d)}:
                    inner = (s for s in ast.walk(function) if isinstance(s, ast.stmt))
                    found |= {f"{room}:{s.lineno}" for s in inner}
    return found


def _decorated(node: ast.stmt, line: int) -> bool:
    return any(d.lineno <= line for d in getattr(node, "decorator_list", []))


def _defined(node: ast.stmt) -> list[str]:
    """What a statement at import defines, functions aside."""
    match node:
        case ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _words(node: ast.stmt) -> set[str]:
    """The words of a statement at import, functions aside."""
    if isinstance(node, ast.ClassDef):
        body = [x for x in node.body if not isinstance(x, ast.FunctionDef)]
        outside: list[ast.AST] = [*body, *node.bases, *node.decorator_list]
        return {w for each in outside for w in re.findall(r"\w+", ast.unparse(each))}
    if isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom):
        return set()
    return {*re.findall(r"\w+", ast.unparse(node))}


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
    """At least EACH faults of every module, and others; what one module gives, none other moves."""
    first, rest = [], []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).with_suffix("").as_posix()
        if path.stem not in OUTSIDE:
            every = list(mutants(room))
            random.Random(f"{seed} {room}").shuffle(every)
            first += every[:EACH]
            rest += every[EACH:]
    rng = random.Random(seed)
    rng.shuffle(rest)
    chosen = first + rest[: max(draw - len(first), 0)]
    rng.shuffle(chosen)
    return chosen
