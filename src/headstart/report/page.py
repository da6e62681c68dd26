"""The report of a data set: one HTML file that needs nothing else."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from headstart.cache import nearest
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import cache_path
from headstart.datasets.naming import caches_of, name_of, owner_of_cache
from headstart.errors import CacheError
from headstart.report import figures, gallery, sections
from headstart.report.advice import on_data_of
from headstart.report.amounts import unit_in_table
from headstart.report.comparison import Comparison
from headstart.report.gallery import Thumbnails
from headstart.runs.run import Run
from headstart.runs.selection import NAMES, chosen, heading
from headstart.runs.title import has_random_weights
from headstart.settings import CompareConfig
from headstart.settings.base import is_missing, nets_of
from headstart.settings.command import command
from headstart.support.output import escaped
from headstart.support.quantities import duration, human_bytes, human_count

MAX_LISTED_RUNS = 100
MAX_CLASS_ROWS = 40


def render(
    folder: Path, compared: Comparison, cache: FeatureCache | None, images: Path | None, left_out: str = ""
) -> str:
    """The report as HTML, a few hundred kilobytes, without a reference to anything outside of itself; see `sources`."""
    thumbnails, methods, backbones = Thumbnails(images), compared.methods, compared.backbones
    details = sections.detailed_runs(methods)
    tested = [detail for detail in details if isinstance(detail, sections.TestedRun)]
    values = {
        "compared": compared,
        "name": compared.ranking[0].run.dataset,
        "left_out": left_out,
        "ranked": methods[:MAX_LISTED_RUNS],
        "has_seeds": any(len(each.method.runs) > 1 for each in methods),
        "figure": NAMES[compared.select],
        "heading": heading(compared.select),
        "difference_unit": unit_in_table(compared.select),
        "chosen": any(chosen(each.run.kind, each.run.method) for each in methods),
        "random_weights": [rank for rank, each in enumerate(methods, 1) if has_random_weights(each.run)],
        "runs": len(methods),
        "same_images": _same_images([each.run for each in compared.ranking]),
        "backbones": backbones,
        "backbone_chart": figures.accuracy_by_backbone(backbones.rows) if backbones else None,
        "time_chart": figures.accuracy_against_time([each.method for each in methods]),
        "details": details,
        "tested": tested,
        "lost": [detail for detail in details if detail.run.test_images and detail not in tested],
        "learning_curves": sections.learning_curves(folder),
        "class_table": sections.class_table(tested),
        "mistakes": gallery.mistakes(tested[0].predictions, thumbnails) if tested else [],
        "disagreements": sections.disagreements(tested, thumbnails),
        "cache": cache,
        **_commands(compared.ranking[0].run, cache),
        "map": sections.feature_map(cache) if cache else None,
        "duplicates": gallery.duplicates(cache, thumbnails) if cache else None,
    }
    template = environment_of(Path(__file__).parent).get_template("page.html.jinja")
    page = template.render(values, unreadable=list(thumbnails.values()).count(None))
    return page.encode(errors="replace").decode()  # names of files may hold bytes that are no text


def sources(config: CompareConfig) -> tuple[FeatureCache | None, Path | None]:
    """The cache, if it exists (a CacheError if it was named and does not), and the folder of the images, if known."""
    path = config.cache or (_kept_cache(config) if config.data else None)
    cache = FeatureCache(path) if path else None
    if cache and config.data and owner_of_cache(cache.path, config.data) == "other":
        raise CacheError(f"{cache.path} holds features of {cache.manifest.root}, not of {config.data}: leave one out.")
    if config.data and (data := Path(config.data)).exists():
        return cache, data if data.is_dir() else data.parent
    return cache, cache.manifest.root if cache else None


def _commands(best: Run, cache: FeatureCache | None) -> dict[str, str]:
    """Commands that make what the report lacks; empty where the images are no longer in their place."""
    data = best.data if best.data and not is_missing(best.data) else None
    extract, curve = (on_data_of(best, target, listing=best.listing) for target in ("extract", "learning-curve"))
    return {
        "extract_command": extract,
        "curve_command": command("learning-curve", data, cache.path) if cache else curve,
    }


def _kept_cache(config: CompareConfig) -> Path | None:
    """The cache of the data set by the first of the backbones that are named, else by any other; None without one."""
    named = [cache_path(replace(config, backbone=name)) for name in nets_of(config.backbone)]
    others = caches_of(name_of(str(config.data)))
    path = next((path for path in [*named, *others] if path.is_file()), None)
    if named and [path] != named:
        shown = f"the features in {path}" if path else "no features, since there are none"
        print(f"All runs are compared, whatever their backbone; the report shows {shown}.")
    return path


def environment_of(folder: Path) -> Environment:
    """What fills the templates of a folder, which may use the style and the parts of the report."""
    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,  # names of classes and files may be any text
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "percent": _percent, "short": _short}
    environment.filters |= {"duration": duration, "thousands": "{:,}".format}
    environment.filters |= {"size": human_bytes, "count": human_count, "breakable": _breakable}
    environment.globals |= {"MAX_CLASS_ROWS": MAX_CLASS_ROWS, "THRESHOLD": nearest.THRESHOLD}
    return environment


def _shown(value: Any) -> Any:
    """Characters that turn the text around, or are not seen, as digits."""
    return escaped(value) if type(value) is str else value


def _same_images(ranked: Sequence[Run]) -> bool:
    """Whether nothing says that runs were tested on different images."""
    digests = {run.test_digest for run in ranked if run.test_digest}
    return len({run.test_images for run in ranked}) == 1 and len(digests) <= 1


def _short(name: str) -> str:
    """A name of at most 48 letters; a longer one loses its middle."""
    return name if len(name) <= 48 else f"{name[:24]}…{name[-23:]}"


def _breakable(name: str) -> Markup:
    """The name of a file that may go on in the next line after its folders and words, and before its suffix."""
    pieces = re.split(r"(?<=[/_ -])|(?=\.[^./]*$)", escaped(name))
    return Markup("<wbr>").join(pieces)


def _share(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    """In whole percent, but never 100% for what is less."""
    return f"{100 * value:.0f}%" if value < 0.995 or value == 1 else f"{min(100 * value, 99.9):.1f}%"
