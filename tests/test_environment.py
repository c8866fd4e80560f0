"""pyproject.toml, constraints.txt, environment.yml and the commit hooks name one environment."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PINS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.strip()]
WANTED = PROJECT["dependencies"] + [line for lines in EXTRAS.values() for line in lines]


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


def test_conda_installs_the_project_itself_under_the_constraints() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]

    (python,) = [line.split("=")[1] for line in conda if line.startswith("python=")]
    assert Version(python) in SpecifierSet(PROJECT["requires-python"])
    assert "pip" in conda

    options = dict(line.split(maxsplit=1) for line in pip)
    assert set(options) == {"--constraint", "--editable"}
    assert len(pip) == 2
    assert (ROOT / options["--constraint"]).samefile(ROOT / "constraints.txt")
    extras = re.fullmatch(r"\.\[([\w,]+)\]", options["--editable"])
    assert extras is not None
    assert set(extras[1].split(",")) == set(EXTRAS)


def test_the_commit_hooks_run_the_pinned_ruff() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["additional_dependencies"] for hook in hooks] == [
        [f"ruff=={pinned()[canonicalize_name('ruff')]}"]
    ] * len(hooks)
    assert {hook["entry"].split()[1] for hook in hooks} == {"check", "format"}
