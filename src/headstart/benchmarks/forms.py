"""Each form of our backbone: whole processes from photos to a file of features, and the backbone alone.

Rates are images per second. Cold: nothing compiled was kept. Warm: the next pass on the machine, into a new file.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

from headstart.benchmarks.by_hand import ByHand
from headstart.benchmarks.extraction import Extraction
from headstart.benchmarks.rounds import Contestant, in_its_own_process
from headstart.datasets.manifest import Manifest
from headstart.errors import HeadstartError, SettingsError
from headstart.models.int8 import require_int8
from headstart.models.precision import bf16_is_native, compiler_fault
from headstart.settings import ExtractConfig
from headstart.settings.command import PIPELINES, given_flags
from headstart.settings.ranges import Compile, Precision
from headstart.support.progress import say

FORMS: dict[str, tuple[Precision, Compile]] = {
    "auto": ("auto", "auto"),
    "fp32 eager": ("fp32", "off"),
    "fp32 compiled": ("fp32", "on"),
    "bf16 eager": ("bf16", "off"),
    "bf16 compiled": ("bf16", "on"),
    "int8": ("int8", "on"),
}
"""What is measured, by the words of --precision and --compile."""


def obstacle(name: str, device: torch.device) -> str:
    """Why this machine cannot compute in one of `FORMS`; empty where it can."""
    precision, compiled = FORMS[name]
    if precision == "bf16" and not bf16_is_native(device):
        return "the processor does not multiply in bf16 by itself"
    try:
        if precision == "int8":
            require_int8(device, None)
    except SettingsError as error:
        return str(error)
    return compiler_fault(device) if compiled == "on" else ""


def backbones(forms: "dict[str, Form]") -> dict[str, Contestant]:
    """The backbone alone in each form but what auto chooses; what does not run in one is said, and left out."""
    contestants = {}
    for name, form in forms.items():
        try:
            if name != "auto":
                contestants[f"backbone: {name}"] = form.backbone()
        except HeadstartError as error:
            say(f"{name} is left out: {error}")
    return contestants


def by_hand(hand: ByHand, file: Path) -> Contestant:
    """The loop that people write as a whole process, which leaves its features in a file."""
    process = in_its_own_process(partial(hand.keep_features, file))

    def run() -> float:
        start = time.perf_counter()
        return process() / (time.perf_counter() - start)

    return run


@dataclass(frozen=True)
class Form:
    """Our pass in one of `FORMS`, with a folder of its own for what it compiles.

    Attributes:
        manifest: the photos.
        config: the settings of the pass; its data and its cache are set here.
        folder: where cache and compiled nets lie.
    """

    manifest: Manifest
    config: ExtractConfig
    folder: Path

    @classmethod
    def of(cls, name: str, manifest: Manifest, config: ExtractConfig, folder: Path) -> "Form":
        """The form of this name, inside a folder that several share."""
        precision, compiled = FORMS[name]
        own = folder / name.replace(" ", "-")
        config = replace(
            config, data=str(manifest.root), cache=own / "features.h5", precision=precision, compile=compiled
        )
        return cls(manifest, config, own)

    def processes(self, name: str) -> dict[str, Contestant]:
        """The contestants: a pass that is never compiled is the same at first and later."""
        if self.config.compile == "off":
            return {f"process: {name}": self.cold}
        return {f"process: {name}, cold": self.cold, f"process: {name}, warm": self.warm}

    def cold(self) -> float:
        """The whole process where nothing is kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.warm()

    def warm(self) -> float:
        """The whole process with what the one before it has kept; 0, after its words, where it fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        Path(str(self.config.cache)).unlink(missing_ok=True)
        words = [sys.executable, str(PIPELINES / "extract.py"), *given_flags(self.config)]
        start = time.perf_counter()
        ended = subprocess.run(words, env=os.environ | self._places, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if ended.returncode:
            say(f"{' '.join(words)} failed: {ended.stderr.strip()}")
            return 0.0
        return len(self.manifest) / seconds

    def backbone(self) -> Contestant:
        """The backbone alone, ready to run, with what a process has kept."""
        extraction = self.extraction()
        extraction.backbone_ceiling()
        return extraction.backbone_ceiling

    def extraction(self) -> Extraction:
        """The pass in this process."""
        with patch.dict(os.environ, self._places):
            return Extraction(self.manifest, self.config, self.folder)

    @property
    def _places(self) -> dict[str, str]:
        """Variables that say where compiled nets are kept: ours, and the parts that torch keeps by itself."""
        return {"XDG_CACHE_HOME": str(self.folder), "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor")}
