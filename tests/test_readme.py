"""README.md and docs/: all that they name exists, and they keep to the project's words."""

import importlib
import operator
import re
import shlex
import textwrap
from pathlib import Path

import pytest

from conftest import ROOT, look_alike

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page: page.read_text() for page in PAGES}
README, EVERYTHING = TEXTS[ROOT / "README.md"], "\n".join(TEXTS.values())
SCRIPTS = ("train.py", "models.py", "data.py", "filters.py", "explain.py", "report.py",
           "predict.py", "tools/bench.py", "tools/claims.py", "tools/draw_sample.py",
           "tools/readme_pictures.py", "tools/pretrained.py")
BLOCKS = [block.replace("&&\n", "&& ") for block in
          re.findall(r"^```\w*\n(.*?)^```", EVERYTHING, re.DOTALL | re.MULTILINE)]
COMMANDS = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()
            if line.startswith(("python ", "python3 ", "pytest "))]
COMMANDS += [" ".join(command.split()) for command in
             re.findall(r"`(python [^`…]+)`", re.sub(r"^```.*?^```", "", EVERYTHING,
                                                     flags=re.DOTALL | re.MULTILINE))]
# The field has a word for each of these.
FORBIDDEN = ("by heart", "answer", "nothing was chosen on", "nothing is chosen on",
             "cannot be told", "first weights", "2,500 others", "ran away", "leads nowhere",
             "growing", "student's", "what it says", "label_smoothing", "dtype=auto")


@pytest.fixture(scope="module")
def known_flags(run_in, tmp_path_factory) -> dict[str, set[str]]:
    """The flags of each script, absl's own among them: it takes them all."""
    folder, flags = tmp_path_factory.mktemp("help"), {}
    for script in SCRIPTS:
        told = re.findall(r"^  --(\S+?):", run_in(folder, script, "--helpfull").stdout, re.M)
        flags[script] = {name.replace("[no]", "") for name in told}
    return flags


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", without_code(page.read_text()), re.MULTILINE)}


def links_of(page: Path) -> list[str]:
    """Where the page's links and pictures inside the repository lead to."""
    targets = re.findall(r"\]\(\s*([^)]+?)\s*\)", without_code(TEXTS[page]))
    return [target for target in targets if not target.startswith(("http://", "https://"))]


def test_the_front_page_is_short():
    assert len(README.splitlines()) <= 180


def test_the_pages_are_short():
    assert sum(len(text.splitlines()) for text in TEXTS.values()) - len(README.splitlines()) <= 800


def test_the_loop_shown_is_that_of_train_py():
    source = (ROOT / "train.py").read_text()
    loop = re.search(r"^    for epoch in .*?^        summary.print_epoch.*?\n", source,
                     re.DOTALL | re.MULTILINE)[0]
    assert f"```python\n{textwrap.dedent(loop)}```" in README


def test_the_lines_that_words_quotes_are_in_the_code():
    quoted = re.findall(r"^`(.*)` in `(\w+\.py)`$", TEXTS[ROOT / "docs/words.md"], re.MULTILINE)
    assert len(quoted) == TEXTS[ROOT / "docs/words.md"].count("\n## ") == 7
    for line, file in quoted:
        assert line in (ROOT / file).read_text(), line


def test_every_page_is_linked_from_the_front_page():
    linked = {target.partition("#")[0] for target in links_of(ROOT / "README.md")}
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_leads_to_a_file_and_a_heading(page):
    links = links_of(page)
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT) and target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_anchors_are_used():
    assert sum("#" in link for page in PAGES for link in links_of(page)) > 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_uses_a_word_that_the_field_has_another_one_for(page):
    text = " ".join(TEXTS[page].lower().split())
    assert [word for word in FORBIDDEN if word in text] == []


def test_no_table_row_is_cut_short():
    """Every row has as many cells as its table's head."""
    for page, text in TEXTS.items():
        for table in re.findall(r"(?:^\|.*\n)+", without_code(text), re.MULTILINE):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(cells) == 1, (page.name, table)


def test_every_file_named_exists():
    named = set(re.findall(r"`((?:[a-z_]+/)?[a-z_-]+\.(?:py|txt|jpg|md|flags))`", EVERYTHING))
    assert {"train.py", "models.py", "data.py", "metrics.py", "filters.py", "predict.py",
            "tools/draw_sample.py", "recipes/ten-seconds.flags"} <= named
    for name in (named | set(re.findall(r"`([a-z]+/)`", README))) - {"photo.jpg", "data/"}:
        assert (ROOT / name).exists(), name


def test_every_script_is_shown_with_its_command():
    for script in set(SCRIPTS) - {"tools/draw_sample.py"}:
        assert f"python {script}" in EVERYTHING, script
    for script in SCRIPTS:
        assert script in EVERYTHING, script


def test_every_picture_shown_exists_and_is_small():
    shown = [page.parent / name for page, text in TEXTS.items()
             for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)]
    assert shown
    for picture in shown:
        assert picture.stat().st_size < 1_000_000
    assert {picture.resolve() for picture in shown} == set((ROOT / "docs/pictures").iterdir())


def test_the_pictures_shown_can_be_made_again(run_script, photos, tmp_path):
    assert run_script("train.py", "--arch=conv1", "--input_size=24x32", "--epochs=1",
                      f"--data_dir={photos}", "--name=mine").returncode == 0
    result = run_script("tools/readme_pictures.py", "--run=runs/mine",
                        "--histogram_run=runs/mine", "--curves_run=runs/mine",
                        "--output=pictures")
    assert (result.returncode, result.stderr) == (0, "")
    shown = set(re.findall(r"!\[[^]]+\]\((?:docs/)?pictures/([^)]+)\)", EVERYTHING))
    assert {file.name for file in (tmp_path / "pictures").iterdir()} == shown - {
        "page.png", "page-network.png"}  # screenshots
    edges = "kittens-V-H-sheet.png"  # of no network: always the same
    assert look_alike(tmp_path / "pictures" / edges, ROOT / "docs/pictures" / edges)


def test_every_function_named_exists():
    named = re.findall(
        r"`(train|models|data|metrics|filters|explain|report)\.([A-Za-z_.]+)`", EVERYTHING)
    named = [(module, name) for module, name in named if name not in ("py", "jsonl")]
    assert len(named) > 15
    for module, name in named:  # models.Network.adapt_to_pixels: a function of a class, too
        operator.attrgetter(name)(importlib.import_module(module))  # or AttributeError


def test_every_flag_named_exists(known_flags):
    everywhere = {"help"}.union(*known_flags.values())
    for name in re.findall(r"`--([a-z_]+)", EVERYTHING):
        assert name in everywhere, name


def test_every_command_names_a_script_and_its_own_flags(known_flags):
    assert len(COMMANDS) > 10
    for command in COMMANDS:
        for part in command.split("&&"):
            words = shlex.split(part)
            if words[0] != "python" or not words[1].endswith(".py"):
                continue
            assert words[1] in SCRIPTS, command
            for flag in set(re.findall(r" --([a-z_]+)", part)):
                assert flag in known_flags[words[1]], command


def test_every_recipe_is_named_and_holds_flags_of_train(known_flags):
    recipes = {f"recipes/{file.name}": file.read_text() for file in ROOT.glob("recipes/*")}
    assert recipes.keys() == set(re.findall(r"recipes/[\w-]+\.flags", EVERYTHING)) != set()
    for name, lines in recipes.items():
        for line in lines.splitlines():
            flag = re.match(r"--([a-z_]+)", line)
            assert line.startswith("#") or flag[1] in known_flags["train.py"], (name, line)
