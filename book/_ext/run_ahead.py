"""Run notebooks ahead of the page that is read, as many at a time as JOBS says (2 unless it does).

Every build runs every notebook: nothing is kept, so nothing can be of other code. A run is taken
only by the page with the very same code.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from myst_nb.core.execute import direct
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

runs: dict[tuple[str, ...], Future[ExecutionResult]] = {}


def start(app: Sphinx, env: BuildEnvironment, names: list[str]) -> None:
    """Start with the notebooks, in the order in which their pages are read."""
    if app.config.nb_execution_mode != "force" or app.config.nb_execution_in_temp:
        return
    options = {
        "allow_errors": app.config.nb_execution_allow_errors,
        "timeout": app.config.nb_execution_timeout,
        "meta_override": True,
    }
    pool = ThreadPoolExecutor(int(os.environ.get("JOBS") or 2))
    for path in (Path(env.doc2path(name)) for name in sorted(names)):
        if path.suffix == ".ipynb":
            notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
            given = {"cwd": str(path.parent), **options}
            runs[_key(notebook, given)] = pool.submit(single_nb_execution, notebook, **given)
    pool.shutdown(wait=False)


def taken(notebook: nbformat.NotebookNode, **given: Any) -> ExecutionResult:
    """The notebook, run in place: what its run ahead gave, or a run of its own."""
    ahead = runs.pop(_key(notebook, given), None)
    if ahead is None:
        return single_nb_execution(notebook, **given)
    done = ahead.result()
    notebook.update(done.nb)
    done.nb = notebook
    return done


def _key(notebook: nbformat.NotebookNode, given: dict[str, Any]) -> tuple[str, ...]:
    """All that the outputs may depend on: where and how it is run, its kernel, its cells."""
    kernel = notebook.metadata.get("kernelspec", {}).get("name", "")
    return (
        *map(repr, sorted(given.items())),
        kernel,
        *(cell.source for cell in notebook.cells if cell.cell_type == "code"),
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    direct.single_nb_execution = taken
    app.connect("env-before-read-docs", start)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
