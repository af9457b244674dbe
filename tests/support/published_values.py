"""The hyper-parameters that papers and their released configurations give: loss -> MNIST, CIFAR-10, CIFAR-100."""

from typing import Any

Values = dict[str, list[dict[str, Any]]]

# What the cards hold: zhou2021's released configuration, and wang2024's where a card says so.
CARDS: Values = {
    "focal": [{"gamma": 0.5}] * 3,
    "nfl": [{"gamma": 0.5}] * 3,
    "gce": [{"q": 0.7}] * 3,
    "ngce": [{"q": 0.7}] * 3,
    "agce": [{"a": 4, "q": 0.2}, {"a": 0.6, "q": 0.6}, {"a": 0.6, "q": 0.6}],
    "aul": [{"a": 3, "q": 0.1}, {"a": 5.5, "q": 3}, {"a": 5.5, "q": 3}],
    "ael": [{"a": 3.5}, {"a": 2.5}, {"a": 2.5}],
    "sce": [{"alpha": 0.01, "beta": 1}, {"alpha": 0.1, "beta": 1}, {"alpha": 6, "beta": 0.1}],
    "nce_mae": [{"alpha": 1, "beta": 100}, {"alpha": 1, "beta": 1}, {"alpha": 10, "beta": 0.1}],
    "nce_rce": [{"alpha": 1, "beta": 100}, {"alpha": 1, "beta": 1}, {"alpha": 10, "beta": 0.1}],
    "nfl_rce": [{"alpha": 1, "beta": 100}, {"alpha": 1, "beta": 1}, {"alpha": 10, "beta": 0.1}],
    "nfl_mae": [{"alpha": 1, "beta": 10}, {"alpha": 1, "beta": 1}, {"alpha": 10, "beta": 1}],
    "nce_agce": [
        {"alpha": 0, "beta": 1, "a": 4, "q": 0.2},
        {"alpha": 1, "beta": 4, "a": 6, "q": 1.5},
        {"alpha": 10, "beta": 0.1, "a": 1.8, "q": 3},
    ],
    "nce_aul": [
        {"alpha": 0, "beta": 1, "a": 3, "q": 0.1},
        {"alpha": 1, "beta": 4, "a": 6.3, "q": 1.5},
        {"alpha": 10, "beta": 0.015, "a": 6, "q": 3},
    ],
    "nce_ael": [
        {"alpha": 0, "beta": 1, "a": 3.5},
        {"alpha": 1, "beta": 4, "a": 5},
        {"alpha": 10, "beta": 0.1, "a": 1.5},
    ],
}

# Each paper's released configuration where it differs from the cards: what its protocol brings.
_SUMS = ("nce_mae", "nce_rce", "nfl_rce")
OWN: dict[str, Values] = {
    "zhou2021": {"sce": [{"alpha": 1, "beta": 1}] * 3, **{loss: [{}, {}, {"beta": 1}] for loss in _SUMS}},
    "wang2024": {loss: [{"beta": 10}, {}, {}] for loss in _SUMS},
}

# zhou2021's released configuration, the losses of its tables.
_TABLES = ("focal", "gce", "sce", "agce", "aul", "ael", "nce_agce", "nce_aul", "nce_ael", *_SUMS)
RELEASED: Values = {
    loss: [card | own for card, own in zip(CARDS[loss], OWN["zhou2021"].get(loss, [{}] * 3), strict=True)]
    for loss in _TABLES
}
