"""Puts all runs of a data set side by side: what each is worth, what it took, and whether fine-tuning pays."""

from headstart import cli
from headstart.settings import RUNS_FOLDER, CompareConfig, data_of, dataset_name


def main(config: CompareConfig) -> None:
    """Prints three tables and a sentence, and writes the same as JSON, as a picture and as a page."""
    from headstart.cache.inspection import warning_of_copies
    from headstart.errors import RunError
    from headstart.report import comparison, tables
    from headstart.report import page as report
    from headstart.runs import pictures
    from headstart.runs.run import list_runs, ranked
    from headstart.support import files

    folder = config.runs or RUNS_FOLDER / dataset_name(data_of(config))
    runs = ranked(list_runs(folder))
    if not runs:
        raise RunError(f"{folder} holds no finished run: train one with make train-head or make finetune.")
    compared = comparison.compare(runs)
    cache, images = report.sources(config)
    print(f"{tables.names(compared)}\n\n{tables.accuracies(compared)}\n\n{tables.costs(compared)}")
    if cache and (warning := warning_of_copies(cache)):
        print(warning)
    files.write_json(folder / "compare.json", compared.to_json())
    with files.whole_file(folder / "compare.png") as path:
        pictures.accuracy_against_time(runs, path)
    with files.whole_file(folder / "report.html") as path:
        page = report.render(folder, compared.sentence, runs, cache, images)
        path.write_text(page, encoding="utf-8")
    print(f"\nAccuracy against training time: {folder / 'compare.png'}; all figures: {folder / 'compare.json'}")
    print(f"All of it on one page: {folder / 'report.html'}")
    print(f"\n{compared.sentence}")


if __name__ == "__main__":
    cli.run(main, CompareConfig)
