"""What the tests share: the scripts on the path, small made pictures, and running a script."""

import contextlib
import functools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import pytest
from absl import flags
from absl.testing import flagsaver
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from support import run_folder  # noqa: E402  when ROOT is on the path
from support.settings import Config  # noqa: E402

# ---------------------------------------------------------------------------------------------
# Two processes, for a second core: `pytest tests` runs these files in the second one meanwhile, and
# `pytest tests/test_interactive_page.py` its tests of networks
# ---------------------------------------------------------------------------------------------

SECOND_HALF = [ROOT / "tests" / name for name in ("test_bench.py", "test_resume.py",
                                                  "test_train.py", "test_workers.py")]
IN_A_BROWSER = "tests/test_interactive_page.py"


def pytest_configure(config):
    config.addinivalue_line("markers", "network: shows one of the networks of NETWORKS in a page")
    arguments = [argument for argument in config.invocation_params.args
                 if argument not in ("tests", IN_A_BROWSER)]
    config.second_half = None
    if os.cpu_count() == 1 or config.option.collectonly:
        return
    if config.args == ["tests"]:
        config.second_half = [*map(str, SECOND_HALF)]
    elif config.args == [IN_A_BROWSER] and not config.option.markexpr + config.option.keyword:
        config.second_half = [IN_A_BROWSER, "-m", "network"]
        config.option.markexpr = "not network"
    if config.second_half:
        config.second_output = tempfile.TemporaryFile("w+", encoding="utf-8")
        config.second_process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *config.second_half, *arguments], cwd=ROOT,
            stdout=config.second_output, stderr=subprocess.STDOUT)


def pytest_sessionstart():
    """Import TensorFlow with our settings: the other process has begun to do so meanwhile."""
    import support.tensorflow_setup  # noqa: F401  before a test imports it with others


@pytest.hookimpl(tryfirst=True)  # before -m chooses among them
def pytest_collection_modifyitems(items):
    for item in items:
        if "made" in item.fixturenames:
            item.add_marker("network")


def pytest_ignore_collect(collection_path, config):
    second_half = config.second_half or []
    return True if str(collection_path) in second_half else None


def pytest_sessionfinish(session):
    if session.config.second_half:
        if session.exitstatus == pytest.ExitCode.INTERRUPTED:
            session.config.second_process.terminate()
        code = session.config.second_process.wait()
        if code != pytest.ExitCode.NO_TESTS_COLLECTED:  # with -k, all may be in the other half
            session.exitstatus = session.exitstatus or code


def pytest_terminal_summary(terminalreporter, config):
    if config.second_half:
        config.second_output.seek(0)
        terminalreporter.write_sep("=", "the second process: " + " ".join(
            Path(argument).name for argument in config.second_half))
        terminalreporter.write(config.second_output.read())


# ---------------------------------------------------------------------------------------------
# Scripts in processes
# ---------------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def start():
    """start(function, *arguments): the function in a process of its own, which may be killed.

    On Linux it is forked from a process that has imported TensorFlow but has never used it: a start
    takes milliseconds, not seconds. That process begins to import at once, beside the tests.
    """
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        from multiprocessing import forkserver  # which other systems refuse to import
        context.set_forkserver_preload(["script_process"])
        with pytest.MonkeyPatch.context() as monkeypatch:  # where it finds script_process
            monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
            forkserver.ensure_running()
    started = []

    def begin(function: Callable, *arguments) -> multiprocessing.Process:
        with pytest.MonkeyPatch.context() as monkeypatch:  # where the first of them finds it
            monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
            started.append(context.Process(target=function, args=arguments))
            started[-1].start()
        return started[-1]

    yield begin
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def run_in(start, tmp_path_factory):
    """run_in(folder, "train.py", "--arch=mlp", …): as a user would there; its output is kept."""

    def run(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess:
        output = tmp_path_factory.mktemp("output")
        import script_process
        process = start(script_process.run_script, ROOT / script, arguments, folder,
                        {**os.environ, "COLUMNS": "100"}, output)
        process.join(240)
        assert process.exitcode is not None, f"{script} has not ended"
        return subprocess.CompletedProcess(
            [script, *arguments], process.exitcode,
            *((output / name).read_text() for name in ("stdout", "stderr")))

    return run


@pytest.fixture
def run_script(run_in, tmp_path):
    """run_script("train.py", "--arch=mlp", …) in an empty folder."""
    return functools.partial(run_in, tmp_path)


@pytest.fixture
def run_alone(tmp_path):
    """Like run_script, with an interpreter of its own and none of the settings of this one."""

    def run(script: str, *arguments: str) -> subprocess.CompletedProcess:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
        return subprocess.run([sys.executable, str(ROOT / script), *arguments], cwd=tmp_path,
                              env={**environment, "COLUMNS": "100"}, capture_output=True,
                              text=True, timeout=240)

    return run


@pytest.fixture
def forked_popen(start, tmp_path, monkeypatch):
    """subprocess.Popen([python, SCRIPT, …]) forks, as run_script does: a start takes no time."""
    class Forked:
        def __init__(self, command, **_):
            import script_process
            self.process = start(script_process.run_script, Path(command[1]), command[2:],
                                 Path.cwd(), dict(os.environ), tmp_path)

        def wait(self) -> int:
            self.process.join(240)
            return self.process.exitcode

    monkeypatch.setattr(subprocess, "Popen", Forked)


@pytest.fixture
def refuses(run_script):
    """refuses("train.py", "--lr=-1") -> the one sentence on stderr, with exit code 1."""

    def check(script: str, *arguments: str) -> str:
        result = run_script(script, *arguments)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        sentence = result.stderr.strip()
        # absl adds a second line, with where to find help, to what it refuses itself.
        assert len(sentence.splitlines()) == (2 if "Flags parsing error" in sentence else 1)
        return sentence

    return check


@pytest.fixture
def declines(tmp_path, monkeypatch):
    """declines(train.main, "--lr=-1"): the sentence, like `refuses` but without a process."""
    monkeypatch.chdir(tmp_path)

    def check(main, *arguments: str) -> str:
        with flagsaver.flagsaver():
            flags.FLAGS.unparse_flags()
            with pytest.raises((SystemExit, flags.Error)) as error:  # app.run prints flags.Error
                main(flags.FLAGS(["script.py", *arguments]))
        assert isinstance(error.value, flags.Error) or isinstance(error.value.code, str)
        sentence = str(error.value)
        assert len(sentence.splitlines()) == 1
        return sentence

    return check


@contextlib.contextmanager
def eagerly():
    """Compiled functions run as they are: quicker than compiling them for a few steps."""
    from support.tensorflow_setup import tf
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def make_network(arch: str, input_size: tuple[int, int] = (94, 125), **options):
    """A network as the article has it, but for these options."""
    import models

    return models.Network(models.options(arch, input_size=input_size, **options))


def epoch_record(**figures) -> dict:
    """An epoch's line of metrics.jsonl with these figures; the others are such as may be there."""
    return {"epoch": 1, "train_loss": 0.6, "valid_loss": 0.6, "mse": 0.25, "pearson": 0.3,
            "best_accuracy": 0.5, "threshold": 0.5, "accuracy_interval": [0.4, 0.6],
            "accuracies": 10 * [0.5], "learning_rate": 1e-5, "pictures": 24, "seconds": 10.0,
            "pictures_per_second": 2.4} | figures


def write_config(run: Path, config: Config) -> None:
    """config.json of these settings, as train.py writes it for no images at all."""
    record = {"format": run_folder.FORMAT, "config": {"classes": ["cat", "dog"]} | vars(config),
              "data": {"bundled_sample": False}, "versions": {"pillow": PIL.__version__},
              "machine": {"replicas": 1}}
    (run / "config.json").write_text(json.dumps(record))


def look_alike(one: Path, other: Path) -> bool:
    """Whether hardly a pixel differs: each Pillow spaces letters and packs PNGs its own way."""
    with Image.open(one) as first, Image.open(other) as second:
        return first.size == second.size and (
            np.asarray(first) != np.asarray(second)).mean() < 0.0003


def read_terminal(master: int) -> bytes:
    """All that was written to a terminal of pty.openpty() whose other side is closed."""
    shown = b""
    with contextlib.suppress(OSError):  # the end, as Linux says it
        while block := os.read(master, 1 << 16):
            shown += block
    os.close(master)
    return shown


def draw_photos(folder: Path, count: int = 12) -> Path:
    """So many cats and dogs of 32x24: cats brighter at the left, dogs at the right, noisy."""
    folder.mkdir()
    ramp = np.linspace(200, 40, 32)[None, :, None]
    for number in range(count):
        for name, light in (("cat", ramp), ("dog", ramp[:, ::-1])):
            noise = np.random.default_rng([number, len(light[0, 0])]).normal(0, 20, (24, 32, 3))
            pixels = (light + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.{number}.png")
    return folder


@pytest.fixture
def photos(tmp_path) -> Path:
    return draw_photos(tmp_path / "photos")
