"""pyproject.toml, constraints.txt, environment.yml and the commit hooks name one environment."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT: dict[str, Any] = tomllib.loads(text_of("pyproject.toml"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PINS = [line for line in text_of("constraints.txt").splitlines() if line.strip()]
WANTED = PROJECT["dependencies"] + [line for lines in EXTRAS.values() for line in lines]


PROMISED = SpecifierSet(PROJECT["requires-python"])
PYTHONS = [f"3.{minor}.{patch}" for minor in range(11, 15) for patch in range(20)]
PYTHONS = [python for python in PYTHONS if python in PROMISED]


def pinned() -> dict[str, Version]:
    pairs = [line.split("==") for line in PINS]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_every_constraint_pins_one_version_of_its_own_package() -> None:
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+]+", line) for line in PINS)
    assert len(pinned()) == len(PINS)


@pytest.mark.parametrize("line", WANTED)
def test_what_the_project_asks_for_is_pinned_to_a_version_it_allows(line: str) -> None:
    wanted = Requirement(line)
    assert pinned()[canonicalize_name(wanted.name)] in wanted.specifier


@pytest.mark.parametrize("line", PINS)
def test_every_python_that_is_promised_can_install_a_pin(line: str) -> None:
    name, version = line.split("==")
    try:
        about = metadata(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    if Version(about["Version"]) != Version(version):
        pytest.skip(f"{name} is {about['Version']} here: out of date")
    (allows,) = about.get_all("Requires-Python") or [""]  # where importlib_metadata is, [] raises
    allowed = SpecifierSet(allows)
    assert [python for python in PYTHONS if python not in allowed] == []


def test_conda_installs_the_project_itself_under_the_constraints() -> None:
    environment = yaml.safe_load(text_of("environment.yml"))
    assert environment["name"] == PROJECT["name"]
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]

    (python,) = [line.split("=")[1] for line in conda if line.startswith("python=")]
    assert Version(python) in PROMISED
    assert "pip" in conda

    options = dict(line.split(maxsplit=1) for line in pip)
    assert set(options) == {"--constraint", "--editable"}
    assert len(pip) == 2
    assert (ROOT / options["--constraint"]).samefile(ROOT / "constraints.txt")
    extras = re.fullmatch(r"\.\[([\w,]+)\]", options["--editable"])
    assert extras is not None
    assert set(extras[1].split(",")) == set(EXTRAS)


def test_the_commit_hooks_run_the_pinned_ruff() -> None:
    hooks = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    assert [hook["additional_dependencies"] for hook in hooks] == [
        [f"ruff=={pinned()[canonicalize_name('ruff')]}"]
    ] * len(hooks)
    assert {hook["entry"].split()[1] for hook in hooks} == {"check", "format"}


def test_the_lab_takes_options_and_starts_for_root() -> None:
    command = ["make", "-n", "lab", "ARGS=--no-browser --port=8890"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    (line,) = [line for line in shown.stdout.splitlines() if "jupyter-lab" in line]
    assert line.endswith("--no-browser --port=8890")
    assert ("--allow-root" in line) == (os.getuid() == 0)


ABSENT = {"playwright", "axe_playwright_python", "hypothesis", "beartype", "nbval", "xdist"}
BLOCK = f"""
import sys

class Absent:
    def find_spec(name, *_):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent)
"""


def test_a_test_of_the_package_needs_the_package_and_pytest_alone(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCK, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "single_circuit"]
    done = subprocess.run(
        [*command, "tests/test_network.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
