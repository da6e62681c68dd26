"""How fast the pass and the cache are, against what people write by hand, measured in turn on this machine."""

from headstart import cli
from headstart.settings import BenchmarkConfig, ExtractConfig


def main(config: BenchmarkConfig) -> None:
    """Measures, prints a table, and writes the figures as JSON."""
    import statistics
    import tempfile
    from pathlib import Path

    from headstart import benchmarking, files

    with tempfile.TemporaryDirectory(prefix="headstart-") as name:
        folder = Path(name)
        manifest = benchmarking.gather(Path(config.data) if config.data else None, folder / "photos", config.images)
        extract = ExtractConfig(
            weights="random",
            image_px=config.image_px,
            precision=config.precision,
            compile=config.compile,
            batch_size=config.batch_size,
            workers=config.workers,
            device=config.device,
        )
        passing = benchmarking.Extraction(manifest, extract, folder)
        storing = benchmarking.Storage(passing.recipe, folder, config.rows)
        checking = benchmarking.Checking(passing.recipe, folder, config.rows)
        passing.backbone_ceiling()  # compiles, outside of the first round
        rates = benchmarking.rounds(
            {
                "plain": passing.plain,
                "ours": passing.ours,
                "backbone ceiling": passing.backbone_ceiling,
                "decode ceiling": passing.decode_ceiling,
                "cache write": storing.write,
                "numpy.tofile": storing.tofile,
                "cache load": storing.load,
                "cache load, verified": storing.load_verified,
                "numpy.fromfile": storing.fromfile,
                "up-to-date check": checking.check,
            },
            config.rounds,
        )
    machine = benchmarking.machine(passing.extractor.device)
    table = benchmarking.table(rates)
    print(f"{machine}; {config.images} photos, {config.image_px} px, {config.rounds} rounds")
    print(passing.describe())
    print("\n".join(table))
    print(passing.report.bottleneck())
    config.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "rates": rates, "medians": {name: statistics.median(r) for name, r in rates.items()}}
    files.write_json(config.out, content)
    print(f"All figures: {config.out}")


if __name__ == "__main__":
    cli.run(main, BenchmarkConfig)
