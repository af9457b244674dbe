"""The parts of a data set, train, val and test, by the names that people give them."""

import re

PARTS = ("train", "val", "test")
_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev", "devel", "development", "eval", "evaluation", "holdout"),
    "test": ("test", "testing", "tst"),
}
_PART_OF = {name: part for part, names in _NAMES.items() for name in names}
_ENDING = re.compile(r"(data)?set$|data$|im(a)?g(e)?s?$|split$|part$|folder$")  # of training_set, test_images


def part_of(name: str) -> str:
    """train, val or test for a common name of it in any case, such as Training, VALID, dev or test_set; else ""."""
    letters = re.sub(r"[\W\d_]+", "", name).lower()
    return _PART_OF.get(letters) or _PART_OF.get(_ENDING.sub("", letters), "")
