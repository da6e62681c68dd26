"""The answers as a page: one HTML file with pictures, without a reference to anything outside of itself."""

from pathlib import Path
from typing import Any

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import data_set_of
from headstart.report.gallery import Thumbnails, thumbnail
from headstart.report.page import environment_of
from headstart.search.answers import Answer, Summary


def render(summary: Summary, cache: FeatureCache, csv: Path) -> str:
    """The page; `csv` is the file beside it that has all answers."""
    template = environment_of(Path(__file__).parent).get_template("page.html.jinja")
    thumbnails = Thumbnails(cache.manifest.root)
    text = template.render(
        name=data_set_of(cache),
        summary=summary,
        answers=[_shown(answer, thumbnails) for answer in summary.shown],
        csv=csv.name,
        random_weights=any(part.recipe.weights == "random" for part in cache.parts),
    )
    return text.encode(errors="replace").decode()  # names of files may hold bytes that are no text


def _shown(answer: Answer, thumbnails: Thumbnails) -> dict[str, Any]:
    return {
        "query": {"picture": thumbnail(answer.query), "path": answer.query, "truth": ""},
        "reason": answer.reason,
        "is_in_data": answer.is_in_data,
        "labels": answer.labels(),
        "nearest": [
            {"near": near, "card": {"picture": thumbnails[near.path], "path": near.path, "truth": near.label}}
            for near in answer.nearest
        ],
    }
