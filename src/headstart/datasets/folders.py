"""Folders of images, one for each class, perhaps below one for each split."""

import os
import shlex
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from headstart.datasets import guesses
from headstart.datasets.manifest import SPLITS, Manifest, from_files
from headstart.datasets.masks import IMAGES, mask_folders, masks_among, masks_beside_classes
from headstart.datasets.split_names import meanings, refuse_wrong_splits, split_called, split_in
from headstart.datasets.walking import (
    entries,
    file_status,
    files_passed_over,
    identity,
    is_image,
    of_kinds,
    other_files,
    passed_over,
    suffix_of,
    walk,
)
from headstart.errors import DataError, warn
from headstart.settings import Listing
from headstart.support.quantities import some


@dataclass
class Folder:
    """What is found below the folder of a data set; folders are named by their paths from there."""

    root: Path
    how: Listing
    notes: list[str] = field(default_factory=list)
    """What was left out beside the classes and why, in words."""
    passed: set[str] = field(default_factory=set)
    """Paths of the files and folders that systems and programs make."""
    deeper: dict[str, set[str]] = field(default_factory=dict)
    """The folders of images below each class folder, and itself if it holds images."""
    splits: set[str] = field(default_factory=set)
    """Names of the folders that are taken for splits."""

    def parts(self) -> list[Manifest]:
        """Images below `<class>/` or below `<split>/<class>/`, a part for each class."""
        inside = self._only_folder("")
        if inside:
            self.notes.insert(0, f"{self.root} holds only the folder {inside}, and is read from there")
        parts, splits = [], self._splits(inside)
        for name, split in splits.items() or [("", None)]:
            folder = self._only_folder(os.path.join(inside, name)) if name else inside
            if split in ("val", "test") and (count := guesses.images_alone(self.root / folder)):
                self.notes.append(
                    f"left out: {count:,} images in {folder} that lie in no class folder, so have no label"
                )
                continue
            found = self._classes(folder, split)
            if name and not any(map(len, found)):
                raise DataError(
                    f"{self.root / inside / name} holds no image. Fill it; or remove it, and images for it are drawn "
                    "from train."
                )
            parts += found
        if self.how.layout == "splits" and not splits:
            if not self.splits:
                raise DataError(f"{self.root} holds no folders called like splits, such as train, test: see --layout.")
            names = ", ".join(sorted(self.splits))
            self.notes.append(f"splits from the folders {names} in the class folders{meanings(self.splits)}")
        if self.how.class_level == "first":
            self._warn_of_merged()
        self.notes += passed_over(files_passed_over(self.passed))
        self.notes += [f"not used: a list of images, DATA={shlex.quote(name)}" for name in guesses.lists_in(self.root)]
        return [replace(part, notes=(*self.notes, *part.notes)) for part in parts]

    def _inside(self, folder: str) -> tuple[list[str], list[str]]:
        """Names of the folders in a folder, without those of masks, and of the files."""
        inside = entries(self.root / folder, self.passed)
        folders, files = ([name for name, is_folder in inside if is_folder == kind] for kind in (True, False))
        masks = [] if self.how.layout == "classes" else mask_folders(folders)
        note = f"left out, as masks beside images: {', '.join(str(self.root / folder / name) for name in masks)}"
        if masks and note not in self.notes:
            self.notes.append(note)
        return [name for name in folders if name not in masks], files

    def _only_folder(self, folder: str) -> str:
        """The folder to begin with: `photos/photos` where `photos` holds nothing but that folder of folders."""
        below, files = self._inside(folder)
        if len(below) != 1 or any(map(is_image, files)):
            return folder
        inner = os.path.join(folder, below[0])
        again = below[0] == os.path.basename(folder)
        return self._only_folder(inner) if self._inside(inner)[0] and (again or not split_in(below[0])) else folder

    def _splits(self, folder: str) -> dict[str, str]:
        """The split that each folder is; none where each folder is a class."""
        top, (folders, files) = self.root / folder, self._inside(folder)
        found = {name: split for name in folders if (split := split_in(name))}
        others = [name for name in folders if name not in found]
        splits = {name: split for name, (split, _) in found.items()}
        if self.how.layout == "classes" or not found:
            return {}
        if self.how.layout == "auto" and (others or len({rest for _, rest in found.values()}) > 1):
            plain = any(not rest for _, rest in found.values())
            deeper = any(guesses.holds_folders(top / name) for name in found)
            if not plain and not deeper and not {"train"} < set(splits.values()):
                return {}  # images lie in them directly: train_station beside bridge
            guesses.ask_for_layout(top, splits, others)
        refuse_wrong_splits(top, splits)
        splits = dict(sorted(splits.items(), key=lambda item: SPLITS.index(item[1])))
        self.notes.append(f"splits from the folders {', '.join(splits)}{meanings(splits)}")
        self.splits |= splits.keys()
        if others:
            self.notes.append(f"left out beside the splits: the folders {', '.join(others[:5])}")
        self.notes += self._left_out(top, files)
        return splits

    def _classes(self, folder: str, split: str | None) -> list[Manifest]:
        """Every image below `folder/<class>/`, a part for each class."""
        top, (names, left_out) = self.root / folder, self._inside(folder)
        if not names and any(map(is_image, left_out)):
            self._refuse_images_alone(top)
        if len(names) == 1 and names[0].lower() in IMAGES and guesses.images_alone(top / names[0]):
            self._refuse_images_alone(top / names[0])
        names = self._without_masks(top, names)
        parts = [self._class(folder, name, split, left_out) for name in names]
        if split in (None, "train"):
            self._leave_out_empty(top, [name for name, part in zip(names, parts, strict=True) if not len(part)], names)
        if not split:
            self._ask_whether_classes(top)
        notes = self._left_out(top, left_out)
        return [replace(part, notes=notes) for part in parts]

    def _without_masks(self, top: Path, names: list[str]) -> list[str]:
        """The class folders without those that hold masks of the others' images, which is said."""
        masks, unsure = ([], []) if self.how.layout == "classes" else masks_beside_classes(top, names)
        if masks:
            folders = ", ".join(str(top / name) for name in masks)
            self.notes.append(f"left out, as masks of the images beside them: {folders} (as a class: --layout classes)")
        for name in unsure:
            warn(
                f"{top / name} is taken for a class. If it holds masks, move it out of {top}; if it is a class, add "
                "--layout classes."
            )
        return [name for name in names if name not in masks]

    def _class(self, folder: str, name: str, split: str | None, left_out: list[str]) -> Manifest:
        """The images of a class; other files, and masks, are added to `left_out`."""
        top = self.root / folder
        files = list(walk(str(top / name), "", frozenset({identity(self.root), identity(top)}), self.passed))
        is_kind, masks = of_kinds(self.how.suffixes), masks_among(files)
        images = [path for path in files if is_image(path) and is_kind(path) and path not in masks]
        left_out += [os.path.join(name, path) for path in sorted({*files} - {*images})]
        folders = [os.path.join(name, os.path.dirname(path)).rstrip(os.sep) for path in images]
        self.deeper.setdefault(name, set()).update(folders)
        labels = [name] * len(images) if self.how.class_level == "first" else folders  # `_leaves` shortens them
        paths = [os.path.join(folder, name, path) for path in images]
        status = [file_status(self.root / path) for path in paths]
        return from_files(self.root, paths, labels, [split or self._split_below(path) for path in images], status)

    def _split_below(self, path: str) -> str | None:
        """The split of an image in a class folder that holds a folder for each split, where a flag says so."""
        name = path.split(os.sep)[0]
        if self.how.layout != "splits" or name == path or not (split := split_called(name)):
            return None
        self.splits.add(name)
        return split

    def _leave_out_empty(self, top: Path, empty: list[str], names: list[str]) -> None:
        """Warns of class folders without images; refuses them where they leave fewer than two classes."""
        if not empty:
            return
        what = f"class folder{'s' * (len(empty) > 1)} {some([str(top / name) for name in empty])}"
        holds = "holds" if len(empty) == 1 else "hold"
        if len(names) - len(empty) < 2:
            raise DataError(f"The {what} {holds} no images. Fill or remove what is empty.{guesses.hint(self.root)}")
        warn(f"The {what} {holds} no images: left out.")

    def _refuse_images_alone(self, folder: Path) -> None:
        masks = "".join(f" ({note})" for note in self.notes if "masks beside" in note)
        raise DataError(
            f"{folder} holds images, but no folder for each class{masks}. Sort them into {folder}/<class>/, or write a "
            f"list of them into it, with the columns path and label.{guesses.lists_hint(self.root)}"
        )

    def _ask_whether_classes(self, top: Path) -> None:
        """Refuses to take a whole data set beside other folders for a class, and to merge splits in class folders."""
        if (self.how.layout, self.how.class_level) != ("auto", "first"):
            return
        sets = [name for name, folders in self.deeper.items() if guesses.is_data_set(name, folders)]
        others = [name for name in self.deeper if name not in sets]
        inner = {name: guesses.splits_below(folders) for name, folders in self.deeper.items()}
        if all(inner.values()) and any({"train"} < {*splits.values()} for splits in inner.values()):
            names = ", ".join(sorted(set().union(*inner.values())))
            raise DataError(
                f"{top}: the folders {', '.join(list(inner)[:5])} each hold folders whose names look like splits "
                f"({names}). If they are splits, add --layout splits; if all images of a class are to be split anew, "
                "add --layout classes."
            )
        if sets and others:
            raise DataError(
                f"{top / sets[0]} looks like a data set, not like a class beside {', '.join(others[:5])}. Give "
                f"DATA={shlex.quote(str(top / sets[0]))}; or, if each folder of {top} is a class, add "
                f"--layout classes.{guesses.lists_hint(self.root)}"
            )

    def _warn_of_merged(self) -> None:
        """Warns where folders of images below a class count as one class: `--class-level leaf` is the other way."""
        below = {
            name: {path for path in folders if os.path.basename(path) not in self.splits}
            for name, folders in self.deeper.items()
        }
        merged = {name: folders for name, folders in below.items() if len(folders) > 1}
        if merged and any(name not in folders for name, folders in merged.items()):
            count = sum(map(len, merged.values()))
            warn(
                f"{self.root}: {count} folders of images count as {len(merged)} class{'es' * (len(merged) > 1)} "
                f"({some(list(merged))}), since the first folder is the class. If each of them is a "
                "class, add --class-level leaf."
            )

    def _left_out(self, top: Path, left_out: list[str]) -> tuple[str, ...]:
        notes = []
        if outside := sum(is_image(path) and os.sep not in path for path in left_out):
            notes.append(f"{top}: {outside} images lie in no class folder and are left out")
        images = Counter(suffix_of(path) for path in left_out if is_image(path) and os.sep in path)
        if images:
            why = f"not {', '.join(self.how.suffixes)}" if self.how.suffixes else "masks by their names"
            notes.append(f"left out ({why}): {', '.join(f'{count:,} x {name}' for name, count in images.items())}")
        return (*notes, *other_files(Counter(suffix_of(path) for path in left_out if not is_image(path))))
