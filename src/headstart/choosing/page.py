"""The chosen images as a page: one HTML file with pictures, without a reference to anything outside of itself."""

from collections.abc import Sequence
from pathlib import Path

from headstart.choosing.result import Result
from headstart.report.gallery import Thumbnails
from headstart.report.page import environment_of

SHOWN = 300
"""Images that the page shows; chosen.csv has all."""


def render(result: Result, name: str, pool: str, next_steps: Sequence[tuple[str, str]], random_weights: bool) -> str:
    """The page; `name` is that of the labelled data, `next_steps` say what to do now, with a command or nothing."""
    thumbnails = Thumbnails(Path())
    cards = [
        {"image": each, "picture": {"picture": thumbnails[each.path], "path": each.path, "truth": ""}}
        for each in result.images[:SHOWN]
    ]
    template = environment_of(Path(__file__).parent).get_template("page.html.jinja")
    values = {"name": name, "pool": pool, "next_steps": next_steps, "random_weights": random_weights}
    text = template.render(values, result=result, cards=cards, lines=list(result.lines()))
    return text.encode(errors="replace").decode()  # names of files may hold bytes that are no text
