"""A headless Chromium for the tests of pages."""

import shutil
from pathlib import Path
from typing import Any

import pytest


def start(downloads: Path | None = None, *flags: str) -> Any:
    """Debian's Chromium, driven by selenium, which keeps its console's lines.

    Args:
        downloads: folder of what a page saves.
        flags: further flags of Chromium's.
    """
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing:
        pytest.fail(f"{' and '.join(missing)} not found: apt-get install chromium chromium-driver", pytrace=False)
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install 'labelnoise[dev]'")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *flags):
        options.add_argument(flag)
    if downloads is not None:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
