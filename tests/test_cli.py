"""What every program promises at its edges: one line for what a user can mend, clean stops, exit codes for scripts."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import termios
import warnings
from pathlib import Path

import pytest
import torch

from headstart import cli
from headstart.errors import DataError, DataWarning, HeadstartError, SettingsError
from headstart.settings import CompareConfig, ExtractConfig, HeadConfig


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a program in this process; returns its exit code and what it printed."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # put back afterwards

    def go(main, *flags, config_type=CompareConfig, **options):
        monkeypatch.setattr(sys, "argv", ["program", *flags])
        with pytest.raises(SystemExit) as stopped:
            cli.run(main, config_type, **options)
        return stopped.value.code, *capsys.readouterr()

    return go


def raising(error):
    def main(config):
        raise error

    return main


@pytest.mark.parametrize("kind", [HeadstartError, DataError, SettingsError])
def test_a_users_error_is_one_line_on_stderr_and_code_2(run, kind):
    assert run(raising(kind("photos holds no images."))) == (2, "", "photos holds no images.\n")


def test_a_wrong_setting_is_a_users_error_too(run):
    code, out, err = run(raising(AssertionError("not reached")), "--dropout", "2", config_type=HeadConfig)
    assert (code, out) == (2, "")
    assert err == "--dropout is 2.0, but must be in [0, 1).\n"


FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB"),
    torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in the manual"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", FULL, ids=["torch", "driver", "cuBLAS"])
def test_a_full_device_is_a_users_error(run, error):
    code, out, err = run(raising(error))
    assert (code, out) == (2, "")
    reason = str(error).partition("\n")[0].partition(". ")[0]
    assert err.startswith(f"The memory of the device is full: {reason}. End other programs on it,")
    assert "--device cpu" in err


SURROUNDINGS = [
    (MemoryError("Unable to allocate 3 TiB"), "The memory is full: Unable to allocate 3 TiB. End other programs,"),
    (RuntimeError("can't allocate memory: you tried"), "The memory is full: can't allocate memory: you tried. End"),
    (IsADirectoryError(21, "Is a directory", "c.h5.growing"), "c.h5.growing: Is a directory."),
    (OSError(28, "No space left on device"), "No space left on device."),
]


@pytest.mark.parametrize(("error", "said"), SURROUNDINGS, ids=["numpy's", "torch's", "in the way", "disk"])
def test_what_the_machine_lacks_is_a_sentence(run, error, said):
    code, out, err = run(raising(error))
    assert (code, out) == (2, "")
    assert err.startswith(said)


def test_a_folder_that_is_gone_is_a_sentence(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    said = "The folder in which this was started is gone: change into another one.\n"
    assert run(lambda config: os.getcwd()) == (2, "", said)


BAD_TOML = {
    "data = " + "[" * 100_000: "is not TOML: maximum recursion depth exceeded",
    "image_px = " + "9" * 5000: "is not TOML: Exceeds the limit",
    "data = 'a\0b'": "is not TOML: ",
    f"image_px = {2**70}": "--image-px is",
    "# " + "x" * 2**20: "is no settings file: it has 1,048,578 bytes",
}


@pytest.mark.parametrize(("text", "said"), BAD_TOML.items(), ids=["deep", "digits", "NUL", "2^70", "long"])
def test_a_settings_file_that_is_none_is_a_sentence(run, tmp_path, text, said):
    (tmp_path / "a.toml").write_text(text)
    code, out, err = run(raising(AssertionError), "--config", str(tmp_path / "a.toml"), config_type=ExtractConfig)
    assert (code, out) == (2, "")
    assert said in err


def test_our_own_bugs_are_not_dressed_up_as_a_users_error(monkeypatch, run):
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(ZeroDivisionError):
        cli.run(raising(ZeroDivisionError()), CompareConfig)
    with pytest.raises(RuntimeError, match="shapes"):
        cli.run(raising(RuntimeError("shapes do not fit")), CompareConfig)


def test_one_of_several_processes_says_which_it_is(run, monkeypatch):
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert run(raising(DataError("GPU 3 is full.")))[2] == "process 3: GPU 3 is full.\n"


def test_ctrl_c_stops_with_code_130_and_says_how_to_go_on(run):
    def main(config):
        signal.raise_signal(signal.SIGINT)

    code, out, err = run(main, on_interrupt="The same command goes on.")
    assert (code, out, err) == (130, "", "\nStopped. The same command goes on.\n")
    assert run(main) == (130, "", "\nStopped.\n")
    assert (
        run(main, "--data", "pets", on_interrupt=lambda config: f"{config.data} is kept.")[2]
        == "\nStopped. pets is kept.\n"
    )


@pytest.mark.parametrize(("returned", "code"), [(None, None), (0, 0), (1, 1)])
def test_the_exit_code_is_what_the_program_returns(run, returned, code):
    assert run(lambda config: returned)[0] == code


def test_a_program_gets_its_settings_from_the_command_line(run):
    code, out, _ = run(lambda config: print(config.data), "--data", "photos")
    assert (code, out) == (None, "photos\n")


@pytest.mark.parametrize(
    ("environment", "spins"),
    [({}, cli.SPIN_COUNT), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_threads_that_wait_soon_leave_the_core_to_others_unless_the_user_chose(run, monkeypatch, environment, spins):
    with monkeypatch.context() as patch:
        for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
            patch.setenv(name, "")  # so that it is put back
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        assert run(lambda config: print(os.environ.get("GOMP_SPINCOUNT")))[1] == f"{spins}\n"


SCRIPT = """
import sys, warnings
from headstart import cli
from headstart.settings import CompareConfig

assert "numpy" not in sys.modules

def main(config):
    from headstart.errors import DataWarning

    warnings.warn("No image in val for: cat.", DataWarning, stacklevel=2)
    exec(compile("import warnings; warnings.warn('Corrupt EXIF data.')", "TiffImagePlugin.py", "exec"),
         {"__name__": "PIL.TiffImagePlugin"})
    warnings.warn("something else")
    return 3

cli.run(main, CompareConfig)
"""


def test_a_warning_about_the_data_is_one_readable_line_and_other_warnings_stay_as_they_are(tmp_path):
    """Pillow's about broken metadata do not reach the user: he cannot mend it, and the picture is fine."""
    script = tmp_path / "program.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert done.returncode == 3
    assert lines[0] == "warning: No image in val for: cat."
    assert lines[1].endswith("UserWarning: something else")
    assert "EXIF" not in done.stderr


def test_of_several_processes_the_first_warns_about_the_data(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(SCRIPT)
    team = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1]), **team}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert "No image in val" not in done.stderr
    assert "UserWarning: something else" in done.stderr


def test_a_warning_about_the_data_loads_nothing_heavy():
    code = "import sys, headstart.datasets.labelled; print({'torch', 'h5py', 'PIL', 'sklearn'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


WRITER = """
import headstart.support.ctrl_c
import sys
from headstart import cli
from headstart.settings import CompareConfig

def main(config):
    with open(config.data, "w") as file:
        for number in range(10_000):
            print("line", number, flush=number % 100 == 0)
            print("progress", file=sys.stderr)
        file.write("finished")
    print("end")
    return 1

cli.run(main, CompareConfig)
"""


@pytest.mark.parametrize("flags", [[], ["-u"]], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("pipe", ["| head -2", "2>&1 | head -2", "| true", "2>&1 | true"])
def test_a_reader_that_has_enough_ends_no_program_and_sees_no_traceback(tmp_path, flags, pipe):
    """`make train-head | head` still saves its run; the exit code is the program's own."""
    script, out = tmp_path / "program.py", tmp_path / "out"
    script.write_text(WRITER)
    command = f"{sys.executable} {' '.join(flags)} {script} --data {out} {pipe}; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert out.read_text() == "finished"
    assert done.stdout.splitlines()[-1] == "1"
    assert set(done.stderr.split()) <= {"progress"}
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("lost", [">/dev/full", ">/dev/full 2>&1", "<&- >&- 2>&-"], ids=["full", "both", "closed"])
def test_output_that_leads_nowhere_ends_no_program(tmp_path, lost):
    """Where a descriptor is closed, the first file that is opened does not get what is printed."""
    script, out = tmp_path / "program.py", tmp_path / "out"
    script.write_text(WRITER)
    command = f"{sys.executable} {script} --data {out} {lost}"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert (out.read_text(), done.returncode, done.stdout) == ("finished", 1, "")
    said = "warning: what is printed cannot be written: No space left on device."
    assert [line for line in done.stderr.splitlines() if line != "progress"] == ([said] if lost == ">/dev/full" else [])


def test_a_terminal_that_is_closed_ends_no_program(tmp_path):
    script, out = tmp_path / "program.py", tmp_path / "out"
    script.write_text(WRITER)
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    ours, theirs = os.openpty()
    command, take_it = [sys.executable, script, "--data", out], lambda: fcntl.ioctl(0, termios.TIOCSCTTY)
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=take_it, **streams) as process:
        os.close(theirs)
        assert os.read(ours, 1) in (b"l", b"p")  # of a line, or of the progress
        os.close(ours)
        assert process.wait(60) == 1
    assert out.read_text() == "finished"


SPEAKER = r"""
from headstart import cli
from headstart.errors import DataError
from headstart.settings import CompareConfig

def main(config):
    print("\u732b: 3 caf\udce9")
    raise DataError("No image in \u732b\u2026")

cli.run(main, CompareConfig)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_characters_that_the_output_cannot_hold_are_replaced(tmp_path, encoding):
    """Bytes of file names that are not UTF-8 stay as they are."""
    script = tmp_path / "program.py"
    script.write_text(SPEAKER)
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1]), "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True)
    cat = "\u732b" if encoding == "utf-8" else "\\u732b"
    assert done.returncode == 2
    assert done.stdout == f"{cat}: 3 caf".encode() + b"\xe9\n"
    assert done.stderr.startswith(f"No image in {cat}".encode())
    assert b"Traceback" not in done.stderr


def test_names_of_files_are_utf8_whatever_the_locale(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(SPEAKER.replace("print(", "print(len(config.data), open(config.data, 'w').name, "))
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, script, "--data", "\u732b".encode()]
    done = subprocess.run(command, env=environment, capture_output=True, cwd=tmp_path)
    assert (done.returncode, done.stdout.split()[:2]) == (2, [b"1", b"\\u732b"])
    assert (tmp_path / "\u732b").exists()


def test_no_hidden_layer_is_the_word_none_for_one_head_too():
    for words in (["--hidden", "none"], ["--hidden=none"]):
        assert cli.parse(HeadConfig, [*words, "--lr", "1e-4"]).hidden == ()


def test_several_values_for_one_head_point_to_the_sweep():
    with pytest.raises(SettingsError, match=r"--lr takes one value here.*make sweep SWEEP_ARGS='--lr 1e-3 1e-4'"):
        cli.parse(HeadConfig, ["--lr", "1e-3", "1e-4"])
    with pytest.raises(SettingsError) as error:
        cli.parse(HeadConfig, shlex.split("--data=a --cache b.h5 --hidden 8 4 --lr 1 2 --epochs=3 --run r"))
    assert "make sweep DATA=a CACHE=b.h5 SWEEP_ARGS='--hidden 8,4 --lr 1 2 --epochs 3'" in str(error.value)
    config = cli.parse(HeadConfig, ["--hidden", "512", "256", "--data", "my photos"])
    assert (config.hidden, config.data) == ((512, 256), "my photos")


def test_an_error_and_a_warning_say_how_make_takes_the_flags_that_they_name(run, monkeypatch, tmp_path):
    (tmp_path / "Makefile").touch()
    (tmp_path / "pipelines").mkdir()
    monkeypatch.chdir(tmp_path)

    def main(config):
        print(warnings.formatwarning("Merged: add --class-level leaf.", DataWarning, "file", 1))
        raise DataError("Try a lower --lr.")

    _, out, err = run(main, config_type=HeadConfig)
    assert err == 'Try a lower --lr.\nWith make: HEAD_ARGS="--lr …"\n'
    assert out == 'warning: Merged: add --class-level leaf.\nWith make: EXTRACT_ARGS="--class-level leaf"\n\n'
    assert run(raising(DataError("Try a lower --lr.")), "--lr", "3", config_type=HeadConfig)[2].count("\n") == 1


def test_settings_can_be_read_alone(run, monkeypatch):
    monkeypatch.setenv(cli.ONLY_READ, "1")
    assert run(raising(AssertionError("not reached"))) == (0, "", "")
    assert run(raising(AssertionError("not reached")), "--dropout", "2", config_type=HeadConfig)[0] == 2
