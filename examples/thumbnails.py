"""Thumbnails of a folder of pictures: goflow run examples/thumbnails.py

Reads examples/pictures (or `--data FOLDER`) and writes the thumbnails and a sheet of them all into
examples/out/thumbnails (or `--query out=FOLDER`); `--query size=64` makes them smaller. Needs Pillow.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

import goflow

HERE = Path(__file__).parent
Options = dict[str, list[str]]


class Thumbnail(TypedDict):
    file: str
    width: int
    height: int


def size(options: Options) -> int:
    return int(options.get("size", ["96"])[0])


def out(options: Options) -> Path:
    return Path(options.get("out", [str(HERE / "out" / "thumbnails")])[0])


def find(folder: str, options: Options) -> list[str]:
    if find_spec("PIL") is None:
        raise RuntimeError("this example needs Pillow: python -m pip install Pillow")
    source = Path(folder or HERE / "pictures")
    pictures = [str(path) for path in sorted(source.glob("*.png"))]
    if not pictures:
        raise FileNotFoundError(f"no *.png in {source}")
    out(options).mkdir(parents=True, exist_ok=True)
    if out(options).samefile(source):
        raise ValueError(
            f"the thumbnails would replace the pictures in {source}; choose another out"
        )
    return pictures


def by_name(pictures: list[str]) -> dict[str, str]:
    return {Path(picture).name: picture for picture in pictures}


def shrink(picture: str, options: Options) -> Thumbnail:
    from PIL import Image

    with Image.open(picture) as image:
        small = image.convert("RGB")
    small.thumbnail((size(options), size(options)))
    small.save(out(options) / Path(picture).name)
    return {"file": Path(picture).name, "width": small.width, "height": small.height}


def paste(thumbnails: dict[str, Thumbnail], options: Options) -> str:
    from PIL import Image

    cell = size(options)
    sheet = Image.new("RGB", (cell * len(thumbnails), cell), "white")
    for column, thumbnail in enumerate(thumbnails.values()):
        with Image.open(out(options) / thumbnail["file"]) as small:
            sheet.paste(small, (column * cell, (cell - small.height) // 2))
    sheet.save(out(options) / "sheet.jpg")
    sizes = [f"{each['file']} {each['width']}x{each['height']}" for each in thumbnails.values()]
    return "\n".join([*sizes, str(out(options) / "sheet.jpg")])


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    dag.node("find", find) >> "each" >> dag.node("sheet", paste)
    each = dag.foreach_branch("each", by_name)
    each.node("shrink", shrink, timeout=30)
