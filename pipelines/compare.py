"""Puts all runs of a data set side by side: what each is worth, what it took, and whether fine-tuning pays."""

from headstart import cli
from headstart.settings import RUNS_FOLDER, CompareConfig, data_of
from headstart.settings.command import command


def main(config: CompareConfig) -> None:
    """Prints two tables and a sentence, and writes the same as JSON, as a picture and as a page."""
    from headstart.cache.finding import data_set_of
    from headstart.datasets.naming import name_of
    from headstart.errors import RunError
    from headstart.report import comparison, tables
    from headstart.report import page as report
    from headstart.runs import pictures
    from headstart.runs.one_data_set import of_one_data_set
    from headstart.runs.run import list_runs, ranked
    from headstart.support import files

    cache, images = report.sources(config)
    name = name_of(config.data) if config.data else cache and data_set_of(cache)
    folder = config.runs or RUNS_FOLDER / (name or data_of(config))
    runs, left_out = of_one_data_set(list_runs(folder), config.data or (cache.manifest.source if cache else None))
    if not runs:
        way_on = f"Train one with: {command('train-head', config.data, config.cache)}" if config.data else ""
        raise RunError(f"{folder} holds no finished run. {way_on}".rstrip())
    print("".join(f"{sentence}\n" for sentence in left_out), end="")
    runs = ranked(runs)
    compared = comparison.compare(runs)
    print(f"{tables.accuracies(compared)}\n\n{tables.costs(compared)}")
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
