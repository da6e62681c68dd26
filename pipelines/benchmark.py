"""How fast pass, cache and heads are, compared with what people write by hand, in turn on this machine."""

from typing import TYPE_CHECKING

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import BenchmarkConfig, ExtractConfig, FinetuneConfig

if TYPE_CHECKING:
    from pathlib import Path

    from headstart.benchmarks.extraction import Extraction
    from headstart.benchmarks.heads import Heads
    from headstart.benchmarks.rounds import Contestant
    from headstart.datasets.manifest import Manifest


def main(config: BenchmarkConfig) -> None:
    """Measures, prints a table, and writes the figures as JSON."""
    import statistics
    import tempfile
    from pathlib import Path

    from headstart.benchmarks import heads, photos, rounds, tables
    from headstart.benchmarks.extraction import Extraction
    from headstart.support import files

    with tempfile.TemporaryDirectory(prefix="headstart-") as name:
        folder = Path(name)
        manifest = photos.gather(Path(config.data) if config.data else None, folder / "photos", config.images)
        extraction = Extraction(manifest, extract_config(config), folder)
        training = heads.Heads(config.rows, extraction.extractor.device)
        rates = rounds.rounds(contestants(config, manifest, folder, extraction, training), config.rounds)
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


def extract_config(config: BenchmarkConfig) -> ExtractConfig:
    """The settings of our pass."""
    return ExtractConfig(
        weights="random",
        image_px=config.image_px,
        precision=config.precision,
        compile=config.compile,
        batch_size=config.batch_size,
        workers=config.workers,
        device=config.device,
    )


def finetune_config(config: BenchmarkConfig, images: int) -> FinetuneConfig:
    """The settings of our fine-tuning."""
    return FinetuneConfig(
        weights="random",
        image_px=config.image_px,
        epochs=1,
        batch_size=config.batch_size,
        subset=images,
        workers=config.workers,
    )


def contestants(
    config: BenchmarkConfig, manifest: "Manifest", folder: "Path", extraction: "Extraction", training: "Heads"
) -> dict[str, "Contestant"]:
    """All contestants, in the order of the table; what compiles has compiled."""
    from functools import partial

    from headstart.benchmarks import by_hand, storing
    from headstart.benchmarks.extraction import fine_tuning
    from headstart.benchmarks.rounds import in_its_own_process

    storage = storing.Storage(extraction.recipe, folder, config.rows)
    hand = by_hand.ByHand(manifest, config.batch_size, config.workers, config.device)
    part = max(2, config.images // 4)
    finetune = finetune_config(config, part)
    extraction.backbone_ceiling()  # compiles, outside of the first round; so does the next
    extraction.predicting()
    return {
        "plain": in_its_own_process(hand.features),
        "ours": extraction.ours,
        "predicting": extraction.predicting,
        "backbone ceiling": extraction.backbone_ceiling,
        "decode ceiling": extraction.decode_ceiling,
        "decode from tar": extraction.decode_from_tar,
        "cache write": storage.write,
        "numpy.tofile": storage.tofile,
        "cache load": storage.load,
        "cache load, verified": storage.load_verified,
        "numpy.fromfile": storage.fromfile,
        "up-to-date check": storing.checking(extraction.recipe, folder, config.rows),
        "backbone each epoch": in_its_own_process(hand.head_each_epoch),
        "plain loop": training.plain,
        "one head": training.one,
        "one head, 9 views": training.with_views,
        "64 heads": training.many,
        "64 heads, halving": training.swept,
        "plain fine-tuning": in_its_own_process(partial(hand.fine_tuning, part)),
        "fine-tuning": partial(fine_tuning, manifest, finetune, training.device),
    }


if __name__ == "__main__":
    cli.run(main, BenchmarkConfig)
