"""How fast pass, cache and heads are, against what people write by hand, measured in turn on this machine."""

from headstart import cli
from headstart.settings import BenchmarkConfig, ExtractConfig, FinetuneConfig


def main(config: BenchmarkConfig) -> None:
    """Measures, prints a table, and writes the figures as JSON."""
    import statistics
    import tempfile
    from functools import partial
    from pathlib import Path

    from headstart.benchmarks import by_hand, finetuning, heads, photos, rounds, storing, tables
    from headstart.benchmarks import extraction as passing
    from headstart.support import files

    with tempfile.TemporaryDirectory(prefix="headstart-") as name:
        folder = Path(name)
        manifest = photos.gather(Path(config.data) if config.data else None, folder / "photos", config.images)
        extract = ExtractConfig(
            weights="random",
            image_px=config.image_px,
            precision=config.precision,
            compile=config.compile,
            batch_size=config.batch_size,
            workers=config.workers,
            device=config.device,
        )
        extraction = passing.Extraction(manifest, extract, folder)
        storage = storing.Storage(extraction.recipe, folder, config.rows)
        reading = storage.reading()
        checking = storing.Checking(extraction.recipe, folder, config.rows)
        training = heads.Heads(config.rows, extraction.extractor.device)
        part = max(2, config.images // 4)
        finetune = FinetuneConfig(
            weights="random",
            image_px=config.image_px,
            epochs=1,
            batch_size=config.batch_size,
            subset=part,
            workers=config.workers,
        )
        hand = by_hand.ByHand(manifest, config.batch_size, config.workers, config.device)
        end_to_end = finetuning.EndToEnd(manifest, finetune, extraction.extractor.device)
        extraction.backbone_ceiling()  # compiles, outside of the first round; so does the next
        extraction.predicting()
        rates = rounds.rounds(
            {
                "plain": rounds.in_its_own_process(hand.features),
                "ours": extraction.ours,
                "predicting": extraction.predicting,
                "backbone ceiling": extraction.backbone_ceiling,
                "decode ceiling": extraction.decode_ceiling,
                "decode from tar": extraction.decode_from_tar,
                "cache write": storage.write,
                "numpy.tofile": storage.tofile,
                "cache load": reading.load,
                "cache load, verified": reading.load_verified,
                "numpy.fromfile": reading.fromfile,
                "up-to-date check": checking.check,
                "backbone each epoch": rounds.in_its_own_process(hand.head_each_epoch),
                "plain loop": training.plain,
                "one head": training.one,
                "one head, 9 views": training.with_views,
                "64 heads": training.many,
                "64 heads, halving": training.swept,
                "plain fine-tuning": rounds.in_its_own_process(partial(hand.fine_tuning, part)),
                "fine-tuning": end_to_end.ours,
            },
            config.rounds,
        )
    machine = rounds.machine(extraction.extractor.device)
    print(f"{machine}; {config.images} photos, {config.image_px} px, {config.rows:,} rows, {config.rounds} rounds")
    print(extraction.describe())
    print("\n".join([*tables.table(rates), *tables.limits(rates), extraction.report.bottleneck()]))
    print(training.describe())
    print("\n".join(tables.costs(rates, config.rows)))
    config.out.parent.mkdir(parents=True, exist_ok=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    files.write_json(config.out, {"machine": machine, "rates": rates, "medians": medians})
    print(f"All figures: {config.out}")


if __name__ == "__main__":
    cli.run(main, BenchmarkConfig)
