"""What a cell prints looks the same in every build of the book: as it is stored and compared."""

import html
import re
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
CELL = """
import time
from pathlib import Path

print("mean:", end="", flush=True)
time.sleep({pause})  # the kernel sends what it has
print(" [1]", flush=True)
print("one line\\n\\n\\nand another", end="  ")
"""
CONF = f"""
import sys
sys.path.insert(0, {str(ROOT / "book/_ext")!r})
extensions = ["myst_nb", "theme_mends"]
html_theme = "sphinx_book_theme"
nb_execution_mode = "force"
nb_merge_streams = True
"""


def shown(folder: Path, pause: float) -> str:
    """What a built page of one cell shows, the pieces of its line apart by a pause in seconds."""
    source = folder / "source"
    source.mkdir(parents=True)
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_markdown_cell("# A page"),
        nbformat.v4.new_code_cell(CELL.format(pause=pause)),
    ]
    nbformat.write(notebook, source / "index.ipynb")
    (source / "conf.py").write_text(CONF, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "sphinx", "-q", source, folder / "built"], check=True)
    return printed((folder / "built/index.html").read_text(encoding="utf-8"))


def printed(page: str) -> str:
    """The text of all outputs of a page."""
    blocks = re.findall(r'<div class="output stream highlight.*?<pre>(.*?)</pre>', page, re.S)
    return "".join(html.unescape(re.sub("<.*?>", "", block)) for block in blocks)


def test_two_builds_show_the_same_whatever_pieces_the_kernel_sends(tmp_path: Path) -> None:
    slowly, at_once = (shown(tmp_path / str(pause), pause) for pause in (0.6, 0))
    assert slowly == at_once
    assert at_once.startswith("mean: [1]\none line\n\n\nand another")
