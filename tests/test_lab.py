"""The chapters in JupyterLab, of this environment: whole text, whole formulas, nothing changed."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns

import nbformat
import pytest
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent
PAGES = sorted(page.stem for page in (ROOT / "book").glob("*.ipynb"))
RUN = ("01_rotation_circuit", "03_embedding_vectors", "05_readout")
FAULTS = {
    "no role": ("# ", "# {eq}`eq-5-20` "),
    "no key": ("# ", "# ch5-mse-2 "),
    "no broken formula": ("# ", r"# $\ket{e}$ $\undefined$ "),
    "no change": ('"Python 3 (ipykernel)"', '"Another"'),
}
TEXT = """() => [...document.querySelectorAll('.jp-Notebook .jp-MarkdownOutput')]
  .flatMap(e => {
    const copy = e.cloneNode(true)
    copy.querySelectorAll('mjx-container, code, pre').forEach(each => each.remove())
    return [copy.textContent]
  }).join('\\n')"""
BROKEN = """() => [...document.querySelectorAll(
  'mjx-merror, [data-mjx-error], mjx-mtext[style*="color: red"]')]
  .map(e => e.textContent)"""
WAITING = """() => document.querySelectorAll('.jp-MarkdownCell:not(.jp-mod-rendered)').length"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of JupyterLab on a copy of the book, and the copy."""
    here = tmp_path_factory.mktemp("lab")
    folder = copytree(ROOT / "book", here / "book", ignore=ignore_patterns("_*", ".*"))
    for page in folder.glob("*.ipynb"):  # stored by another Python, it would be changed rightly
        notebook = nbformat.read(page, 4)
        notebook.metadata.language_info.version = sys.version.split()[0]
        nbformat.write(notebook, page)
    for number, (old, new) in enumerate(FAULTS.values()):
        text = (folder / "05_readout.ipynb").read_text(encoding="utf-8")
        assert old in text
        (folder / f"fault{number}.ipynb").write_text(
            text.replace(old, json.dumps(new)[1:-1] if old == "# " else new, 1), encoding="utf-8"
        )
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    own = {name: str(here / name) for name in names}
    settings = here / "JUPYTER_CONFIG_DIR" / "lab/user-settings/@jupyterlab/notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(
        '{"windowingMode": "none"}', encoding="utf-8"
    )
    quiet = here / "JUPYTER_CONFIG_DIR" / "labconfig"
    quiet.mkdir()
    off = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (quiet / "page_config.json").write_text(json.dumps(off), encoding="utf-8")
    command = [sys.executable, "-m", "jupyterlab", str(folder), "--no-browser", "--allow-root",
               "--port=0", "--IdentityProvider.token=", "--expose-app-in-browser"]  # fmt: skip
    log = here / "log"
    with log.open("w", encoding="utf-8") as out:
        server = subprocess.Popen(command, env=os.environ | own, stderr=out, stdout=out)
    try:
        for _ in range(600):
            if found := re.search(
                r"http://(?:localhost|127.0.0.1):\d+", log.read_text(encoding="utf-8")
            ):
                break
            time.sleep(0.1)
        assert found, log.read_text(encoding="utf-8")
        yield found[0].replace("localhost", "127.0.0.1"), folder
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def app(browser: Browser, lab: tuple[str, Path]) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(180_000)
    page.goto(f"{lab[0]}/lab?reset")
    page.wait_for_function("() => window.jupyterapp?.shell")
    page.wait_for_selector("#jp-main-dock-panel")
    yield page
    page.close()


def command(app: Page, name: str, **arguments: str) -> None:
    app.evaluate("([name, args]) => jupyterapp.commands.execute(name, args)", [name, arguments])


def open_page(app: Page, name: str) -> None:
    """Open a notebook alone, and wait until its text is rendered and its kernel idle."""
    app.evaluate("() => [...jupyterapp.shell.widgets('main')].forEach(each => each.dispose())")
    app.evaluate("() => jupyterapp.serviceManager.sessions.shutdownAll()")
    app.evaluate(
        """async path => {
          const panel = await jupyterapp.commands.execute('docmanager:open', {path})
          await panel.context.ready
          await panel.sessionContext.ready
          await panel.revealed
        }""",
        f"{name}.ipynb",
    )
    app.wait_for_selector(".jp-MarkdownOutput")
    app.wait_for_function(f"() => ({WAITING})() === 0")
    app.wait_for_function("() => !/\\$[^$]+\\$/.test((" + TEXT + ")())")
    app.wait_for_timeout(300)  # what the kernel tells is taken over


def faults(app: Page) -> list[str]:
    """What a reader of the open notebook should not see."""
    text: str = app.evaluate(TEXT)
    found = [f"no role: {m[0]}" for m in re.finditer(r"\{[\w:-]+\}", text)]
    found += [f"no key: {m[0]}" for m in re.finditer(r"\bch\d+-[\w-]+|<!--|\bexplorer-\w+", text)]
    found += [f"no broken formula: {formula}" for formula in app.evaluate(BROKEN)]
    found += [f"no broken formula: {m[0]}" for m in re.finditer(r"\\[a-zA-Z]{2,}", text)]
    dirty = app.locator(".lm-TabBar-tab.jp-mod-dirty").count()
    return found + ["no change: the tab is dirty"] * dirty


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_in_jupyterlab(app: Page, name: str) -> None:
    open_page(app, name)
    assert faults(app) == []


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[*FAULTS])
def test_a_planted_fault_is_seen_in_jupyterlab(app: Page, number: int) -> None:
    open_page(app, f"fault{number}")
    assert [fault for fault in faults(app) if fault.startswith([*FAULTS][number])]


@pytest.mark.parametrize("name", RUN)
def test_saving_an_untouched_page_changes_no_byte(
    app: Page, lab: tuple[str, Path], name: str
) -> None:
    file = lab[1] / f"{name}.ipynb"
    before, then = file.read_bytes(), file.stat().st_mtime_ns
    open_page(app, name)
    command(app, "docmanager:save")
    for _ in range(100):
        if file.stat().st_mtime_ns != then:
            break
        time.sleep(0.1)
    assert file.stat().st_mtime_ns != then
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", RUN)
def test_all_cells_of_a_chapter_run_in_jupyterlab(app: Page, name: str) -> None:
    open_page(app, name)
    assert app.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
    assert app.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    with_text = app.locator(".jp-CodeCell .jp-OutputArea-output").count()
    assert with_text >= 5
