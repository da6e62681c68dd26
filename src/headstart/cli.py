"""Command lines of all programs: reads their settings, prints errors and warnings as one line, stops on Ctrl-C."""

import dataclasses
import os
import sys
import tomllib
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from headstart import settings
from headstart.errors import DataWarning, HeadstartError, SettingsError, did_you_mean
from headstart.settings.command import FLAGS_OF, as_flag, by_flag, command
from headstart.settings.mistakes import refuse_mistakes, refuse_wrong_counts
from headstart.settings.wording import for_make
from headstart.support import output, surroundings
from headstart.support.team import first_to_say, is_leading

SPIN_COUNT = "10000"
"""Checks that a thread makes while it waits for others, before it sleeps: some 100 µs. OpenMP's own value makes threads
check for milliseconds, and beside other programs a head then trains 5 times slower. 1,000 would cost a fifth of the
speed when nothing else runs; 10,000 cost nothing that could be measured (AMD Zen 4, 2 cores)."""

CONFIG_FOLDER = Path("pipelines/configs")

MOST_BYTES = 2**20
"""Of a settings file."""

ONLY_READ = "HEADSTART_ONLY_READ_SETTINGS"
"""Variable of the environment with which a program ends once its settings are read: make reads those of the programs
that follow a pass before the pass."""
FOLLOWED = "HEADSTART_FOLLOWED"
"""Variable of the environment with which make says that another program follows the pass."""

Config = TypeVar("Config")

PROGRAMS: dict[str, type] = {
    "prepare": settings.PrepareConfig,
    "data_check": settings.DataCheckConfig,
    "extract": settings.ExtractConfig,
    "inspect": settings.InspectConfig,
    "head": settings.HeadConfig,
    "sweep": settings.SweepConfig,
    "probe": settings.ProbeConfig,
    "learning_curve": settings.LearningCurveConfig,
    "cv": settings.CrossValidationConfig,
    "audit": settings.AuditConfig,
    "similar": settings.SimilarConfig,
    "choose": settings.ChooseConfig,
    "finetune": settings.FinetuneConfig,
    "compare": settings.CompareConfig,
    "predict": settings.PredictConfig,
    "export": settings.ExportConfig,
    "benchmark": settings.BenchmarkConfig,
    "gpu": settings.GpuConfig,
}
"""The tables of a TOML file, each with the settings of its program."""


def is_followed() -> bool:
    """Whether make calls another program after this one, which describes the cache."""
    return FOLLOWED in os.environ


def nothing_saved(config: Any) -> str:
    """What a training that was stopped has left."""
    is_curve = isinstance(config, settings.LearningCurveConfig)
    for word, runs in (("backbone", len((config.backbone or "").split())), ("seed", 1 if is_curve else config.seeds)):
        if runs > 1:
            return f"Runs that were finished are kept: the same command goes on with the next {word}."
    return "Nothing was saved: the same command starts again."


def run(
    main: Callable[[Config], int | None],
    config_type: type[Config],
    on_interrupt: str | Callable[[Config], str] = "",
) -> None:
    """Runs a program and exits: 0 or what `main` returns, 2 for a user's error, 130 after Ctrl-C.

    After Ctrl-C it prints `on_interrupt`, which says how to go on; a function sees what is there by then.
    """
    surroundings.start_in_utf8()
    from headstart.support import ctrl_c  # a program has it already; elsewhere it would change what Ctrl-C does

    _set_up_process(config_type)
    config = None
    try:
        ctrl_c.may_be_caught()
        config = parse(config_type, sys.argv[1:])
        sys.exit(0 if ONLY_READ in os.environ else main(config))
    except HeadstartError as error:
        _print_error(error, config_type)
        sys.exit(2)
    except (RuntimeError, MemoryError, OSError) as error:
        if not (message := surroundings.what_is_missing(error)):
            raise
        _print_error(HeadstartError(message), config_type)
        sys.exit(2)
    except KeyboardInterrupt:
        if is_leading():  # one of several processes is enough
            way_on = on_interrupt if isinstance(on_interrupt, str) else on_interrupt(config) if config else ""
            print(f"\nStopped. {way_on}".rstrip(), file=sys.stderr)
        sys.exit(ctrl_c.STOPPED)


def _print_error(error: HeadstartError, config_type: type) -> None:
    """Prints the error; where several processes on one machine have the same, only the first prints it."""
    if first_to_say(error):
        message = _for_make(error.on_command_line, config_type)
        print(message if is_leading() else f"process {os.environ['RANK']}: {message}", file=sys.stderr)


def _for_make(message: str, config_type: type) -> str:
    """A message of a program, with what users of make must know; see `wording.for_make`."""
    own = [name for name in FLAGS_OF if PROGRAMS[name] is config_type]
    fields = {name: _fields(PROGRAMS[name]) for name in [*own, *FLAGS_OF]}
    return for_make(message, fields, sys.argv[1:])


def _set_up_process(config_type: type) -> None:
    """Prepares output and threads; it changes the whole process, so it comes first.

    A warning about the data is one line, printed by the first process only; Pillow's about metadata are not printed.
    """
    output.prepare()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # we report a lost connection
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read when torch loads
    default_format = warnings.formatwarning

    def one_line(message: Warning | str, category: type[Warning], *details: Any, **more: Any) -> str:
        if issubclass(category, DataWarning):
            return f"warning: {_for_make(str(message), config_type)}\n"
        return default_format(message, category, *details, **more)

    warnings.formatwarning = one_line
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if not is_leading():
        warnings.filterwarnings("ignore", category=DataWarning)


def parse(config_type: type[Config], arguments: Sequence[str]) -> Config:
    """The settings of one program, from its TOML file and its flags; SystemExit where a flag cannot be read."""
    names = [values[0] for flag, values in by_flag(arguments) if flag == "--config" and any(values)]
    defaults = _from_flags(config_type, read_toml(names[-1], config_type)) if names else config_type()
    return _from_flags(config_type, list(arguments), default=defaults)


def _from_flags(config_type: type[Config], flags: list[str], **default: Any) -> Config:
    import tyro

    parsed: Callable[[], Config] = partial(tyro.cli, config_type, args=_switches(config_type, flags), **default)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return parsed()
    except SystemExit as stopped:
        error: BaseException | None = stopped
        while error:
            if isinstance(error, SettingsError):  # a ValueError, around which tyro prints a box
                raise error from None
            error = error.__context__
    output.show_colours()
    return parsed()  # again, to print help, or which flag cannot be read


def _switches(config_type: type, words: Sequence[str]) -> list[str]:
    """Spells out `--x` and `--no-x` where a switch may also be left open, for which tyro takes a value."""
    is_head = issubclass(config_type, settings.HeadConfig)
    words = [part for word in words for part in (word.split("=") if word == "--hidden=none" else [word])]
    pairs = zip(["", *words], words, strict=False)
    words = [word for before, word in pairs if not (is_head and (before, word) == ("--hidden", "none"))]
    refuse_mistakes(config_type, words, PROGRAMS)
    _refuse_several(config_type, words)
    refuse_wrong_counts(config_type, words)
    names = [field.name.replace("_", "-") for field in dataclasses.fields(config_type) if field.type == bool | None]
    spelled = {f"--{no}{name}": f"--{name}={not no}" for name in names for no in ("", "no-")}
    return [spelled.get(word, word) for word in words]


def _refuse_several(config_type: type, words: Sequence[str]) -> None:
    """Points to the sweep where one head is given several values of a setting."""
    if not issubclass(config_type, settings.HeadConfig):
        return
    single = {field.name for field in dataclasses.fields(config_type) if not isinstance(field.default, tuple)}
    several = {field.name for field in dataclasses.fields(settings.SweepConfig) if isinstance(field.default, tuple)}
    compared = single & several
    for flag, values in by_flag(words):
        if flag[2:].replace("-", "_") in compared and len(values) > 1:
            raise SettingsError(
                f"{flag} takes one value here, and {len(values)} are given. To compare several: {_as_sweep(words)}"
            )


def _as_sweep(words: Sequence[str]) -> str:
    """The command that compares what was given for one head."""
    given = {flag[2:].replace("-", "_"): values for flag, values in by_flag(words)}
    data, cache, settings_file = ("".join(given.pop(name, ())) for name in ("data", "cache", "config"))
    if "hidden" in given:
        given["hidden"] = [",".join(given["hidden"]) or "none"]
    names = [name for name in given if name in _fields(settings.SweepConfig) - {"run"}]
    flags = [word for name in names for word in as_flag(name, given[name])]
    return command("sweep", data, cache, flags=flags, settings_file=settings_file)


def read_toml(name: str, config_type: type) -> list[str]:
    """The settings that a TOML file has for one program, as flags; the program's own table overrides shared keys.

    `name` is one in pipelines/configs, or a path that ends in .toml; `config_type` is one of `PROGRAMS`.
    """
    path = Path(os.path.expanduser(name)) if name.endswith(".toml") else CONFIG_FOLDER / f"{name}.toml"
    if not path.is_file():
        known = sorted(file.stem for file in CONFIG_FOLDER.glob("*.toml"))
        raise SettingsError(
            f"There is no settings file {path}. Known names: {', '.join(known) or 'none here'}; or give a path ending "
            f"in .toml.{did_you_mean(name, known)}"
        )
    if path.stat().st_size > MOST_BYTES:
        raise SettingsError(f"{path} is no settings file: it has {path.stat().st_size:,} bytes.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, of a number with thousands of digits
        raise SettingsError(f"{path} is not TOML: {str(error).partition(';')[0]}.") from None
    _refuse_unknown_keys(path, content)
    table, fields = next(name for name, program in PROGRAMS.items() if program is config_type), _fields(config_type)
    # Programs that use a finished run take no settings from its data set.
    shared = {key: value for key, value in content.items() if "data" in fields and key in fields}
    merged = {**shared, **content.get(table, {})}
    return [word for key, value in merged.items() for word in as_flag(key, value)]


def _refuse_unknown_keys(path: Path, content: dict[str, Any]) -> None:
    anywhere = {field for program in PROGRAMS.values() for field in _fields(program)}
    for key, value in content.items():
        if isinstance(value, dict) and key not in PROGRAMS:
            tables = f"there are {', '.join(PROGRAMS)}.{did_you_mean(key, PROGRAMS)}"
            raise SettingsError(f"{path}: unknown table [{key}]; {tables}")
        if not isinstance(value, dict) and key not in anywhere:
            raise SettingsError(f"{path}: unknown setting {key!r}.{did_you_mean(key, anywhere)}")
        for inner in value if isinstance(value, dict) else ():
            if inner not in (known := _fields(PROGRAMS[key])):
                raise SettingsError(f"{path}: unknown setting {inner!r} in [{key}].{did_you_mean(inner, known)}")


def _fields(program: type) -> set[str]:
    return {field.name for field in dataclasses.fields(program)} - {"config"}
