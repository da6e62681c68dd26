"""How fast pass, cache and heads are, compared with what people write by hand, in turn on this machine."""

from typing import TYPE_CHECKING

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.errors import SettingsError
from headstart.settings import DEFAULTS, BenchmarkConfig, ExtractConfig, FinetuneConfig, each_backbone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headstart.benchmarks.by_hand import ByHand
    from headstart.benchmarks.extraction import Extraction
    from headstart.benchmarks.heads import Heads
    from headstart.benchmarks.rounds import Contestant, Rates
    from headstart.datasets.manifest import Manifest


RESNET50 = DEFAULTS["backbone"]


def main(config: BenchmarkConfig) -> None:
    """Measures, prints a table, and writes the figures as JSON."""
    import tempfile
    from pathlib import Path

    from headstart.benchmarks import photos
    from headstart.support.devices import pick_device

    device = pick_device(config.device)
    if config.forms and (device.type != "cpu" or each_backbone(config)[1:]):
        raise SettingsError("--forms is for one backbone on a processor: give one name, and --device cpu.")
    config = config.completed(device.type == "cuda")
    with tempfile.TemporaryDirectory(prefix="headstart-") as name:
        folder = Path(name)
        manifest = photos.gather(Path(config.data) if config.data else None, folder / "photos", config.images)
        if config.forms:
            of_forms(config, manifest, folder)
            return
        several = each_backbone(config)
        (of_several(several, manifest, folder) if several[1:] else of_one(several[0], manifest, folder))


def of_one(config: BenchmarkConfig, manifest: "Manifest", folder: "Path") -> None:
    """Measures pass and cache of one backbone; of resnet50 heads and fine-tuning, too."""
    import statistics

    from headstart.benchmarks import heads, limits, rounds, tables
    from headstart.benchmarks.extraction import Extraction

    extraction = Extraction(manifest, extract_config(config), folder)
    measured = of_the_pass(config, manifest, folder, extraction)
    training = None
    if config.backbone == RESNET50:
        training = heads.Heads(config.rows, extraction.extractor.device)
        measured |= of_training(config, manifest, training)
    rates = rounds.rounds(measured, config.rounds)
    lines = [extraction.describe(), *tables.table(rates), *tables.limits(rates), extraction.report.bottleneck()]
    if training:
        lines += [training.describe(), *tables.costs(rates, config.rows)]
        if training.device.type == "cpu":
            lines += limits.measure().lines(statistics.median(rates["64 heads"]))
    tell(config, rates, rounds.machine(extraction.extractor.device), lines)


def of_several(configs: "Sequence[BenchmarkConfig]", manifest: "Manifest", folder: "Path") -> None:
    """Measures the pass that fills the caches of several backbones."""
    from headstart.benchmarks import rounds, tables
    from headstart.benchmarks.extraction import Extraction, contestants

    extractions = [Extraction(manifest, extract_config(config), folder) for config in configs]
    rates = rounds.rounds(contestants(extractions), configs[0].rounds)
    lines = [*(each.describe() for each in extractions), *tables.table(rates), tables.limit_of_several(rates)]
    tell(configs[0], rates, rounds.machine(extractions[0].extractor.device), lines)


def of_forms(config: BenchmarkConfig, manifest: "Manifest", folder: "Path") -> None:
    """Measures whole processes in each form, then the backbone alone in each form and in other runtimes."""
    from headstart.benchmarks import forms, peers, rounds, tables
    from headstart.support.devices import pick_device

    device = pick_device(config.device)
    reasons = {name: forms.obstacle(name, device) for name in forms.FORMS} | peers.missing()
    possible = {
        name: forms.Form.of(name, manifest, extract_config(config), folder) for name in forms.FORMS if not reasons[name]
    }
    processes = {"process: plain": forms.by_hand(by_hand(config, manifest), folder / "by_hand.pt")}
    for name, form in possible.items():
        processes |= form.processes(name)
    rates = rounds.rounds(processes, config.forms)
    backbones = forms.backbones(possible) | peers.contestants(possible["fp32 eager"].extraction(), folder)
    rates |= rounds.rounds(backbones, config.rounds)
    tell(config, rates, rounds.machine(device), [*tables.table(rates), *tables.left_out(reasons)])


def tell(config: BenchmarkConfig, rates: "Rates", machine: str, lines: "Sequence[str]") -> None:
    """Prints the lines and writes the figures."""
    import statistics

    from headstart.support import files

    work = f"{config.forms} x whole processes, backbones" if config.forms else f"{config.rows:,} rows"
    print(f"{machine}; {config.images} photos, {work}, {config.rounds} rounds")
    print("\n".join(lines))
    config.out.parent.mkdir(parents=True, exist_ok=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    files.write_json(config.out, {"machine": machine, "rates": rates, "medians": medians})
    print(f"All figures: {config.out}")


def weights_of(config: BenchmarkConfig) -> str | None:
    """Random ones, except those that a function of one's own loads."""
    return None if ":" in config.backbone and not config.backbone.startswith("timm:") else "random"


def extract_config(config: BenchmarkConfig) -> ExtractConfig:
    """The settings of our pass."""
    return ExtractConfig(
        backbone=config.backbone,
        weights=weights_of(config),
        image_px=config.image_px,
        precision=config.precision,
        compile=config.compile,
        batch_size=config.batch_size,
        workers=config.workers,
        device=config.device,
    )


def tuning_size(config: BenchmarkConfig) -> int:
    """Images in a step of fine-tuning: it keeps what every layer gives, and so needs far more memory than the pass."""
    return min(config.batch_size, 128)


def finetune_config(config: BenchmarkConfig, images: int) -> FinetuneConfig:
    """The settings of our fine-tuning."""
    return FinetuneConfig(
        weights="random",
        image_px=config.image_px or 224,
        epochs=1,
        batch_size=tuning_size(config),
        subset=images,
        workers=config.workers,
    )


def of_the_pass(
    config: BenchmarkConfig, manifest: "Manifest", folder: "Path", extraction: "Extraction"
) -> "dict[str, Contestant]":
    """Contestants around the pass and its cache, in the order of the table; what compiles has compiled."""
    from headstart.benchmarks import storing
    from headstart.benchmarks.rounds import in_its_own_process
    from headstart.images import loaders

    storage = storing.Storage(extraction.recipe, folder, config.rows)
    hand = by_hand(config, manifest)
    extraction.backbone_ceiling()  # compiles, outside of the first round; so does the next
    extraction.predicting()
    return {
        "plain": in_its_own_process(hand.features),
        "ours": extraction.ours,
        "predicting": extraction.predicting,
        "backbone ceiling": extraction.backbone_ceiling,
        "decode ceiling": extraction.decode_ceiling,
        **({"lock ceiling": extraction.lock_ceiling} if loaders.available() else {}),
        "decode from tar": extraction.decode_from_tar,
        "cache write": storage.write,
        "numpy.tofile": storage.tofile,
        "cache load": storage.load,
        "cache load, verified": storage.load_verified,
        "numpy.fromfile": storage.fromfile,
        "up-to-date check": storage.check,
    }


def by_hand(config: BenchmarkConfig, manifest: "Manifest", size: int = 0) -> "ByHand":
    """What people write, in batches of `size`."""
    from headstart.benchmarks.by_hand import ByHand
    from headstart.support.devices import pick_device

    net = (config.backbone, weights_of(config), config.image_px)
    return ByHand(manifest, size or config.batch_size, config.workers, pick_device(config.device), *net)


def of_training(config: BenchmarkConfig, manifest: "Manifest", training: "Heads") -> "dict[str, Contestant]":
    """Contestants around heads and fine-tuning."""
    from functools import partial

    from headstart.benchmarks.extraction import fine_tuning
    from headstart.benchmarks.rounds import in_its_own_process

    part = max(2, config.images // 4)
    hand, tuned = by_hand(config, manifest), by_hand(config, manifest, tuning_size(config))
    finetune = finetune_config(config, part)
    return {
        "backbone each epoch": in_its_own_process(hand.head_each_epoch),
        "plain loop": training.plain,
        "one head": training.one,
        "one head, 9 views": training.with_views,
        "64 heads": training.many,
        "64 heads, halving": training.swept,
        "plain fine-tuning": in_its_own_process(partial(tuned.fine_tuning, part)),
        "fine-tuning": partial(fine_tuning, manifest, finetune, training.device),
    }


if __name__ == "__main__":
    cli.run(main, BenchmarkConfig)
