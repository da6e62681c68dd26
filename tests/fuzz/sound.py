"""Small sound files of every format that is read, made here."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
from helpers.caches import make_cache
from helpers.pictures import archive, encoded, picture, sample
from PIL import Image

MADE_BY_0_1 = Path(__file__).parents[1] / "made_by_0_1"
CONFIGS = Path(__file__).parents[2] / "pipelines" / "configs"
Seeds = list[tuple[str, bytes]]
"""Names and contents: a name's ending says how the file is read."""

FORMS = (
    ("jpg", "RGB", {}),
    ("jpg", "L", {"progressive": True}),
    ("jpg", "CMYK", {"subsampling": 0}),
    ("png", "RGB", {}),
    ("png", "P", {"transparency": 0}),
    ("png", "I;16", {}),
    ("png", "LA", {}),
    ("webp", "RGB", {}),
    ("webp", "RGBA", {"lossless": True}),
    ("avif", "RGB", {"speed": 9}),
    ("gif", "P", {"save_all": True}),
    ("tiff", "RGB", {}),
    ("tiff", "L", {"compression": "tiff_lzw"}),
    ("tiff", "RGB", {"compression": "tiff_deflate"}),
    ("tiff", "RGB", {"compression": "jpeg"}),
    ("tiff", "1", {"compression": "group4"}),
    ("tiff", "L", {"compression": "packbits"}),
    ("tiff", "I;16", {}),
    ("tiff", "F", {}),
    ("bmp", "RGB", {}),
    ("bmp", "1", {}),
    ("dib", "P", {}),
    ("jp2", "RGB", {}),
    ("j2k", "L", {"irreversible": True}),
    ("ico", "RGBA", {}),
    ("ppm", "RGB", {}),
    ("pgm", "L", {}),
    ("pbm", "1", {}),
    ("tga", "RGB", {"compression": "tga_rle"}),
    ("tga", "LA", {}),
)
"""Ending, mode and options with which Pillow writes a picture."""

SETTINGS = """
data = "photos"
backbone = "resnet18"
image_px = 64
[extract]
views = 2
check_bytes = true
max_unreadable = 0.5
[sweep]
hidden = ["none", "256,8"]
lr = [1e-3, 1e-2]
normalize = ["standard"]
"""


def pictures(_: Path) -> Seeds:
    """One of each form; and the first with EXIF, turned."""
    turned = Image.Exif()
    turned[0x0112] = 6
    made = [
        (f"{number}.{ending}", _written(ending, mode, options)) for number, (ending, mode, options) in enumerate(FORMS)
    ]
    return [*made, ("turned.jpg", _written("jpg", "RGB", {"exif": turned}))]


def _written(ending: str, mode: str, options: dict[str, object]) -> bytes:
    image = picture(len(ending) + len(mode))
    buffer, form = io.BytesIO(), Image.registered_extensions()[f".{ending}"]
    image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    image.save(buffer, form, **options)
    return buffer.getvalue()


def archives(folder: Path) -> Seeds:
    """Tars in their three forms, with labels as text and as JSON; and a parquet file."""
    import tarfile

    members = [part for number in range(6) for part in sample(number, ("cat", "dog")[number % 2])]
    described = [("a/1.jpg", encoded(1, "JPEG")), ("a/1.json", json.dumps({"label": 1, "caption": "é"}))]
    described += [("b/2.jpg", encoded(2, "JPEG")), ("b/2.json", json.dumps({"label": 2}))]
    made = {
        "gnu.tar": (members, tarfile.GNU_FORMAT),
        "pax.tar": ([(f"{'long/' * 30}{name}", content) for name, content in members], tarfile.PAX_FORMAT),
        "ustar.tar": (described, tarfile.USTAR_FORMAT),
    }
    seeds = [(name, archive(folder / name, *given).read_bytes()) for name, given in made.items()]
    return [*seeds, ("train.parquet", _parquet_file(folder / "train.parquet"))]


def _parquet_file(path: Path) -> bytes:
    import pyarrow
    from pyarrow import parquet

    images = [{"bytes": encoded(number), "path": f"{number}.png"} for number in range(6)]
    parquet.write_table(pyarrow.table({"image": images, "label": ["cat", "dog"] * 3}), path)
    return path.read_bytes()


def caches(folder: Path) -> Seeds:
    """One of version 0.1, and one of today with views and an unreadable image."""
    cache = make_cache(folder / "views.h5", np.arange(12) % 2, np.arange(12) % 3, unreadable=[4], views=2, width=16)
    return [("old.h5", (MADE_BY_0_1 / "photos.h5").read_bytes()), ("views.h5", cache.path.read_bytes())]


def settings(_: Path) -> Seeds:
    """The files of the project, and one with every kind of value."""
    return [
        ("every.toml", SETTINGS.encode()),
        *((path.name, path.read_bytes()) for path in sorted(CONFIGS.glob("*.toml"))),
    ]


def lists(folder: Path) -> Seeds:
    """Lists of eight pictures that lie beside them."""
    rows = [
        (f"photos/{name}/{number}.png", name, ("train", "val", "test", "train")[number])
        for name in ("cat", "dog")
        for number in range(4)
    ]
    for number, (path, *_) in enumerate(rows):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(encoded(number))
    heads = ("path", "label", "split", "person")
    text = io.StringIO()
    csv.writer(text).writerows([heads, *((*row, f"p{number // 2}") for number, row in enumerate(rows))])
    plain = text.getvalue()
    quoted = plain.replace("cat,", '"a cat, ""sleeping""",')
    return [
        ("plain.csv", plain.encode()),
        ("quoted.csv", quoted.encode("utf-8-sig")),
        ("tabs.tsv", plain.replace(",", "\t").encode("utf-16")),
        (
            "two.csv",
            "\n".join(f"{path},{label}" for path, label, _ in [("path", "label", ""), *rows]).encode("latin-1"),
        ),
        ("paths.txt", "\n".join(path for path, *_ in rows).encode()),
    ]


def runs(folder: Path) -> Seeds:
    """Texts of runs that version 0.1 made; the others stay sound."""
    shutil.copytree(MADE_BY_0_1 / "runs", folder / "runs")
    files = sorted(path for path in folder.glob("runs/photos/*/*") if path.suffix in (".json", ".csv"))
    return [(str(path.relative_to(folder)), path.read_bytes()) for path in files]
