"""One writer for a cache: a lock file beside it, since a lock on the HDF5 file would keep readers out."""

from contextlib import AbstractContextManager
from pathlib import Path

from headstart.errors import CacheError, CacheLocked
from headstart.support import locking
from headstart.support.locking import remove_left as remove_left

WORDS = locking.Words(CacheLocked, CacheError, "filled", "name another cache with CACHE=…")


def lock(cache: Path, waits: bool = False) -> AbstractContextManager[None]:
    """Holds `<cache>.lock` until the body or the process ends; while another holds it, an error, or this one waits."""
    return locking.lock(cache, WORDS, waits)
