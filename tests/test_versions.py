"""The files that name versions agree, and the workflow runs the README's two commands."""

import re

from packaging.requirements import Requirement

from conftest import ROOT

README = (ROOT / "README.md").read_text()
WORKFLOW = (ROOT / ".github/workflows/tests.yml").read_text()
PYTHONS = re.search(r"Python (3\.\d+) to (3\.\d+)", README).groups()


def requirements(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text().splitlines()
    return {line.name: line for line in map(Requirement, (
        line for line in lines if line and not line.startswith("#")))}


def test_every_requirement_has_a_lower_bound_and_a_version_behind_the_figures():
    constraints = requirements("constraints.txt")
    for name, requirement in requirements("requirements.txt").items():
        assert [bound.operator for bound in requirement.specifier] == [">="], name
        [behind_the_figures] = constraints[name].specifier
        assert behind_the_figures.operator == "==", name
        assert behind_the_figures.version in requirement.specifier, name


def test_pyproject_and_the_workflow_name_the_readmes_pythons():
    lowest, highest = PYTHONS
    beyond = f"3.{int(highest.removeprefix('3.')) + 1}"
    assert f'\nrequires-python = ">={lowest},<{beyond}"' in (ROOT / "pyproject.toml").read_text()
    assert re.findall(r'versions: (\w+)\n +python: "(.+)"', WORKFLOW) == [
        ("lowest", lowest), ("newest", highest)]


def test_the_workflow_runs_the_readmes_commands():
    block = re.search(r"## Two commands\n\n```bash\n(.*?)```", README, re.DOTALL)[1]
    commands = [command.strip() for command in re.split("&&|\n", block) if command.strip()]
    assert "venv" in commands[0] and "activate" in commands[1]  # each runner is as fresh
    assert re.findall(r"- run: (.+)", WORKFLOW) == [*commands[2:], ".ci/run"]
