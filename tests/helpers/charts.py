"""Charts that are left blank: matplotlib takes a second for those of a run, and several for those of a report."""

import html
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

Charts = dict[tuple[ModuleType, str], Callable[..., Any]]
"""What draws charts, by its module and its name there."""


def charts() -> Charts:
    """All that programs call; none where matplotlib is not installed, as it may be for tests/gpu."""
    try:
        from headstart.heads import pictures as of_heads
        from headstart.report import figures, sections
        from headstart.runs import pictures as of_runs
    except ImportError:
        return {}
    named = {
        of_runs: ("training_curves", "confusion", "accuracy_against_time"),
        of_heads: ("settings_panels", "accuracy_by_training_images"),
        figures: ("svg",),
        sections: ("svg",),
    }
    return {(module, name): getattr(module, name) for module, names in named.items() for name in names}


def blank(real: Callable[..., Any]) -> Callable[..., str | None]:
    """Takes what `real` takes, and nothing else; writes an empty file, or returns an SVG element that has its label."""
    takes = inspect.signature(real)

    def draw(*arguments: Any, **named: Any) -> str | None:
        given = takes.bind(*arguments, **named).arguments
        if "path" not in given:
            return f'<svg role="img" aria-label="{html.escape(given["label"])}"></svg>'
        given["path"].write_bytes(b"")
        return None

    return draw
