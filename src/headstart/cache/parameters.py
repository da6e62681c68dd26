"""Values that decide features: written into a cache as JSON, compared by a digest, told apart in words."""

import json
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import Any, Self


@dataclass(frozen=True)
class Parameters:
    """What a recipe and an augmentation share."""

    def digest(self) -> str:
        """32 hex digits over every field."""
        return blake2b(self.to_json().encode(), digest_size=16).hexdigest()

    def to_json(self) -> str:
        """Every field, in one order."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote.

        Raises:
            TypeError: a field is missing or unknown.
        """
        values: dict[str, Any] = json.loads(text)
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def differences(asked: Parameters, stored: Parameters, owner: str) -> list[str]:
    """Each field in which what a cache holds differs from what this run asks for, in words; `owner` holds it."""
    pairs = [(field.name, getattr(stored, field.name), getattr(asked, field.name)) for field in fields(asked)]
    return [
        f"{name}: {owner} {_words(before)}, this run asks for {_words(now)}"
        for name, before, now in pairs
        if before != now
    ]


def _words(value: object) -> str:
    return {"None": "auto", "True": "yes", "False": "no"}.get(str(value), str(value))
