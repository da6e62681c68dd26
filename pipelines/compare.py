"""Puts all runs of a data set side by side: a table, a picture of accuracy against training time, and a report."""

from headstart import cli
from headstart.settings import RUNS_FOLDER, CompareConfig, data_of, dataset_name


def main(config: CompareConfig) -> None:
    from headstart import comparison, plots, report, runs  # matplotlib loads here, after --help has answered
    from headstart.errors import RunError
    from headstart.files import whole_file

    folder = config.runs or RUNS_FOLDER / dataset_name(data_of(config))
    found = comparison.ranked(runs.list_runs(folder))
    if not found:
        raise RunError(f"{folder} holds no finished run: train one with make train-head or make finetune.")
    print(comparison.table(found))
    with whole_file(folder / "compare.png") as path:
        plots.accuracy_against_time(found, path)
    print(f"\nAccuracy against training time: {folder / 'compare.png'}")
    best, metrics = found[0]
    sentence = f"{best.name} has the best validation accuracy: {runs.summary(metrics)}."
    with whole_file(folder / "report.html") as path:
        path.write_text(report.render(folder, sentence, found, *report.sources(config)), encoding="utf-8")
    print(f"All of it, with images: {folder / 'report.html'}")


if __name__ == "__main__":
    cli.run(main, CompareConfig)
