"""Execute notebooks in place and keep text outputs only, so that a second run changes nothing.

Two at a time, the ledger last: it reads what the others have stored. The figure of the introduction
is kept beside it, for the README.
"""

import sys
from base64 import b64decode
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient

DROPPED = ("image/", "application/vnd")


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
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        errors = [o for o in cell.get("outputs", []) if o.get("name") == "stderr"]
        for output in errors:  # a warning carries a path and a process number
            if "StaleWarning" not in output.text:
                raise RuntimeError(f"{path} cell {number} wrote to stderr: {output.text}")
            print(f"{path} cell {number}: {output.text}", flush=True)
            cell.outputs.remove(output)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if path.stem == "intro" and "image/png" in data:
                (path.parent / "_static" / "intro.png").write_bytes(b64decode(data["image/png"]))
            for kind in [k for k in data if k.startswith(DROPPED)]:
                del data[kind]
            output.pop("metadata", None) if output.output_type == "stream" else None
            if "metadata" in output:
                output.metadata = {k: v for k, v in output.metadata.items() if k == "scrapbook"}
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]]
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(refresh, [path for path in paths if path.stem != "ledger"]))
    for path in paths:
        if path.stem == "ledger":
            refresh(path)
