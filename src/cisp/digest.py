"""A digest of what functions do: the definitions behind them, wherever these stand."""

import __future__

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from hashlib import sha256
from inspect import getsource, getsourcefile, isbuiltin, isclass, isfunction, ismethod, unwrap
from pathlib import Path
from textwrap import dedent
from types import CodeType

PACKAGE = Path(__file__).parent
ARRAYS = ("Float", "Int", "Num", "Complex")  # a constant made of these only describes

Definition = tuple[str, str, str, set[str]]  # file, name, bare text, names mentioned


def digest(*functions: Callable[..., object], beside: Iterable[Path] = ()) -> str:
    """16 hexadecimal digits that change when what the functions do may have changed.

    Digested are the functions and every definition (function, class or constant at the top of a
    module) that these mention, and that those mention in turn. Definitions are looked for by name
    in this package, in the functions' own files and in the files `beside`, private names in the
    same file only: so moving a definition changes nothing, nor does a comment, a docstring, an
    annotation or an import. What a function is given as an argument is not seen, nor what it looks
    up by a name made as it runs.
    """
    plain = [_plainly(f) for f in functions]
    own = [Path(getsourcefile(f) or "") for f in plain if isfunction(f)]
    files = {path.resolve() for path in (*PACKAGE.rglob("*.py"), *beside, *own) if path.is_file()}
    known = [definition for file in files for definition in _definitions(file)]
    waiting = [_itself(f) for f in plain]
    found: set[str] = set()
    while waiting:
        file, _, text, names = waiting.pop()
        if text not in found:
            found.add(text)
            waiting += [d for d in known if d[1] in names and (d[0] == file or d[1][0] != "_")]
    return sha256("\n".join(sorted(found)).encode()).hexdigest()[:16]


def bare(node: ast.AST) -> str:
    """A syntax tree as text, less its docstrings, annotations, array types and imports.

    The tree is changed. The text is the same in every version of Python.
    """
    for child in ast.walk(node):
        if isinstance(body := getattr(child, "body", None), list):
            body[:] = [statement for statement in body if not _says_nothing(statement)]
        for name in ("annotation", "returns"):
            if getattr(child, name, None) is not None:
                setattr(child, name, None)
    return repr(_plain(node))


def _definitions(file: Path) -> Iterable[Definition]:
    """The definitions of a file, each under every name that it binds."""
    return _defined(str(file), file.read_text(encoding="utf-8"))


@cache
def _defined(file: str, text: str) -> list[Definition]:
    tree, found = ast.parse(text), []
    imports = [x for x in ast.walk(tree) if isinstance(x, ast.Import | ast.ImportFrom)]
    aliases = {a.asname: a.name for x in imports for a in x.names if a.asname}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound = {node.name}
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not _says_nothing(node):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound = {x.id for t in targets for x in ast.walk(t) if isinstance(x, ast.Name)}
        else:
            continue
        names = {aliases.get(name, name).rpartition(".")[2] for name in _mentioned(node)}
        text = bare(node)
        found += [(file, name, text, names) for name in bound]
    return found


def _plainly(function: Callable[..., object]) -> Callable[..., object]:
    """The function behind a partial, a decorator or a method; an object's class stands for it."""
    while isinstance(function, partial) or ismethod(function):
        function = function.func if isinstance(function, partial) else function.__func__
    function = unwrap(function)
    known = isfunction(function) or isclass(function) or isbuiltin(function)
    return function if known else type(function)


def _itself(function: Callable[..., object]) -> Definition:
    """One function or class; what has no source stands for itself, by its name."""
    name = getattr(function, "__qualname__", repr(function))
    try:
        file, text = getsourcefile(function) or "", getsource(function)
    except (TypeError, OSError):
        return "", "", f"{function.__module__}.{name}", set()
    scope: dict[str, object] = getattr(function, "__globals__", {})
    cells = getattr(function, "__closure__", None) or ()
    values = [cell.cell_contents for cell in cells]
    bound = [value for value in values if isinstance(value, str | int | float | tuple)]
    try:
        node = ast.parse(dedent(text)).body[0]
        names = _mentioned(node)
        text = bare(node)
    except SyntaxError:  # a lambda within a statement
        names = set(_names(function.__code__))
    meant = {getattr(scope.get(name), "__name__", name).rpartition(".")[2] for name in names}
    return str(Path(file).resolve()), name, f"{text} {bound}", names | meant


def _mentioned(node: ast.stmt) -> set[str]:
    """The globals and attributes that a definition uses, those in annotations left out."""
    module = ast.Module([node], [])
    flag = __future__.annotations.compiler_flag
    return set(_names(compile(module, "", "exec", flag, dont_inherit=True)))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _says_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        names = (x.id for x in ast.walk(node.value) if isinstance(x, ast.Name))
        return any(name in ARRAYS for name in names)
    return isinstance(node, ast.Import | ast.ImportFrom)


def _plain(node: object) -> object:
    """A syntax tree as tuples and lists, without what a newer Python adds empty."""
    if isinstance(node, ast.AST):
        fields = [(k, _plain(v)) for k, v in ast.iter_fields(node) if v is not None and v != []]
        return type(node).__name__, fields
    return [_plain(child) for child in node] if isinstance(node, list) else node
