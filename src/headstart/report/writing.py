"""All runs of a data set side by side, from the settings to the files beside the runs."""

from pathlib import Path

from headstart.cache.finding import cache_of_runs, data_set_of
from headstart.datasets.naming import name_of
from headstart.errors import RunError
from headstart.report import comparison, page, tables
from headstart.runs import pictures
from headstart.runs.listing import list_runs
from headstart.runs.one_data_set import of_one_data_set
from headstart.runs.selection import heading, ranked_by
from headstart.settings import RUNS_FOLDER, CompareConfig, data_of
from headstart.settings.base import is_missing
from headstart.settings.command import command
from headstart.support import files
from headstart.support.files import nearest_name


def compare(config: CompareConfig) -> Path:
    """Prints tables and sentences, writes them as JSON, as a picture and as a page; returns the JSON file."""
    cache, images = page.sources(config)
    name = data_set_of(cache) if cache else config.data and name_of(config.data)
    folder = config.runs or RUNS_FOLDER / (name or data_of(config))
    present = cache or cache_of_runs(folder)
    runs, left_out = of_one_data_set(
        list_runs(folder),
        config.data or (cache.manifest.source if cache else None),
        present.manifest if present else None,
    )
    if not runs:
        raise RunError(f"{folder} holds no finished run. {_way_on(config)}".rstrip())
    if left_out:
        print(left_out)
    compared = comparison.compare(runs, config.worth, config.select)
    if mixed := ranked_by(compared.select, [each.run.select for each in compared.ranking]):
        print(f'{mixed} COMPARE_ARGS="--select …" takes another figure.')
    print(f"{tables.names(compared)}\n\n{tables.accuracies(compared)}\n\n{tables.costs(compared)}")
    if compared.backbones:
        print(f"\n{tables.backbones(compared.backbones)}")
    said, chart, figures = " ".join(filter(None, [left_out, mixed])), folder / "compare.png", folder / "compare.json"
    try:
        with files.in_words(RunError, f"The comparison cannot be written to {folder}"):
            _write(folder, compared, page.render(folder, compared, cache, images, said))
        print(f"\n{heading(compared.select)} against training time: {chart}; all figures: {figures}")
        print(f"All of it on one page: {folder / 'report.html'}")
    finally:  # the result is known even if nothing can be written
        print(f"\n{compared.sentence}")
        if compared.backbones:
            print(compared.backbones.sentence)
        if compared.advice:
            print("", *compared.advice, sep="\n")
    return figures


def _write(folder: Path, compared: comparison.Comparison, report: str) -> None:
    files.write_json(folder / "compare.json", compared.to_json())
    with files.whole_file(folder / "compare.png") as path:
        pictures.accuracy_against_time([each.method for each in compared.methods], path)
    with files.whole_file(folder / "report.html") as path:
        path.write_text(report, encoding="utf-8")


def _way_on(config: CompareConfig) -> str:
    """The command that trains a first run, where there is something to train on."""
    if config.config and not config.cache:
        return f"Train one with: {command('train-head', settings_file=config.config)}"
    if not config.data:
        return ""
    if is_missing(config.data):
        guess = nearest_name(config.data, [folder.name for folder in RUNS_FOLDER.glob("*")])
        return f"{config.data} does not exist, either.{guess}"
    return f"Train one with: {command('train-head', config.data, config.cache)}"
