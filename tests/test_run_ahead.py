"""The book's notebooks run two at a time, in each build anew."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
from test_prints import CONF, printed

CELL = """
import time
from pathlib import Path

Path("{mine}").touch()
for _ in range(600):
    if Path("{other}").exists():
        break
    time.sleep(0.1)
print("met" if Path("{other}").exists() else "alone", Path("beside.txt").read_text())
"""
CELLS = {
    "index": CELL.format(mine="one", other="two"),
    "more": CELL.format(mine="two", other="one") + 'assert Path("beside.txt").read_text() == "old"',
}


def built(source: Path) -> subprocess.CompletedProcess[str]:
    """A build of a page for each of the two notebooks; its warnings are errors."""
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going"]
    return subprocess.run(
        [*command, source, source.parent / "built"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "JOBS": "2"},
    )


def test_two_notebooks_run_at_a_time_on_the_code_as_it_is_and_a_failure_is_one(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    conf = CONF.replace("theme_mends", "run_ahead").replace("sphinx_book_theme", "basic")
    (source / "conf.py").write_text(conf, encoding="utf-8")
    for name, cell in CELLS.items():
        contents = "\n\n```{toctree}\nmore\n```" if name == "index" else ""
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [
            nbformat.v4.new_markdown_cell(f"# {name}{contents}"),
            nbformat.v4.new_code_cell(cell),
        ]
        nbformat.write(notebook, source / f"{name}.ipynb")
    for beside in ("old", "new"):
        for name in ("one", "two"):
            (source / name).unlink(missing_ok=True)
        (source / "beside.txt").write_text(beside, encoding="utf-8")
        done = built(source)
        assert ("CellExecutionError" in done.stderr) == (beside == "new")
        assert (done.returncode != 0) == (beside == "new")
        for name in CELLS:
            page = (tmp_path / f"built/{name}.html").read_text(encoding="utf-8")
            assert printed(page).strip() == f"met {beside}"
