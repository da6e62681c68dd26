"""Small pictures inside the page: image files as data URIs."""

import base64
import io
import os
from pathlib import Path

from headstart.datasets.archives import place_of
from headstart.errors import DataError
from headstart.images.decoding import UnreadableImage, small
from headstart.images.loading import read

LONGEST_PX = 112
"""Of a thumbnail's longer side: shown at 84, sharp on most screens; about 4 KB for a photo."""
QUALITY = 80


class Thumbnails:
    """Makes thumbnails of the images of a data set, each once."""

    def __init__(self, root: Path | None) -> None:
        """Takes the folder that paths are relative to; None where it is not known, and then no image can be read."""
        self._root = root
        self._uris: dict[str, str | None] = {}

    def of(self, path: str) -> str | None:
        """A JPEG as a data URI, or None where the image cannot be read."""
        if path not in self._uris:
            self._uris[path] = _data_uri(os.path.join(self._root, path)) if self._root else None
        return self._uris[path]

    @property
    def missing(self) -> int:
        """Images asked for that could not be read."""
        return sum(uri is None for uri in self._uris.values())


def _data_uri(path: str) -> str | None:
    try:
        picture, buffer = small(read(place_of(path)), LONGEST_PX), io.BytesIO()
    except (UnreadableImage, DataError):
        return None
    picture.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
