"""A feature cache → what it holds and how healthy it is, or whether it is still what was written."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import InspectConfig, each_backbone


def main(config: InspectConfig) -> int:
    """Describes each cache or, with --verify, checks it. Exit code 1 when a row is not what it should be."""
    return max(map(inspect, each_backbone(config)))


def inspect(config: InspectConfig) -> int:
    """The same for the cache of one backbone."""
    from headstart.cache import inspection
    from headstart.cache.finding import open_cache
    from headstart.extraction import verification

    cache = open_cache(config)
    if not config.verify:
        print("\n".join(inspection.contents(cache)))
        print("\n".join(inspection.describe_health(cache)))
        print(verification.storage_cost(cache, config))
        print("\n".join([*inspection.describe_suspects(cache), *inspection.describe_leaks(cache)]))
        return 0

    damaged = verification.damaged_rows(cache)
    print(f"{cache.path}: {len(damaged):,} of {len(cache) * len(cache.views):,} rows are damaged")
    for view, row in damaged[:20]:
        print(f"  {f'view {view}, ' if view else ''}row {row}: {cache.manifest.relative_path(row)}")
    if damaged:
        print(f"Compute these rows again with: {cache.extract_command('--check-bytes')}")
    if not config.sample:
        return int(bool(damaged))
    again = verification.extract_again(cache, config.sample, config)
    print(
        f"{again.compared} rows extracted again: largest difference {again.difference:.2g} of the largest value, "
        f"tolerance {again.tolerance:.2g}; {len(again.changed)} images are gone or have other bytes"
    )
    for row in again.changed[:20]:
        print(f"  changed or gone: {cache.manifest.relative_path(row)}")
    return int(bool(damaged) or not again.agrees)


if __name__ == "__main__":
    cli.run(main, InspectConfig)
