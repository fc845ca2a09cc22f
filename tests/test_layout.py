"""Where things stand: what each file may import and define, and what needs no TensorFlow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

SCRIPTS = {script.stem for script in (*ROOT.glob("*.py"), *ROOT.glob("tools/*.py"))}
REST = sorted([*ROOT.glob("support/*.py"), *ROOT.glob("page/*.py")])


def imported_by(file: Path) -> set[str]:
    """The first names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def test_the_files_are_found():
    assert {"train", "models", "data", "metrics", "filters", "predict", "explain",
            "report", "bench"} <= SCRIPTS
    assert len(REST) > 8
    assert ROOT / "page/compose.py" in REST
    assert {"data", "models", "support"} <= imported_by(ROOT / "train.py")


@pytest.mark.parametrize("file", REST, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_support_and_page_import_no_script(file):
    assert not imported_by(file) & SCRIPTS


@pytest.mark.parametrize("file", REST, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_support_and_page_define_no_flag(file):
    """Flags stand where a reader looks for them: in the scripts."""
    assert "DEFINE" not in file.read_text()


@pytest.mark.parametrize("script", sorted(ROOT.glob("*.py")), ids=lambda script: script.name)
def test_scripts_import_no_other_scripts_than_these(script):
    assert imported_by(script) & SCRIPTS <= {"data", "models", "metrics"} | (
        {"report"} if script.name == "train.py" else set())  # which draws the run's curves


def test_these_start_without_tensorflow():
    """To import TensorFlow takes seconds, and these have no use for it."""
    modules = ("data", "metrics", "report", "support.cli", "support.image_files",
               "support.download", "support.drawing", "support.run_folder", "support.run_pages",
               "support.network_pages", "support.kernels", "support.settings",
               "support.class_folders", "page.compose", "bench")
    result = subprocess.run(
        [sys.executable, "-c", "import sys\nsys.path.append('tools')\n"
         f"import {', '.join(modules)}\n"
         "print('tensorflow' in sys.modules)"], cwd=ROOT, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("False\n", "")


def test_a_tensorflow_that_cannot_be_imported_says_why(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'no room for the library')\nraise ImportError('half of it')\n")
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
         "import support.tensorflow_setup"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert "no room for the library" in result.stderr and "ImportError: half of it" in result.stderr
