"""Every file, function, flag and command that the README names exists."""

import importlib
import operator
import re
import shlex

import pytest

from conftest import ROOT

README = (ROOT / "README.md").read_text()
SCRIPTS = ("train.py", "models.py", "data.py", "metrics.py", "filters.py", "bench.py",
           "predict.py", "tools/claims.py", "tools/draw_sample.py", "tools/readme_pictures.py")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()
            if line.startswith(("python ", "python3 ", "pytest "))]
COMMANDS += re.findall(r"`(python [^`…]+)`", README)


@pytest.fixture(scope="module")
def known_flags(run_in, tmp_path_factory) -> dict[str, set[str]]:
    """The flags that each script's --help tells of."""
    folder, flags = tmp_path_factory.mktemp("help"), {}
    for script in SCRIPTS:
        told = re.findall(r"^  --(\S+?):", run_in(folder, script, "--help").stdout, re.M)
        flags[script] = {name.replace("[no]", "") for name in told}
    return flags


def test_every_file_named_exists():
    named = set(re.findall(r"^## (\S+\.py)$", README, re.MULTILINE))
    assert named == {"train.py", "predict.py", "models.py", "data.py", "metrics.py", "filters.py",
                     "bench.py"}
    named |= set(re.findall(r"`((?:[a-z_]+/)?[a-z_]+\.(?:py|txt|jpg|md))`", README))
    for name in named:
        assert (ROOT / name).exists(), name


def test_every_link_within_leads_to_a_heading():
    text = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
             for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert len(links) > 3 and links <= slugs


def test_every_picture_shown_exists_and_is_small():
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert shown
    for name in shown:
        assert (ROOT / name).stat().st_size < 1_000_000


def test_the_pictures_shown_can_be_made_again(run_script, photos, tmp_path):
    assert run_script("train.py", "--arch=conv1", "--input_size=24x32", "--epochs=1",
                      f"--data_dir={photos}", "--name=mine").returncode == 0
    result = run_script("tools/readme_pictures.py", "--run=runs/mine", "--output=pictures")
    assert (result.returncode, result.stderr) == (0, "")
    shown = set(re.findall(r"!\[[^]]+\]\(pictures/([^)]+)\)", README))
    assert {file.name for file in (tmp_path / "pictures").iterdir()} == shown - {"tensorboard.png"}
    edges = "kittens-V-H-sheet.png"  # of no network: always the same
    assert (tmp_path / "pictures" / edges).read_bytes() == (
        ROOT / "pictures" / edges).read_bytes()


def test_every_function_named_exists():
    named = re.findall(r"`(train|models|data|metrics|filters)\.([A-Za-z_.]+)`", README)
    named = [(module, name) for module, name in named if name not in ("py", "jsonl")]
    assert len(named) > 15
    for module, name in named:  # models.Network.adapt_to_pixels: a function of a class, too
        operator.attrgetter(name)(importlib.import_module(module))  # or AttributeError


def test_every_flag_named_exists(known_flags):
    everywhere = set().union(*known_flags.values())
    for name in re.findall(r"`--([a-z_]+)", README):
        assert name in everywhere, name


def test_every_command_names_a_script_and_its_own_flags(known_flags):
    assert len(COMMANDS) > 10
    for command in COMMANDS:
        for part in command.split("&&"):
            words = shlex.split(part)
            if words[0] != "python" or not words[1].endswith(".py"):
                continue
            assert words[1] in SCRIPTS, command
            for flag in set(re.findall(r" --([a-z_]+)", part)) - {"help", "flagfile"}:  # absl's own
                assert flag in known_flags[words[1]], command


def test_every_recipe_is_named_and_holds_flags_of_train(known_flags):
    recipes = {f"recipes/{file.name}": file.read_text() for file in ROOT.glob("recipes/*")}
    assert recipes.keys() == set(re.findall(r"recipes/\w+\.flags", README)) != set()
    for name, lines in recipes.items():
        for line in lines.splitlines():
            flag = re.match(r"--([a-z_]+)", line)
            assert line.startswith("#") or flag[1] in known_flags["train.py"], (name, line)
