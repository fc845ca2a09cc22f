"""support/cli.py: its two kinds of flags, and what a script's main does with an error."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from absl import flags

import needs
from conftest import ROOT
from support import cli
from support.cli import UserError
from support.tensorflow_setup import tf

# ---------------------------------------------------------------------------------------------
# Flags like --input_size=94x125 and --filters=64,128
# ---------------------------------------------------------------------------------------------

def flags_with(parser: flags.ArgumentParser, default=None) -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE(parser, "option", default, "its help", flag_values=values,
                 serializer=parser if hasattr(parser, "serialize") else None, module_name="group")
    return values


def parse(parser: flags.ArgumentParser, text: str):
    """The value of --option=text."""
    values = flags_with(parser)
    values(["script.py", f"--option={text}"])
    return values.option


@pytest.mark.parametrize("size", ["94", "94x", "x125", "94x125x3", "0x5", "-4x5", "axb", ""])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(flags.IllegalFlagValueError) as error:
        parse(cli.SIZE, size)
    assert str(error.value) == (f"flag --option={size}: not HEIGHTxWIDTH, below a million each: "
                                "write it like 94x125")


def test_a_size_is_height_first():
    assert parse(cli.SIZE, "94x125") == (94, 125)
    assert parse(cli.SIZE, "64X48") == (64, 48)


@pytest.mark.parametrize("default", ["94x125", (94, 125)])
def test_a_sizes_default_is_shown_as_it_is_typed(default):
    values = flags_with(cli.SIZE, default)
    values(["script.py"])
    assert values.option == (94, 125)
    assert "(default: '94x125')" in values.module_help("group")
    assert values["option"].serialize() == "--option=94x125"


@pytest.mark.parametrize("text", ["", "64,", "x", "-1", "1.5", "0", "64 128"])
def test_counts_that_are_none_are_refused(text):
    with pytest.raises(flags.IllegalFlagValueError) as error:
        parse(cli.COUNTS, f"8,{text}")
    assert str(error.value) == (
        f"flag --option=8,{text}: not a list of numbers above 0, below a million: write it like "
        "64,128")


@pytest.mark.parametrize("text, counts", [("64,128", (64, 128)), ("7", (7,)), ("", ())])
def test_counts_are_a_tuple(text, counts):
    assert parse(cli.COUNTS, text) == counts


def test_counts_have_no_value_unless_given():
    values = flags_with(cli.COUNTS)
    values(["script.py"])
    assert values.option is None


@pytest.mark.parametrize("path", ["photos", "/tmp/a b", "a~b", "./~", "C://photos", "a:b/c"])
def test_a_path_stays_as_it_was_typed(path):
    assert parse(cli.PATH, path) == path == cli.PATH.parse(path)


def test_a_path_may_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("USERPROFILE", "/home/ada")  # as it is called on Windows
    assert parse(cli.PATH, "~") == "/home/ada"
    assert parse(cli.PATH, "~/runs") == "/home/ada/runs" == cli.PATH.parse("~/runs")


@pytest.mark.parametrize("url", ["gs://b/r", "s3://b", "http://a/b.jpg", "HTTPS://a", "file:///a"])
def test_a_url_is_refused(url):
    with pytest.raises(flags.IllegalFlagValueError) as error:
        parse(cli.PATH, url)
    sentence = f"{url} is a URL: name a file or folder on this computer"
    assert str(error.value) == f"flag --option={url}: {sentence}"
    with pytest.raises(UserError) as error:
        cli.PATH.parse(url)
    assert str(error.value) == sentence


PATHS = ("data_dir", "runs_dir", "start_from", "resume", "run", "evaluate", "image", "output",
         "test_dir", "histogram_run", "curves_run", "json")


@pytest.mark.parametrize("script", [*ROOT.glob("*.py"), *ROOT.glob("tools/*.py")],
                         ids=lambda script: script.stem)
def test_every_flag_that_is_a_path_is_parsed_as_one(script):
    for kind, name in re.findall(r'flags\.DEFINE(\S*?)\(\s*(?:cli\.PATH, )?"(\w+)"',
                                 script.read_text()):
        assert (kind == "") == (name in PATHS) or kind == "_bool", name


# ---------------------------------------------------------------------------------------------
# The parser of a script's flags
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("argument", ["--run", "--run=x", "--norun"])
def test_a_flag_that_has_moved_is_told_with_what_to_use(argument, capsys):
    parse = cli.flags_parser("doc", moved={"run": "use python b.py --run=runs/NAME"})
    with pytest.raises(SystemExit) as exit:
        parse(["a.py", argument])
    if argument == "--norun":  # never was one
        assert exit.value.code == 1
        assert "Unknown command line flag 'norun'" in capsys.readouterr().err
    else:
        assert exit.value.code == (
            "Unknown command line flag 'run': use python b.py --run=runs/NAME")


@pytest.mark.parametrize("moved", [None, {}, {"run": "use another"}])
def test_other_flags_are_told_as_absl_does(moved, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.flags_parser("doc", moved=moved)(["a.py", "--no_such_flag"])
    assert exit.value.code == 1
    assert capsys.readouterr().err.startswith(
        "FATAL Flags parsing error: Unknown command line flag 'no_such_flag'")


def test_the_help_of_a_script_without_groups_shows_all_its_flags(run_script):
    result = run_script("filters.py", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "python filters.py --image kittens.jpg" in result.stdout
    for flag in ("--image", "--kernel", "--padding", "--[no]page"):
        assert f"  {flag}:" in result.stdout


# ---------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("error, sentence", [
    (UserError("--lr=-1 must be above 0"), "--lr=-1 must be above 0"),
    (ValueError("first line\nand a second"), "first line"),
    (ValueError(), "ValueError"),
    (FileNotFoundError(2, "No such file or directory", "a.jpg"),
     "a.jpg: No such file or directory"),
    (OSError(28, "No space left on device"),
     "standard output: No space left on device; make room there"),
    (OSError("no number"), "no number"),
    (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\nmore"),
     "TensorFlow gave up: OOM when allocating"),
    (tf.errors.UnknownError(None, None, "{{function_node __wrapped__Conv2D_device_/job}} too large "
                                        "[Op:Conv2D]"), "TensorFlow gave up: too large"),
])
def test_an_error_is_told_in_one_sentence(error, sentence):
    assert cli.one_sentence(error) == sentence


@pytest.fixture(autouse=True)
def handlers_as_before():
    before = {each: signal.getsignal(each) for each in cli.ending_signals()}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def exit_code_of(error: BaseException | None, *also: type[Exception]):
    """What main exits with when this is raised in it: a number, or the sentence for stderr."""
    @cli.script(*also)
    def main(argv):
        raise error

    with pytest.raises(SystemExit) as exit:
        main(["script.py"])
    return exit.value.code


@pytest.mark.parametrize("error, code", [
    (UserError("--lr=-1 must be above 0"), "--lr=-1 must be above 0"),
    (PermissionError(13, "Permission denied", "runs"), "runs: Permission denied; choose another "
     "place, or get the right to use this one"),
    (MemoryError("Unable to allocate 9 GiB"),
     "this machine's memory does not suffice: Unable to allocate 9 GiB"),
    (KeyboardInterrupt(), 130),
    (SystemExit(7), 7),
])
def test_what_a_user_can_put_right_ends_a_script_without_a_traceback(error, code):
    assert exit_code_of(error) == code


def test_a_script_names_the_other_errors_that_it_expects():
    error = tf.errors.ResourceExhaustedError(None, None, "OOM")
    assert exit_code_of(error, tf.errors.OpError) == "TensorFlow gave up: OOM"
    with pytest.raises(tf.errors.ResourceExhaustedError):
        exit_code_of(error)
    with pytest.raises(ValueError, match="a bug"):  # keeps its traceback
        exit_code_of(ValueError("a bug"), tf.errors.OpError)


def test_arguments_are_refused_unless_a_script_takes_them():
    taken = []
    with pytest.raises(SystemExit) as exit:
        cli.script()(taken.append)(["./train.py", "stray"])
    assert exit.value.code == "train.py takes flags only, not 'stray': see python ./train.py --help"
    cli.script()(taken.append)(["train.py"])
    cli.script(arguments=True)(taken.append)(["predict.py", "a.jpg"])
    assert taken == [["train.py"], ["predict.py", "a.jpg"]]


@needs.sigkill
@pytest.mark.parametrize("ended_by, code", [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_script_that_a_signal_ends_cleans_up(ended_by, code):
    cleaned_up = []

    @cli.script()
    def main(argv):
        try:
            os.kill(os.getpid(), getattr(signal, ended_by))
            time.sleep(10)  # the signal interrupts it
        finally:
            cleaned_up.append(True)

    with pytest.raises(SystemExit) as exit:
        main(["script.py"])
    assert exit.value.code == code and cleaned_up


@needs.sigkill
def test_a_closed_terminal_that_is_to_be_ignored_ends_no_script():
    """nohup python train.py &"""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert cli.ending_signals() == [signal.SIGINT, signal.SIGTERM]
    signal.signal(signal.SIGHUP, before)


# ---------------------------------------------------------------------------------------------
# Where the output goes
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_what_an_encoding_does_not_have_is_printed_all_the_same(encoding):
    result = subprocess.run([sys.executable, "-c", "import support; print('cat.0.jpg …')"],
                            env={**os.environ, "PYTHONIOENCODING": encoding}, cwd=ROOT,
                            capture_output=True)
    assert (result.stdout.split(), result.stderr) == ([b"cat.0.jpg", rb"\u2026"], b"")


@needs.terminal
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(tmp_path, closed):
    """And no file of ours gets the number of a closed one, and what is printed there."""
    code = (f"import sys, support; file = open('{tmp_path}/file', 'w'); print('a', flush=True); "
            "print('b', file=sys.stderr); print(file.fileno(), sys.stdin.read(), file=file)")
    result = subprocess.run(["sh", "-c", f"'{sys.executable}' -c \"$CODE\" {closed}"], cwd=ROOT,
                            env={**os.environ, "CODE": code}, stdin=subprocess.DEVNULL,
                            capture_output=True)
    shown = [b"" if each in closed.split() else line
             for each, line in ((">&-", b"a\n"), ("2>&-", b"b\n"))]
    assert [result.returncode, result.stdout, result.stderr] == [0, *shown]
    assert int((tmp_path / "file").read_text()) > 2


@needs.terminal
@pytest.mark.parametrize("flag", ["--sample=9", "--help"])
def test_a_full_disk_under_standard_output_is_told(flag):
    result = subprocess.run(["sh", "-c", f"'{sys.executable}' data.py {flag} > /dev/full"],
                            cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, "standard output: No space left on device; "
                                                     "make room there\n")


@needs.terminal
def test_tensorflow_is_imported_where_standard_error_is_closed():
    result = subprocess.run(["sh", "-c", f"'{sys.executable}' models.py --arch=mlp 2>&-"], cwd=ROOT,
                            capture_output=True)
    assert result.returncode == 0 and b"18,049,025" in result.stdout


@needs.terminal
def test_what_is_printed_to_a_terminal_that_is_gone_is_lost():
    """In a process whose terminal is closed while it goes on, as under nohup."""
    import pty
    master, terminal = pty.openpty()
    code = ("import sys, support; print('first', flush=True); sys.stdin.readline()\n"
            "print('second', flush=True); print('third', file=sys.stderr); sys.exit(7)")
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE,
                          stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        assert os.read(master, 100) == b"first\r\n"
        os.close(master)
        process.communicate(b"go on\n")
    assert process.returncode == 7


def test_a_file_name_that_is_not_unicode_can_be_printed():
    result = subprocess.run([sys.executable, "-c", r"import support; print('a\udcff.jpg')"],
                            cwd=ROOT, capture_output=True)
    assert result.stdout.split() == [rb"a\udcff.jpg"]


@pytest.mark.parametrize("error, told", [("KeyboardInterrupt", b""), ("ValueError", b"Traceback")])
def test_a_ctrl_c_during_the_imports_has_no_traceback(error, told):
    result = subprocess.run([sys.executable, "-c", f"import support; raise {error}"], cwd=ROOT,
                            capture_output=True)
    assert result.returncode != 0 and result.stderr.split()[:1] == told.split()


def test_a_printed_name_moves_no_cursor():
    assert cli.printable("a\n\x1b[2J\t猫 é\udcff.jpg") == r"a\n\x1b[2J\t猫 é\udcff.jpg"


def test_no_name_is_refused():
    with pytest.raises(UserError, match="^an empty name: name a file or folder$"):
        cli.PATH.parse("")


@pytest.mark.parametrize("code", [
    "cli.script()(lambda argv: print('x '))(['x.py'])",  # met at the end
    "cli.script()(lambda argv: print(100_000 * 'x '))(['x.py'])",  # and in the middle
    "cli.flags_parser('doc')(['x.py', '--help'])"])
def test_a_reader_that_has_seen_enough_ends_a_script_without_a_word(code):
    """python predict.py … | head"""
    code = f"from support import cli; {code}"
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=writing,
                            stderr=subprocess.PIPE)
    os.close(writing)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, b"")
