"""Images → one pass through a frozen ResNet50 → features in one HDF5 file."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import ExtractConfig, each_backbone


def main(config: ExtractConfig) -> int:
    """Brings the cache up to date and says what there is. Exit code 1 if too many images are unreadable."""
    from dataclasses import replace

    from headstart.extraction import updating
    from headstart.extraction.reports import summary
    from headstart.support.team import is_leading, local_size

    if not is_leading():  # torchrun has started several: the first starts as many of its own
        return 0
    config = replace(config, processes=max(config.processes, local_size()))
    reports = updating.bring_all_up_to_date(each_backbone(config, apart=True))
    print(summary(reports, described=not cli.is_followed()))
    lists = {str(vars(unreadable)): unreadable for unreadable in (report.unreadable() for report in reports)}
    codes = [unreadable.report(len(reports[0].cache), config.max_unreadable) for unreadable in lists.values()]
    return max(codes, default=0)


def way_on(config: ExtractConfig) -> str:
    """What a pass that was stopped has left, and how to go on."""
    from headstart.cache.finding import cache_path
    from headstart.cache.parts import count_of_parts, part_files

    caches = [cache_path(each) for each in each_backbone(config, apart=True)]
    files = [str(file) for cache in caches for file in part_files(cache, count_of_parts(cache))]
    if not any(map(_has_rows, [*files, *(f"{file}.growing" for file in files)])):
        return "No image was finished: the same command starts again."
    command = "the same command without --overwrite" if config.overwrite else "the same command"
    return f"Finished images are kept: {command} goes on where it was."


def _has_rows(path: str) -> bool:
    from headstart.cache.feature_cache import FeatureCache
    from headstart.cache.layout import DONE
    from headstart.errors import CacheError

    try:
        return bool((FeatureCache(path).status == DONE).any())
    except CacheError:
        return False


if __name__ == "__main__":
    cli.run(main, ExtractConfig, way_on)
