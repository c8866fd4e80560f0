"""A digest of what functions do: the definitions behind them, wherever these stand."""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from inspect import getsource, getsourcefile, isbuiltin, isclass, isfunction, ismethod, unwrap
from pathlib import Path
from textwrap import dedent
from types import CodeType

PACKAGE, NAME = Path(__file__).parent, __name__.partition(".")[0]
ARRAYS = ("Float", "Int", "Num", "Complex")  # a constant made of these only describes

Definition = tuple[str, str, set[str]]  # module, bare text, names mentioned, with their dots


@dataclass(frozen=True)
class Module:
    """The definitions of a file by the names they bind, and what its imports mean, with dots."""

    defined: dict[str, Definition]
    imported: dict[str, str]
    stars: list[str]


def digest(*functions: Callable[..., object], beside: Iterable[Path] = ()) -> str:
    """16 hexadecimal digits that change when what the functions do may have changed.

    Digested are the functions and every definition (function, class or constant at the top of a
    module) that these mention, and that those mention in turn. A name means what its module defines
    or imports; definitions are looked for in this package, in the functions' own files and in the
    files `beside`. So moving a definition changes nothing, nor does a comment, a docstring, an
    annotation, an import, or a new name that none of them mentions. What a function is given as an
    argument is not seen, nor what it looks up by a name made as it runs.
    """
    plain = [_plainly(f) for f in functions]
    own = {f.__module__: Path(_file(f)) for f in plain}
    files = own | {_dotted(path): path for path in (*beside, *PACKAGE.rglob("*.py"))}
    known = {
        name: _module(name, path.stem == "__init__", path.read_text(encoding="utf-8"))
        for name, path in files.items()
        if path.is_file()
    }
    waiting = [_itself(f) for f in plain]
    waiting += [d for f in plain for d in _meant(known, f.__module__, f.__qualname__)]
    found: set[tuple[str, str]] = set()
    while waiting:
        module, text, names = waiting.pop()
        if (module, text) not in found:
            found.add((module, text))
            for name in names:
                waiting += _meant(known, module, name)
    return sha256("\n".join(sorted({text for _, text in found})).encode()).hexdigest()[:16]


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


def _dotted(path: Path) -> str:
    """The name of the module in a file of this package, or of another."""
    top = PACKAGE if path.is_relative_to(PACKAGE) else _top(path.parent)
    *folders, last = path.relative_to(top).with_suffix("").parts
    name = NAME if top == PACKAGE else top.name
    return ".".join([name, *folders, *([] if last == "__init__" else [last])])


def _top(folder: Path) -> Path:
    """The outermost package that a package lies in."""
    above = folder.parent
    return _top(above) if (above / "__init__.py").exists() else folder


@cache
def _module(name: str, package: bool, text: str) -> Module:
    """A file as read; a definition stands under every name that it binds."""
    tree, module = ast.parse(text), Module({}, {}, [])
    room = name.split(".")[: None if package else -1]  # where its relative imports start
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:  # `import a.b` binds a
                bound = a.asname or a.name.partition(".")[0]
                module.imported[bound] = a.name if a.asname else bound
        elif isinstance(node, ast.ImportFrom):
            above = room[: len(room) + 1 - node.level] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            for a in node.names:
                if a.name == "*":
                    module.stars.append(source)
                else:
                    module.imported[a.asname or a.name] = f"{source}.{a.name}"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = {node.name}
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not _says_nothing(node):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {x.id for t in targets for x in ast.walk(t) if isinstance(x, ast.Name)}
        else:
            continue
        definition = name, bare(node), _mentioned(node)
        module.defined.update(dict.fromkeys(names, definition))
    return module


def _meant(known: Mapping[str, Module], module: str, name: str) -> Iterator[Definition]:
    """The definition that a name with dots means in a module; in none, all that are so called."""
    if not module:
        for part in name.split("."):
            yield from (m.defined[part] for m in known.values() if part in m.defined)
    elif module in known:
        here, (head, _, rest) = known[module], name.partition(".")
        if head in here.defined:
            yield here.defined[head]
        elif head in here.imported:
            yield from _followed(known, f"{here.imported[head]}.{rest}".rstrip("."))
        for star in here.stars:
            yield from _followed(known, f"{star}.{name}")


def _followed(known: Mapping[str, Module], path: str) -> Iterator[Definition]:
    """The definition at the end of a path from the top of a package."""
    module = path
    while module and module not in known:
        module = module.rpartition(".")[0]
    if module != path and module:
        yield from _meant(known, module, path.removeprefix(f"{module}."))


def _plainly(function: Callable[..., object]) -> Callable[..., object]:
    """The function behind a partial, a decorator or a method; an object's class stands for it."""
    while isinstance(function, partial) or ismethod(function):
        function = function.func if isinstance(function, partial) else function.__func__
    function = unwrap(function)
    known = isfunction(function) or isclass(function) or isbuiltin(function)
    return function if known else type(function)


def _itself(function: Callable[..., object]) -> Definition:
    """One function or class; what has no source stands for itself, by its name.

    One whose file is not there any more (a cell of a notebook) or that cannot be read by itself (a
    lambda within a statement) has no module: all that is called as it says is meant.
    """
    name = getattr(function, "__qualname__", repr(function))
    try:
        text = getsource(function)
    except (TypeError, OSError):
        return "", f"{function.__module__}.{name}", set()
    scope: dict[str, object] = getattr(function, "__globals__", {})
    cells = getattr(function, "__closure__", None) or ()
    values = [cell.cell_contents for cell in cells]
    bound = [value for value in values if isinstance(value, str | int | float | tuple)]
    try:
        node = ast.parse(dedent(text)).body[0]
        text, names = bare(node), _mentioned(node)
        if Path(_file(function)).is_file():
            return function.__module__, f"{text} {bound}", names
    except SyntaxError:
        names = set(_names(function.__code__))
    meant = {getattr(scope.get(name), "__name__", name) for name in names}
    return "", f"{text} {bound}", names | meant


def _file(function: Callable[..., object]) -> str:
    """Where the source of a function or class is, or was; nothing where it has none."""
    try:
        return getsourcefile(function) or ""
    except TypeError:
        return ""


def _mentioned(node: ast.AST) -> set[str]:
    """The names that a definition of `bare` text uses, with the attributes that follow them."""
    names = set()
    for x in ast.walk(node):
        path: list[str] = []
        while isinstance(x, ast.Attribute):
            path.append(x.attr)
            x = x.value
        if isinstance(x, ast.Name):
            names.add(".".join([x.id, *reversed(path)]))
    return names


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
