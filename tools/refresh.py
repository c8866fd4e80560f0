"""Execute notebooks in place and keep text outputs only, so that a second run changes nothing.

Two at a time, the ledger last: it reads what the others have stored. Then every number that a cell
claims is written into the text of all pages, before the comment that names it. The figure of the
introduction is kept beside it, for the README.
"""

import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from cisp_book.claims import MARKED, OUTSIDE, claimed, in_text

DROPPED = ("image/", "application/vnd")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def refresh(path: Path) -> None:
    """Run one notebook in its own folder; store counts, text outputs and minimal metadata.

    What it says of a kept table that is stale is printed and not stored.
    """
    print(path, flush=True)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    notebook.metadata = {"kernelspec": KERNEL, "language_info": notebook.metadata.language_info}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        if cell.cell_type == "code":
            fold(cell)
        errors = [o for o in cell.get("outputs", []) if o.get("name") == "stderr"]
        for output in errors:  # a warning carries a path and a process number
            if "StaleWarning" not in output.text:
                raise RuntimeError(f"{path} cell {number} wrote to stderr: {output.text}")
            print(f"{path} cell {number}: {output.text}", flush=True)
            cell.outputs.remove(output)
        for output in cell.get("outputs", []):
            if OUTSIDE in output.get("text", ""):
                raise RuntimeError(f"{path} cell {number}: {output.text}")
            data = output.get("data", {})
            if path.stem == "intro" and "image/svg+xml" in data:
                lines = data["image/svg+xml"].splitlines()
                picture = "\n".join(line.rstrip() for line in lines) + "\n"
                (path.parent / "_static" / "intro.svg").write_text(picture, encoding="utf-8")
            for kind in [k for k in data if k.startswith(DROPPED)]:
                del data[kind]
            if "metadata" in output:
                output.metadata = {k: v for k, v in output.metadata.items() if k == "ledger"}
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def fold(cell: nbformat.NotebookNode) -> None:
    """Fold a cell in JupyterLab as its tags do in the book, in the keys that it writes."""
    tags = {*cell.metadata.get("tags", [])}
    whole = tags & {"hide-cell", "remove-cell"}
    hidden = {
        "source_hidden": bool(whole or tags & {"hide-input", "remove-input"}),
        "outputs_hidden": bool(whole or tags & {"hide-output", "remove-output"}),
    }
    cell.metadata.pop("collapsed", None)
    cell.metadata.pop("jupyter", None)
    if any(hidden.values()):
        cell.metadata["jupyter"] = {name: True for name, is_so in hidden.items() if is_so}
    if hidden["outputs_hidden"]:
        cell.metadata["collapsed"] = True


def write_numbers(pages: list[Path]) -> None:
    """Put what the cells of these pages claim into the text of all of them."""
    shown = {key: in_text(value) for page in pages for key, value in claimed(page).items()}
    for page in pages:
        notebook = nbformat.read(page, as_version=4)
        before = [cell.source for cell in notebook.cells]
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = re.sub(MARKED, lambda m: f"{shown[m[2]]}<!--{m[2]}-->", cell.source)
        if [cell.source for cell in notebook.cells] != before:
            nbformat.write(notebook, page)


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]]
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(refresh, [path for path in paths if path.stem != "ledger"]))
    write_numbers(sorted(Path("book").glob("*.ipynb")))
    for path in paths:
        if path.stem == "ledger":
            refresh(path)
