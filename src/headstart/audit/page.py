"""The findings as a page: one HTML file with pictures, without a reference to anything outside of itself."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from headstart.audit.copies import LEAST_PX
from headstart.audit.finding import Finding, Kind
from headstart.audit.result import Result
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import data_set_of
from headstart.report.gallery import Card, Thumbnails
from headstart.report.page import environment_of

SHOWN = 60
"""Findings of a kind that the page shows; audit.csv has all."""

TITLES: dict[Kind, tuple[str, str]] = {
    "wrong label": (
        "Wrong labels",
        "A model that learned from other images, no copies of these, takes them for another class. The surest first.",
    ),
    "copy with another label": (
        "Copies with different labels",
        "The same picture twice, with two labels, of which at most one is right.",
    ),
    "copy in another split": (
        "Copies across splits",
        "A picture that is learned from and tested, too, tests memory alone.",
    ),
    "copy": ("Copies", "The same picture twice, in the same split and with the same label."),
    "outlier": (
        "Outliers",
        "The hundredth of the images that are least like any other. There always is one: they may well be right.",
    ),
    "blank": ("Blank pictures", "Of nearly one colour."),
    "dark": ("Very dark pictures", "Hardly anything can be seen."),
    "tiny": ("Tiny pictures", "Much smaller than is usual here."),
    "classes alike": (
        "Classes that are hard to tell apart",
        "Do they mean different things? Of two classes that are one, each image looks like either.",
    ),
    "group": ("Groups that stand out", "Their images are mistaken more often than those of other groups."),
}


def render(result: Result, cache: FeatureCache) -> str:
    """The page; `result.findings` in order."""
    template = environment_of(Path(__file__).parent).get_template("page.html.jinja")
    thumbnails = Thumbnails(cache.manifest.root)
    text = template.render(
        name=data_set_of(cache),
        result=result,
        sections=[_section(kind, list(found), thumbnails) for kind, found in _by_kind(result.findings)],
        least_px=LEAST_PX,
        random_weights=any(part.recipe.weights == "random" for part in cache.parts),
    )
    return text.encode(errors="replace").decode()  # names of files may hold bytes that are no text


def _by_kind(findings: Iterable[Finding]) -> Iterable[tuple[Kind, Iterable[Finding]]]:
    return groupby(findings, key=lambda each: each.kind)


def _section(kind: Kind, found: list[Finding], thumbnails: Thumbnails) -> dict[str, Any]:
    title, words = TITLES[kind]
    shown = [
        {"finding": each, "pictures": [_card(path, thumbnails) for path in (each.path, each.other) if path]}
        for each in found[:SHOWN]
    ]
    return {"anchor": kind.replace(" ", "-"), "title": title, "words": words, "count": len(found), "shown": shown}


def _card(path: str, thumbnails: Thumbnails) -> Card:
    return {"picture": thumbnails[path], "path": path, "truth": ""}
