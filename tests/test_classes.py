"""Two classes of any names: which are found, what is refused, and where their names show."""

import json
import os
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import class_folders, cli, run_folder, split_sizes
from support.cli import UserError
from support.settings import Config
from support.tensorflow_setup import tf
from test_data import touch


def chosen(folder, classes=None):
    """(the two names, [(path inside the folder, label)]) of a folder that was typed."""
    source = class_folders.choose(str(folder), classes)
    return source.class_names, [(path.relative_to(folder).as_posix(), label)
                                for path, label in source.images]


# ---------------------------------------------------------------------------------------------
# Finding them
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("place", ["", "train/", "Train/"])
def test_two_folders_of_any_names_are_two_classes_the_first_by_name_is_1(tmp_path, place):
    touch(tmp_path, *(place + name for name in (
        "bees/IMG_0.jpg", "Ants/DSC_0.png", "bees/1.webp", "Ants/1.jpg", "bees/notes.txt")))
    assert chosen(tmp_path) == (("Ants", "bees"), [
        (place + name, label) for name, label in (("Ants/DSC_0.png", 1), ("bees/IMG_0.jpg", 0),
                                                  ("Ants/1.jpg", 1), ("bees/1.webp", 0))])


@pytest.mark.parametrize("names", [
    ("train/train/cat.0.jpg", "train/train/dog.0.jpg"),
    ("train/train/cats/0.jpg", "train/train/dogs/0.jpg"),
    ("training_set/training_set/cats/0.jpg", "training_set/training_set/dogs/0.jpg")])
def test_an_archive_may_have_its_folder_twice(tmp_path, names):
    touch(tmp_path, *names, "test_set/test_set/cats/1.jpg", "test_set/test_set/dogs/1.jpg")
    assert [path for path, _ in chosen(tmp_path)[1]] == [*names]
    source = class_folders.choose(str(tmp_path))
    assert len(source.whole["test"].images) == 2 and source.passed_over == []


def test_in_the_folder_of_a_class_all_is_that_class(tmp_path):
    """And not only the file that is named after it, or after the other one."""
    touch(tmp_path, "cats/IMG_1.jpg", "cats/cat (1).jpg", "dogs/IMG_1.jpg", "dogs/cat chaser.jpg")
    for name, label in (("cats", 1), ("dogs", 0)):
        source = class_folders.find(tmp_path / name, None, one_suffices=True)
        assert [image.label for image in source.images] == [label] * 2
        assert source.passed_over == []


@pytest.mark.parametrize("names, classes", [
    (["cats/0.jpg", "rabbits/0.jpg"], ("cats", "rabbits")),
    (["dogs/0.jpg", "Ants/0.jpg"], ("Ants", "dogs")),
    (["train/dog/0.jpg", "train/wolf/0.jpg"], ("dog", "wolf")),
    (["ants/0.jpg", "bees/0.jpg", "dog.jpg"], ("ants", "bees")),
    (["ants/0.jpg", "bees/0.jpg", "cat.0.jpg", "cat.1.jpg"], ("ants", "bees")),
    (["train/ants/0.jpg", "train/bees/0.jpg", "cat.jpg"], ("ants", "bees")),
    (["PetImages/ants/0.jpg", "PetImages/bees/0.jpg"], ("ants", "bees")),
    (["dog.jpg", "train/cat.0.jpg", "train/dog.0.jpg"], ("cat", "dog"))])
def test_a_cat_or_a_dog_alone_hides_no_two_classes(tmp_path, names, classes):
    touch(tmp_path, *names)
    class_names, found = chosen(tmp_path)
    assert class_names == classes
    assert {path for path, _ in found} == {name for name in names if "/" in name}


@pytest.mark.parametrize("names", [
    ("with spaces", "with more spaces"), ("Käfer", "Wespe"), ("猫", "犬"), ("glass", "glasses"),
    ("a'b", 'c"d'), ("0", "1"), ("👍", "👎")])
def test_spaces_and_any_letters_are_names(tmp_path, names):
    touch(tmp_path, *(f"{name}/0.jpg" for name in names))
    class_names, found = chosen(tmp_path)
    assert set(class_names) == set(names) and len(found) == 2


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_that_look_equal_are_equal(tmp_path, form):
    """However the file system, or the keyboard, composes their letters."""
    folder = unicodedata.normalize(form, "Käfer")
    touch(tmp_path, f"{folder}/0.jpg", "Wespe/0.jpg", "Biene/0.jpg")
    for typed in (unicodedata.normalize(form, "KÄFER") for form in ("NFC", "NFD")):
        names, found = chosen(tmp_path, ["wespe", typed])
        assert names == ("wespe", typed)
        assert dict(found) == {"Wespe/0.jpg": 1, f"{folder}/0.jpg": 0}


def test_names_without_case_are_one_class(tmp_path):
    touch(tmp_path, "ants/0.jpg", "ANTS/1.jpg", "bees/0.jpg")
    names, found = chosen(tmp_path)
    assert names == ("ants", "bees") and [label for _, label in found] == [1, 0, 1]


@pytest.mark.parametrize("other", [
    ".Trash-1000", ".thumbnails", ".ipynb_checkpoints", "@eaDir", "__MACOSX", "lost+found",
    "$RECYCLE.BIN", "System Volume Information", "#recycle"])
def test_what_systems_leave_in_a_folder_is_no_class(tmp_path, other):
    touch(tmp_path, "ants/0.jpg", "bees/0.jpg", f"{other}/0.jpg")
    assert chosen(tmp_path)[0] == ("ants", "bees")
    assert class_folders.choose(str(tmp_path)).passed_over == []


@pytest.mark.parametrize("other", [".hidden", "test", "Test1", "testing_set", "val", "validation",
                                   "train2", "PetImages", "empty"])
def test_these_folders_are_never_classes(tmp_path, other):
    touch(tmp_path, "ants/0.jpg", "bees/0.jpg",
          f"{other}/{'0.jpg' if other != 'empty' else 'notes.txt'}")
    assert chosen(tmp_path)[0] == ("ants", "bees")


@pytest.mark.parametrize("names", [("testudo", "valley"), ("trainer", "valve"), ("tests", "vals")])
def test_names_that_only_begin_like_a_part_of_the_split_are_classes(tmp_path, names):
    touch(tmp_path, *(f"{name}/0.jpg" for name in names))
    assert chosen(tmp_path)[0] == names


@pytest.mark.parametrize("name", ["train", "Test", ".hidden", "PetImages"])
def test_any_folder_is_a_class_if_classes_names_it(tmp_path, name):
    touch(tmp_path, f"{name}/0.jpg", "bus/0.jpg")
    assert chosen(tmp_path, [name, "bus"]) == ((name, "bus"), [
        (path, label) for path, label in sorted([("bus/0.jpg", 0), (f"{name}/0.jpg", 1)])])


@pytest.mark.parametrize("classes, names, labels", [
    (["bees", "ants"], ("bees", "ants"), {"ants/0.jpg": 0, "bees/0.jpg": 1}),
    (["WASPS", "ants"], ("WASPS", "ants"), {"ants/0.jpg": 0, "wasps/0.jpg": 1})])
def test_classes_chooses_the_order_and_two_of_several(tmp_path, classes, names, labels):
    touch(tmp_path, "bees/0.jpg", "ants/0.jpg", *["wasps/0.jpg"] * ("WASPS" in classes))
    found = chosen(tmp_path, classes)
    assert found[0] == names and dict(found[1]) == labels


@pytest.mark.parametrize("place", ["", "train/"])
@pytest.mark.parametrize("ant, bee", [
    ("ant.0.jpg", "bee_12.png"), ("Ant 3.jpg", "BEE-4.jpg"), ("ant7.jpg", "bee.jpg"),
    ("ant.0.jpg", "bee.012.gif"), ("ant (1).jpg", "bee asleep.jpg")])
def test_files_are_classes_if_classes_names_both(tmp_path, ant, bee, place):
    touch(tmp_path, place + ant, place + bee, place + "IMG_1.jpg", place + "ants.0.jpg")
    assert dict(chosen(tmp_path, ["bee", "ant"])[1]) == {place + ant: 0, place + bee: 1}


def test_of_two_classes_that_a_file_may_be_named_after_it_has_the_longer_name(tmp_path):
    touch(tmp_path, "ant lion.0.jpg", "ant.1.jpg", "ant nest 2.jpg")
    assert dict(chosen(tmp_path, ["ant", "ant lion"])[1]) == {
        "ant lion.0.jpg": 0, "ant.1.jpg": 1, "ant nest 2.jpg": 1}


def test_the_first_place_with_both_classes_is_taken_alone(tmp_path):
    touch(tmp_path, "ant.0.jpg", "train/ant/0.jpg", "train/bee/0.jpg")
    assert dict(chosen(tmp_path, ["ant", "bee"])[1]) == {"train/ant/0.jpg": 1,
                                                         "train/bee/0.jpg": 0}
    touch(tmp_path, "bee/7.jpg")
    assert dict(chosen(tmp_path, ["ant", "bee"])[1]) == {"ant.0.jpg": 1, "bee/7.jpg": 0}


@pytest.mark.parametrize("classes", [None, ["ants", "bees"]])
def test_a_class_is_what_lies_in_its_folder_and_the_files_named_after_it(tmp_path, classes):
    touch(tmp_path, "ants/0.jpg", "bees/1.jpg", "bees.7.jpg", "bee.8.jpg", "beeswax.9.jpg")
    assert chosen(tmp_path, classes)[1] == [("ants/0.jpg", 1), ("bees/1.jpg", 0), ("bees.7.jpg", 0)]


@pytest.mark.parametrize("classes", [None, ["ants", "bees"]])
def test_folders_within_a_class_are_passed_over(tmp_path, classes):
    touch(tmp_path, "ants/0.jpg", "ants/queens/0.jpg", "ants/eggs/0.jpg", "bees/0.jpg",
          "ants/.thumbnails/0.jpg", "others/deep/0.jpg")
    source = class_folders.choose(str(tmp_path), classes)
    assert len(source.images) == 2 and source.passed_over == ["2 folder(s)"]
    (tmp_path / "bees/0.jpg").rename(tmp_path / "bees/wild")
    with pytest.raises(UserError, match=r"2 folder\(s\) in ants, 1 without ending in bees, "):
        chosen(tmp_path, ["wasps", "bees"])


LAYOUTS = [["ants/0.jpg", "bees/0.jpg"], ["cats/0.jpg", "dogs/0.jpg"], ["cat.0.jpg", "dog.0.jpg"]]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("valid", ["val", "valid", "validation", "Val", "VALID", "validation_set"])
@pytest.mark.parametrize("test", ["test", "Testing"])
def test_parts_beside_train_are_parts_by_themselves(tmp_path, layout, valid, test):
    for place in ("train", valid, test):
        touch(tmp_path / place, *layout)
    source = class_folders.choose(str(tmp_path))
    for place, images in (("train", source.images), (valid, source.whole["valid"].images),
                          (test, source.whole["test"].images)):
        assert sorted(images) == [(tmp_path / place / name, label)
                                  for name, label in zip(layout, (1, 0), strict=True)]
    assert source.folder == tmp_path and source.passed_over == []
    assert len(source.all_images()) == 6


def test_parts_have_the_classes_that_were_chosen(tmp_path):
    for place in ("train", "val"):
        touch(tmp_path / place, "ants/0.jpg", "bees/0.jpg", "wasps/0.jpg")
    source = class_folders.choose(str(tmp_path), ["wasps", "ants"])
    assert source.whole.keys() == {"valid"}
    assert sorted(source.whole["valid"].images) == [(tmp_path / "val/ants/0.jpg", 0),
                                                    (tmp_path / "val/wasps/0.jpg", 1)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("names, passed_over", [
    (["test/1.jpg", "test/2.jpg"], "test"), (["test/unknown/1.jpg"], "test"),
    (["test1/1.jpg"], "test1"), (["val/notes.txt"], "val")])
def test_a_part_without_labels_is_passed_over(tmp_path, layout, names, passed_over):
    touch(tmp_path, *(f"train/{name}" for name in layout), *names)
    source = class_folders.choose(str(tmp_path))
    assert source.whole == {} and len(source.images) == 2
    assert source.passed_over == [
        f"{tmp_path}/{passed_over} (without both classes, or a second one)"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_need_no_folder_train_beside_them(tmp_path, layout):
    touch(tmp_path, *(f"{place}{name}" for place in ("", "val/", "test/") for name in layout))
    source = class_folders.choose(str(tmp_path))
    assert {image.path for image in source.images} == {tmp_path / name for name in layout}
    assert {part: {image.path for image in own.images} for part, own in source.whole.items()} == {
        "valid": {tmp_path / "val" / name for name in layout},
        "test": {tmp_path / "test" / name for name in layout}}
    assert source.passed_over == []


def test_of_two_folders_for_one_part_the_second_is_passed_over(tmp_path):
    touch(tmp_path, *(f"{place}/{name}" for place in ("train", "val", "valid")
                      for name in LAYOUTS[0]))
    source = class_folders.choose(str(tmp_path))
    assert source.whole["valid"].folder == tmp_path / "val" and len(source.all_images()) == 4
    assert source.passed_over == [f"{tmp_path}/valid (without both classes, or a second one)"]


@pytest.mark.parametrize("names", [["IMG_1.jpg", "DSC_2.jpg"], ["ant.0.jpg", "bee.0.jpg"]])
def test_files_alone_never_become_classes(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(UserError, match="no pictures of cat and dog; there are 2 .jpg in .*: put "):
        chosen(tmp_path)


def test_cats_and_dogs_come_first_and_keep_their_names(tmp_path):
    touch(tmp_path, "Cats/0.jpg", "dogs/0.jpg", "birds/0.jpg", "ants/0.jpg")
    assert chosen(tmp_path) == (("cat", "dog"), [("Cats/0.jpg", 1), ("dogs/0.jpg", 0)])
    assert chosen(tmp_path, ["dogs", "cat"]) == (("dogs", "cat"),
                                                 [("Cats/0.jpg", 0), ("dogs/0.jpg", 1)])
    assert chosen(tmp_path, ["birds", "cat"]) == (("birds", "cat"),
                                                  [("Cats/0.jpg", 0), ("birds/0.jpg", 1)])


def test_in_data_other_classes_are_found_only_if_they_are_named(tmp_path, monkeypatch):
    touch(tmp_path, "data/ants/0.jpg", "data/bees/0.jpg")
    monkeypatch.chdir(tmp_path)
    assert class_folders.choose(None).folder == class_folders.SAMPLE
    with pytest.raises(UserError, match="^--data_dir=.*sample holds no pictures of wasps and owls; "
                                        "there are 500 .jpg in sample: "):
        class_folders.choose(None, ["wasps", "owls"])
    source = class_folders.choose(None, ["ants", "bees"])
    assert (source.folder, source.class_names) == (Path("data"), ("ants", "bees"))
    assert class_folders.choose("data").class_names == ("ants", "bees")


def test_the_sample_can_have_dogs_as_the_positive_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = class_folders.choose(None, ["dog", "cat"])
    assert source.class_names == ("dog", "cat") and source.counts() == (250, 250)
    assert {label for path, label in source.images if path.name.startswith("dog")} == {1}


# ---------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("names, classes, sentence", [
    (["ants/0.jpg"], None, "no pictures of cat and dog; there are 1 .jpg in "
     "ants: put each class into a folder of its name, or name its files like cat.0.jpg, or choose "
     "two other classes like --classes=ants,bees"),
    (["a/0.jpg", "b/0.jpg", "c/0.jpg"], None,
     "no pictures of cat and dog; there are 1 .jpg in a, 1 .jpg in b, 1 .jpg in "
     "c: put each class into a folder of its name, or name its files like cat.0.jpg, or choose two "
     "other classes like --classes=ants,bees"),
    (["ants/0.jpg", "bees/0.jpg", "wasps/notes.txt"], ["ants", "wasps"],
     "no pictures of wasps beside those of ants; there are 1 .jpg in ants, "
     "1 .jpg in bees, 1 .txt in wasps: put each class into a folder of its name, or name its files "
     "like wasps.0.jpg"),
    ([], ["ant", "bee"], "no pictures of ant and bee: put each class into a folder of its name, or "
                         "name its files like ant.0.jpg"),
    (["ants/0.jpg", "train/bees.0.jpg"], ["ants", "bees"],
     "no pictures of bees beside those of ants; there are 1 .jpg in ants, "
     "1 .jpg in train: put each class into a folder of its name, or name its files like "
     "bees.0.jpg"),
    (["a\nb/0.jpg", "c/0.jpg"], None,  # such a name would break the line
     "no pictures of cat and dog; there are 1 .jpg in c: put each class into a "
     "folder of its name, or name its files like cat.0.jpg, or choose two other classes like "
     "--classes=ants,bees"),
    (["cats/0.jpg", "birds.jpg"], None, "no pictures of dog beside those of cat; there are 1 .jpg "
     "in {}, 1 .jpg in cats: put each class into a folder of its name, or name "
     "its files like dog.0.jpg, or choose two other classes like --classes=ants,bees")])
def test_what_is_not_two_classes_is_refused_in_one_sentence(tmp_path, names, classes, sentence):
    touch(tmp_path, *names)
    with pytest.raises(UserError) as error:
        chosen(tmp_path, classes)
    assert str(error.value) == f"--data_dir={tmp_path} holds {sentence.format(tmp_path.name)}"


@pytest.mark.parametrize("flag", ["data_dir", "evaluate"])
@pytest.mark.parametrize("names, classes, beginning", [
    ([], ("cat", "dog"), "holds no pictures of cat and dog: "),
    ([], None, "holds no pictures of cat and dog: "),
    (["cats/0.jpg"], ("dog", "cat"), "holds no pictures of dog beside those of cat; "),
    (["dogs/0.jpg"], None, "holds no pictures of cat beside those of dog; "),
    (["a/0.jpg", "b/0.jpg", "c/0.jpg"], None, "holds no pictures of cat and dog; "),
    (["ants/0.jpg"], ("ants", "bees"), "holds no pictures of bees beside those of ants; ")])
def test_an_error_names_the_flag_that_gave_the_folder(tmp_path, names, classes, beginning, flag):
    touch(tmp_path, *names)
    with pytest.raises(UserError) as error:
        class_folders.find(tmp_path, classes, flag=flag)
    assert str(error.value).startswith(f"--{flag}={tmp_path} {beginning}")
    with pytest.raises(UserError) as error:
        class_folders.find(tmp_path / "nowhere", classes, flag=flag)
    assert str(error.value) == f"--{flag}={tmp_path}/nowhere is not a folder"


@pytest.mark.parametrize("classes", [
    [], ["ants"], ["ants", "ANTS"], ["a", "b", "c"], ["a", "b", "B"], ["a", ""], ["cat", "cats"],
    ["a\nb", "c"], ["\udcff", "c"]])  # which cannot be printed; the latter is a byte of no UTF-8
def test_classes_that_are_not_two_are_refused(tmp_path, classes):
    with pytest.raises(UserError) as error:
        chosen(tmp_path, classes)
    assert str(error.value) == (
        f"--classes={','.join(classes)} must name two classes, the one with label 1 first, like "
        "--classes=ants,bees")


def test_a_class_with_too_few_images_is_named(tmp_path):
    touch(tmp_path, *(f"ants/{number}.jpg" for number in range(9)), "bees/0.jpg", "bees/1.jpg")
    source = class_folders.choose(str(tmp_path))
    with pytest.raises(UserError, match=re.escape(
            "--train_size=8 needs more pictures than there are: 2 of each class can be used (there "
            "are no more of bees), 4 in all parts together")):
        split_sizes.with_sizes(source, Config(train_size=8, valid_size=None, test_size=0))


@pytest.mark.parametrize("names, closed, classes", [
    (["ants/0.jpg", "bees/0.jpg"], "bees", None),
    (["ants/0.jpg", "train/bees/0.jpg"], "train", None),
    (["ants/0.jpg", "bees/0.jpg", "wasps/0.jpg"], "bees", ["ants", "bees"]),
    (["ants/0.jpg", "bees/0.jpg", "private/0.jpg"], "private", None)])
def test_an_unreadable_folder_is_named(tmp_path, monkeypatch, names, closed, classes):
    touch(tmp_path, *names)
    refuse(monkeypatch, closed)
    with pytest.raises(PermissionError) as error:
        chosen(tmp_path, classes)
    assert cli.one_sentence(error.value).startswith(f"{tmp_path}/{closed}: Permission denied; ")


def test_an_unreadable_folder_that_a_system_left_does_not_matter(tmp_path, monkeypatch):
    touch(tmp_path, "ants/0.jpg", "bees/0.jpg", "lost+found/0.jpg")
    refuse(monkeypatch, "lost+found")
    source = class_folders.choose(str(tmp_path))
    assert source.class_names == ("ants", "bees") and source.passed_over == []


def test_an_unreadable_train_does_not_give_the_sample(tmp_path, monkeypatch):
    touch(tmp_path, "data/train/cat.0.jpg", "data/train/dog.0.jpg")
    refuse(monkeypatch, "train")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PermissionError, match="data/train"):
        class_folders.choose(None)


def refuse(monkeypatch, name):
    """No folder of this name can be listed: the tests may run as root, whom no permission stops."""
    iterdir = Path.iterdir

    def refusing(folder):
        if folder.name == name:
            raise PermissionError(13, "Permission denied", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refusing)


def test_a_class_of_unknown_formats_is_told_by_its_endings(tmp_path):
    touch(tmp_path, "ants/0.jpg", "bees/0.heic", "bees/1.HEIC")
    with pytest.raises(UserError, match="; there are 1 .jpg in ants, 2 .heic in bees: "):
        chosen(tmp_path)


# ---------------------------------------------------------------------------------------------
# From the folder to the prediction
# ---------------------------------------------------------------------------------------------

NAMES = (unicodedata.normalize("NFD", "Große Käfer"), "wasps & bees")
FLAGS = ("--arch=conv1", "--filters=4", "--hidden=8", "--input_size=12x16", "--epochs=2",
         "--batch_size=8", "--lr=1e-3", "--scaling=standard")


@pytest.fixture(scope="module")
def insects(tmp_path_factory):
    """Sixteen pictures of the one, dark, and twelve of the other, light."""
    folder = tmp_path_factory.mktemp("classes") / "insects"
    generator = np.random.default_rng(0)
    for name, light, count in ((NAMES[0], 60, 16), (NAMES[1], 190, 12)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.normal(light, 20, (24, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"IMG_{number}.png")
    return folder


@pytest.fixture(scope="module")
def trained(run_in, insects):
    """What train.py printed; the run is runs/insects beside the folder."""
    result = run_in(insects.parent, "train.py", *FLAGS, "--data_dir=insects", "--name=insects")
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture
def there(insects, trained, monkeypatch):
    """The folder of insects/ and runs/insects, and what was printed."""
    monkeypatch.chdir(insects.parent)
    return insects.parent, trained


def test_training_says_which_class_is_which_and_what_is_left_out(there):
    _, output = there
    assert "insects: 18 pictures to train on, 6 to validate on, half of each class\n" in output
    assert f"1 = {NAMES[0]} (16 images), 0 = {NAMES[1]} (12)\n" in output
    assert f"  4 of {NAMES[0]} are left out: there are fewer of the other class\n" in output
    assert ("  few to train on: --flagfile=recipes/hour.flags --start_from=pretrained begins with "
            "trained convolutions\n") in output
    assert f"  to train on more pictures, add some of {NAMES[1]}\n" in output
    assert re.search(rf"^{NAMES[0]} if above  +0\.0 .*\n^accuracy {{14}}  ", output, re.MULTILINE)


def test_nothing_is_said_to_be_left_out_where_fewer_images_were_asked_for(run_in, there, tmp_path):
    folder, _ = there
    result = run_in(tmp_path, "train.py", *FLAGS, f"--data_dir={folder}/insects",
                    "--train_size=16", "--valid_size=4", "--epochs=1")
    assert "16 pictures to train on, 4 to validate on" in result.stdout
    assert "left out" not in result.stdout


def test_the_run_keeps_the_names(there):
    folder, _ = there
    record = json.loads((folder / "runs/insects/config.json").read_text())
    assert tuple(record["config"]["classes"]) == NAMES
    assert run_folder.read_class_names(folder / "runs/insects") == NAMES
    lines = (folder / "runs/insects/predictions.jsonl").read_text().splitlines()
    for record in map(json.loads, lines):
        assert record["label"] == (NAMES[0][:2] in record["file"])  # Gr…, dark


def test_the_savedmodel_tells_its_classes_to_whoever_loads_it(there):
    folder, _ = there
    model = tf.saved_model.load(str(folder / "runs/insects/model"))
    assert [name.decode() for name in model.class_names.numpy()] == list(NAMES)
    assert float(model.threshold) == pytest.approx(
        run_folder.read_best(folder / "runs/insects")["threshold"])
    files = [next((folder / "insects").glob(f"{start}*/IMG_0.png")) for start in ("Gr", "wasps")]
    said = model.signatures["serving_default"](
        image_bytes=tf.constant([file.read_bytes() for file in files]))
    expected = [NAMES[0] if probability > float(model.threshold) else NAMES[1]
                for probability in said["probability"].numpy()]
    assert [label.decode() for label in said["label"].numpy()] == expected


def test_predictions_have_the_names(run_in, there):
    folder, _ = there
    text = run_in(folder, "predict.py", "--run=runs/insects", "insects")
    rows = run_in(folder, "predict.py", "--run=runs/insects", "--json", "insects")
    assert text.returncode == rows.returncode == 0
    records = [json.loads(line) for line in rows.stdout.splitlines()]
    assert len(records) == 28
    threshold = run_folder.read_best(folder / "runs/insects")["threshold"]
    for line, record in zip(text.stdout.splitlines(), records, strict=True):
        positive = record["probability"] > threshold
        assert record["label"] == NAMES[0 if positive else 1]
        of_label = record["probability"] if positive else 1 - record["probability"]
        assert line.startswith(f"{record['file']}: {record['label']} (")
        percentage = float(line.rpartition("(")[2].rstrip("%)"))
        assert percentage == pytest.approx(100 * of_label, abs=0.06)


def test_report_and_explain_show_the_names(run_in, there):
    folder, _ = there
    table = run_in(folder, "report.py", "runs/insects", "--pictures")
    assert (table.returncode, table.stderr) == (0, "")
    row = next(line for line in table.stdout.splitlines() if "conv1" in line)
    assert row.rstrip().endswith(", ".join(NAMES))
    assert "0.36" not in row  # the article measured cats and dogs
    picture = next((folder / "insects").glob("wasps*/IMG_1.png"))
    page = run_in(folder, "explain.py", f"--image={picture}", "--run=runs/insects")
    assert (page.returncode, page.stderr) == (0, "")
    assert page.stdout.startswith(f"IMG_1.png: {NAMES[0]} with probability ")


def test_evaluating_and_resuming_take_the_classes_from_the_run(run_in, there, tmp_path):
    folder, _ = there
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    evaluated = run_in(tmp_path, "predict.py", "--run=runs/insects", "--evaluate=insects")
    assert evaluated.returncode == 0, evaluated.stderr
    # 24 of 28 were trained or validated on: what is left of the larger class is measured.
    assert f"on 4 pictures of insects, 4 {NAMES[0]} and 0 {NAMES[1]}: MSE" in evaluated.stdout
    assert f"{NAMES[0]} if above" in evaluated.stdout
    resumed = run_in(tmp_path, "train.py", "--resume=runs/insects", "--epochs=3",
                     "--data_dir=insects")
    assert resumed.returncode == 0, resumed.stderr
    assert f"{NAMES[0]} if above" in resumed.stdout
    assert run_folder.read_class_names(tmp_path / "runs/insects") == NAMES

    # Two of several, in the run's order: others beside them change nothing.
    (tmp_path / "insects/also").mkdir()
    shutil.copy(next((tmp_path / "insects").glob("wasps*/IMG_0.png")), tmp_path / "insects/also")
    again = run_in(tmp_path, "predict.py", "--run=runs/insects", "--evaluate=insects")
    assert f"on 4 pictures of insects, 4 {NAMES[0]} and" in again.stdout

    os.rename(next((tmp_path / "insects").glob("wasps*")), tmp_path / "insects/hornets")
    for script, flags, sentence, lines in (
            ("predict.py", ["--run=runs/insects", "--evaluate=insects/hornets"],
             f"--evaluate=insects/hornets holds no pictures of {NAMES[0]}", 1),
            ("train.py", ["--resume=runs/insects", "--data_dir=insects"],
             "runs/insects cannot be resumed: --data_dir=insects holds no pictures of", 1),
            ("predict.py", ["--run=runs/insects", "--evaluate=nowhere"],
             "--evaluate=nowhere is not a folder", 1),
            ("predict.py", ["--run=runs/insects", "--evaluate=insects", "--classes=a,b"],
             "Unknown command line flag 'classes'", 2),  # absl adds where to find help
            ("train.py", ["--resume=runs/insects", "--classes=a,b"],
             "--classes cannot be given with", 1)):
        refused = run_in(tmp_path, script, *flags)
        assert refused.returncode == 1 and len(refused.stderr.splitlines()) == lines
        assert sentence in refused.stderr


def test_the_census_counts_the_classes(run_in, there):
    folder, _ = there
    census = run_in(folder, "data.py", "--data_dir=insects", f"--classes={NAMES[1]},{NAMES[0]}")
    assert census.stdout.startswith(
        f"insects: 28 pictures, 1 = {NAMES[1]} (12 images), 0 = {NAMES[0]} (16)\n")
