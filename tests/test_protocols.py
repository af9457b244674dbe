"""A protocol brings its paper's own values: every loss on every data set under every protocol, against the papers'."""

from collections.abc import Iterator
from functools import cache
from inspect import signature
from typing import Any

import hydra
import pytest
import yaml
from omegaconf import DictConfig, OmegaConf
from support.configs import every
from support.published_values import CARDS, OWN

from labelnoise.config import identity
from labelnoise.config.check import check
from labelnoise.config.groups import CONFIGS
from labelnoise.experiment.run import compose

PAPERS = list(OWN)
WEB = ("webvision_mini", "clothing1m")  # of a data set: test_web_data.py
VALUES = CONFIGS / "protocol" / "values"
ROWS = {"default": 1, "mnist": 0, "cifar10": 1, "cifar100": 2}  # of a card, and the place in published_values


@cache
def composed(loss: str, protocol: str) -> DictConfig:
    return compose([f"loss={loss}", f"protocol={protocol}"])


def values(loss: str, protocol: str, row: str) -> dict[str, Any]:
    """The loss as a run on a data set with this row has it, `detach` apart."""
    cfg = composed(loss, protocol).copy()
    cfg.tuned_row = row
    return without_detach(OmegaConf.to_container(cfg.loss, resolve=True))


def without_detach(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    return {key: without_detach(value) for key, value in node.items() if key != "detach"}


def test_every_file_of_values_is_published() -> None:
    """So a protocol changes no other loss's values."""
    assert set(every("protocol")) - set(every("method")) == {*PAPERS, *WEB, "elr_cosine", "none"}
    found = {path.relative_to(VALUES).with_suffix("").as_posix() for path in VALUES.rglob("*.yaml")}
    by_noise = {f"wang2024/{loss}" for loss in ("ce_eps_mae", "fl_eps_mae", "ce_logitclip", "gce")} | {"sr/gce"}
    assert found == {f"{paper}/{loss}" for paper in PAPERS for loss in OWN[paper]} | by_noise  # test_rows.py


@pytest.mark.parametrize("loss", CARDS)
def test_a_loss_has_its_protocols_values_on_every_data_set(loss: str) -> None:
    for row, place in ROWS.items():
        card = values(loss, "none", row)
        published = CARDS[loss][place]
        assert {name: card[name] for name in published} == published, row
        for paper in PAPERS:
            own = OWN[paper].get(loss, [{}] * 3)[place]
            if own or loss in ("nce_agce", "nfl_mae"):  # two that no protocol changes
                assert values(loss, paper, row) == card | own, (paper, row)


def functions(node: Any) -> Iterator[dict[str, Any]]:
    """Every function that a card names, with its options as they stand there."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for child in node.values():
            yield from functions(child)


@pytest.mark.parametrize("loss", every("loss"))
def test_every_focal_weight_asks_the_protocol(loss: str) -> None:
    card = yaml.safe_load((CONFIGS / "loss" / f"{loss}.yaml").read_text())
    takes = [n for n in functions(card) if "detach" in signature(hydra.utils.get_object(n["_target_"])).parameters]
    assert takes or not (loss == "focal" or loss.startswith("nfl"))
    assert all(node["detach"] == "${tuned.detach}" for node in takes)
    assert card.get("tuned", {}).get("detach") == (False if takes else None)


@pytest.mark.parametrize("paper", PAPERS)
def test_a_protocol_detaches_the_focal_weight(paper: str) -> None:
    assert composed("focal", "none").loss.detach is composed("nfl_rce", "none").loss.first.detach is False
    assert composed("focal", paper).loss.detach is composed("nfl_rce", paper).loss.first.detach is True


def test_values_given_on_the_command_line_win() -> None:
    under = ["protocol=zhou2021", "dataset=cifar100"]
    assert compose([*under, "loss=nce_rce"]).loss.beta == 1
    for overrides in (["loss.beta=0.5"], ["tuned.loss.cifar100.beta=0.5"]):
        assert compose([*overrides, *under, "loss=nce_rce"]).loss.beta == 0.5
        assert compose(["loss=nce_rce", *overrides, *under]).loss.beta == 0.5
    assert compose(["loss=focal", "loss.detach=true"]).loss.detach is True
    assert compose(["loss=focal", "loss.detach=false", *under]).loss.detach is False
    assert compose(["loss=nfl_rce", "loss.first.detach=true"]).loss.first.detach is True


@pytest.mark.parametrize("paper", PAPERS)
def test_what_a_protocol_composes_is_accepted(paper: str) -> None:
    for loss in ("ce", "focal", *OWN[paper]):
        check(composed(loss, paper))


@pytest.mark.parametrize("name", sorted(set(every("protocol")) & set(every("method"))))
def test_a_methods_protocol_is_its_papers_set_up(name: str) -> None:
    """It chooses the method, runs on CIFAR-10, and gives way to the command line."""
    cfg = compose([f"protocol={name}", "noise=sym", "rate=0.5"])
    check(cfg)
    assert (cfg.method["_target_"], cfg.dataset.name) == (compose([f"method={name}"]).method["_target_"], "cifar10")
    assert cfg.clip_norm == (5.0 if name == "sr" else None)
    assert cfg.epochs >= 100
    other = compose([f"protocol={name}", "network=cnn4", "epochs=3", "batch_size=7"])
    assert (other.network["_target_"].split(".")[-1], other.epochs, other.batch_size) == ("cnn4", 3, 7)


def test_a_card_of_another_paper_is_another_run() -> None:
    """sce's values differ, ce has none: one has another id under the protocol, the other the same."""

    def id_of(loss: str, protocol: str) -> str:
        return identity.run_id(identity.effective(composed(loss, protocol)))

    assert len({id_of("sce", protocol) for protocol in ("none", "zhou2021")}) == 2
    assert len({id_of("ce", protocol) for protocol in ("none", *PAPERS)}) == 1


def test_both_papers_have_one_set_up() -> None:
    assert composed("ce", "zhou2021") == composed("ce", "wang2024")


def test_protocols_say_which_precision_was_released() -> None:
    """They leave it open, so that a run takes what the processor is fast at."""
    assert all(composed("ce", protocol).precision == "auto" for protocol in PAPERS)
    assert compose(["protocol=zhou2021", "precision=float32"]).precision == "float32"


@pytest.mark.parametrize("group", ["protocol", "loss"])
def test_a_group_that_was_taken_away_is_named(group: str) -> None:
    with pytest.raises(ValueError, match=rf"^{group}: needs a value, {group}=\.\.\.$"):
        compose([f"~{group}"])
