"""Augmented views of pictures for the cache, each a function of seed, content and number alone.

So the views of an image are the same whatever is extracted beside it, in whatever order, and further ones can be added.
"""

import dataclasses
import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from headstart.images import augmentation
from headstart.images.augmentation import RandomCrop
from headstart.images.decoding import Geometry
from headstart.settings import ViewKind

SCALE = (0.5, 1.0)
"""Share of the picture's area. Milder than where a whole net is trained (0.08 to 1): a frozen net does not learn
to see parts: on CIFAR-10 validation and test were 1 to 3 points better so."""


@dataclass(frozen=True)
class Augmentation:
    """What decides the views of a picture. The parameters stand in the cache; views made with others are refused."""

    kind: ViewKind
    """crop; crop-flip: every second one mirrored, too; crop-flip-jitter: of other colours, too."""
    seed: int
    scale: tuple[float, float] = SCALE
    ratio: tuple[float, float] = augmentation.RATIO
    jitter: tuple[float, float, float, float] = augmentation.JITTER

    def transform_of(self, geometry: Geometry, number: int, digest: bytes) -> RandomCrop:
        """How a picture becomes the square of a view.

        Args:
            geometry: of the plain view, decoded alike.
            number: of the view, from 1 on.
            digest: of the picture's content.
        """
        key = (self.seed, number, int.from_bytes(digest))
        flips, jitters = self.kind != "crop", self.kind == "crop-flip-jitter"
        return RandomCrop(geometry.image_px, flips, key, jitters, self.scale, geometry)

    def digest(self) -> str:
        """32 hex digits over every field."""
        return blake2b(self.to_json().encode(), digest_size=16).hexdigest()

    def to_json(self) -> str:
        """Every field, in one order."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Augmentation":
        """What `to_json` wrote.

        Raises:
            TypeError: a field is missing or unknown.
        """
        fields = json.loads(text).items()
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields}
        return cls(**values)

    def differences(self, made: "Augmentation") -> list[str]:
        """Each field in which the views of a cache (`made`) differ from what this run asks for, in words."""
        pairs = [
            (field.name, getattr(made, field.name), getattr(self, field.name)) for field in dataclasses.fields(self)
        ]
        return [f"{name}: the views have {has}, this run asks for {asks}" for name, has, asks in pairs if has != asks]
