"""The audit's page in a real Chromium: keys decide, decisions outlive a reload, and decisions.json is saved."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import chromium

from labelnoise.audit.page import Image, render

pytestmark = pytest.mark.browser
MARKUP = '"><script>document.title = "broken"</script>'


@pytest.fixture
def saved_to(tmp_path: Path) -> Path:
    (folder := tmp_path / "saved").mkdir()
    return folder


@pytest.fixture
def driver(saved_to: Path) -> Iterator[Any]:
    started = chromium.start(saved_to, "--window-size=900,700")
    yield started
    started.quit()


def press(driver: Any, *names: str) -> None:
    from selenium.webdriver import ActionChains, Keys

    chain = ActionChains(driver)
    for name in names:
        chain.send_keys(getattr(Keys, name, name))
    chain.perform()


def test_keys_decide_and_decisions_are_saved(driver: Any, saved_to: Path, tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
    images = [Image(f"a/{i}.png", "cat", "dog", 0.9, 0.8, "true", pixels) for i in range(12)]
    images[3] = images[3]._replace(path=MARKUP, given=MARKUP)
    page = tmp_path / "audit.html"
    page.write_text(render("folder", ("cat", "dog"), images, 100))
    driver.get(page.as_uri())
    assert driver.title == "labelnoise: audit of folder"
    press(driver, "a", "r", "a", "a", "ARROW_LEFT", "ARROW_LEFT", "u")  # the third is undecided again
    progress = driver.find_element("id", "progress")
    assert progress.text == "3 decided: 2 accepted, 1 kept."
    driver.refresh()
    assert driver.find_element("id", "progress").text == "3 decided: 2 accepted, 1 kept."
    driver.save_screenshot(str(tmp_path / "audit.png"))
    press(driver, "s")
    for _ in range(3000):
        if (file := saved_to / "decisions.json").exists():
            break
        time.sleep(0.1)
    found = json.loads(file.read_text())
    expected = [("a/0.png", "cat", "accept"), ("a/1.png", "cat", "reject"), (MARKUP, MARKUP, "accept")]
    assert [(d["path"], d["given"], d["decision"]) for d in found["decisions"]] == expected
    assert {d["proposed"] for d in found["decisions"]} == {"dog"}
    assert not [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
