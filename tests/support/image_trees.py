"""Small folders of images for tests: two colours a class can be told apart by."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def image(path: Path, shade: int, number: int = 0, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Path:
    """An image of one shade with a little noise, the same for the same number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.RandomState(number).randint(-20, 20, (size[1], size[0], 3))
    pixels = np.clip(shade + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def tree(root: Path, classes: dict[str, int], each: int, ending: str = "png") -> Path:
    """`each` images in a subfolder for each class, of that class's shade."""
    for name, shade in classes.items():
        for i in range(each):
            image(root / name / f"{i:03}.{ending}", shade, i)
    return root


def table(path: Path, rows: list[tuple[str, ...]], columns: tuple[str, ...] = ("path", "label")) -> Path:
    """A CSV."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path
