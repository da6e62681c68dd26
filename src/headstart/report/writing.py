"""All runs of a data set side by side, from the settings to the files beside the runs."""

from pathlib import Path

from headstart.cache.inspection import warning_of_copies
from headstart.errors import RunError
from headstart.report import comparison, page, tables
from headstart.runs import pictures
from headstart.runs.run import list_runs, ranked
from headstart.settings import RUNS_FOLDER, CompareConfig, data_of, dataset_name
from headstart.support import files


def compare(config: CompareConfig) -> Path:
    """Prints three tables and a sentence, writes them as JSON, as a picture and as a page; returns the JSON file."""
    folder = config.runs or RUNS_FOLDER / dataset_name(data_of(config))
    runs = ranked(list_runs(folder))
    if not runs:
        raise RunError(f"{folder} holds no finished run: train one with make train-head or make finetune.")
    compared = comparison.compare(runs)
    cache, images = page.sources(config)
    print(f"{tables.names(compared)}\n\n{tables.accuracies(compared)}\n\n{tables.costs(compared)}")
    if cache and (warning := warning_of_copies(cache)):
        print(warning)
    files.write_json(folder / "compare.json", compared.to_json())
    with files.whole_file(folder / "compare.png") as path:
        pictures.accuracy_against_time(runs, path)
    with files.whole_file(folder / "report.html") as path:
        report = page.render(folder, compared.sentence, runs, cache, images)
        path.write_text(report, encoding="utf-8")
    print(f"\nAccuracy against training time: {folder / 'compare.png'}; all figures: {folder / 'compare.json'}")
    print(f"All of it on one page: {folder / 'report.html'}")
    print(f"\n{compared.sentence}")
    return folder / "compare.json"
