"""The report page in a real Chromium without a window: `make test-browser`. Needs chromium, chromedriver, selenium."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import chromium
from support.data import REPOSITORY
from support.report_records import MARKUP, made_up, write_many

from labelnoise.cli.report import report
from labelnoise.config.compose import compose
from labelnoise.config.identity import effective, run_id
from labelnoise.records import store
from labelnoise.tables import table as tables

pytestmark = [pytest.mark.browser, pytest.mark.committed]

WIDTHS = (400, 1600)
CELL = ".sheet:not([hidden]) tr[data-row='{}'] td[data-column='{}'] .cell"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """Debian's Chromium, driven by selenium; its console is read by `Page`."""
    started = chromium.start()
    yield started
    started.quit()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[store.Record]]:
    """The committed records of the digits table, as if no others were committed."""
    folder = tmp_path_factory.mktemp("committed")
    paths = [store.COMMITTED / f"{cell.run_id}.json" for cell in tables.cells(tables.read(["table=digits"]))]
    for path in paths:
        shutil.copy(path, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "COMMITTED", folder)
        yield list(map(store.load, paths))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, digits: list[store.Record]) -> dict[str, Path]:
    """The page over the digits table and some records made up for it, and one over 2,000 runs more."""
    folder = tmp_path_factory.mktemp("report")
    few, many = folder / "few", folder / "many"
    for seed in (1, 2):
        for loss, rate in (("ce", 0.4), ("nlnl", 0.8)):
            cell = ("dataset=cifar10", "protocol=zhou2021", f"loss={loss}", "noise=sym_zhou2021", f"rate={rate}")
            record = made_up((*cell, f"seed={seed}", "seed_noise=123"), epochs=120)
            record["environment"] |= {"processor": MARKUP, "commit": MARKUP}
            store.write(record, few)
    write_many(few, 1, epochs=7, classes=100)
    write_many(many, 2000, epochs=120)
    for name in ("few", "many"):
        report([f"results={folder / name}", f"out={folder / name}.html"])
    return {name: folder / f"{name}.html" for name in ("few", "many")}


class Page:
    """A page in the browser, as a person uses it."""

    def __init__(self, driver: Any, file: Path, width: int = 1600, scheme: str = "light") -> None:
        self.driver = driver
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        driver.get_log("browser")
        driver.get(file.as_uri())
        self.wait("document.documentElement.dataset.ready")

    def js(self, script: str, *given: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *given)

    def wait(self, condition: str, seconds: float = 300) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, seconds, 0.05).until(lambda _: self.js(condition), condition)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.all(selector) if element.is_displayed()]

    def click(self, selector: str, shift: bool = False) -> None:
        from selenium.webdriver import ActionChains, Keys

        element = self.one(selector)
        self.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        if shift:
            ActionChains(self.driver).key_down(Keys.SHIFT).click(element).key_up(Keys.SHIFT).perform()
        else:
            element.click()

    def keys(self, *names: str) -> None:
        from selenium.webdriver import ActionChains, Keys

        chain = ActionChains(self.driver)
        for name in names:
            chain.send_keys(getattr(Keys, name, name))
        chain.perform()

    def fill(self, selector: str, text: str) -> None:
        self.one(selector).clear()
        self.one(selector).send_keys(text)

    def choose(self, selector: str, value: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.one(selector)).select_by_value(value)

    def drawn(self, chart: str) -> None:
        self.wait(f"document.getElementById('{chart}')?.dataset.ready")

    def lines(self, chart: str) -> int:
        """How many lines a chart has."""
        self.drawn(chart)
        return len(self.all(f"#{chart} .mark-line path"))

    def column(self, name: str) -> list[float]:
        """The means of a column from top to bottom."""
        return [float(text) for text in self.texts(f".sheet:not([hidden]) td[data-column='{name}'] b")]

    def order(self) -> list[str]:
        return self.js("[...document.querySelectorAll('.sheet:not([hidden]) tbody tr')].map((r) => r.dataset.row)")


@pytest.fixture
def visit(driver: Any, files: dict[str, Path]) -> Iterator[Callable[..., Page]]:
    """Opens a page; afterwards its console must be empty and nothing hostile done."""

    def opened(name: str = "few", **how: Any) -> Page:
        return Page(driver, files[name], **how)

    yield opened
    assert driver.get_log("browser") == []
    assert driver.title == "labelnoise: results"
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_the_first_view_is_the_digits_table(visit) -> None:
    page = visit()
    assert page.one(".sheet:not([hidden]) caption").text == "Digits, last epoch"
    assert len(page.all(".sheet:not([hidden]) tbody tr")) == 17
    readme = (REPOSITORY / "results" / "digits.md").read_text()
    ours = re.search(r"\| `ce` \|(.*)\|", readme)
    assert ours is not None
    shown = page.texts(".sheet:not([hidden]) tr[data-row='ce'] .cell b")
    assert shown == re.findall(r"(\d+\.\d+) ±", ours[1].replace("*", "").replace("<u>", "").replace("</u>", ""))


def test_sorting_by_a_column_and_back(visit) -> None:
    page = visit()
    header = ".sheet:not([hidden]) th[data-column='sym_0.8'] .sort"
    as_written = page.order()
    values = page.column("sym_0.8")
    page.click(header)
    assert page.column("sym_0.8") == sorted(values, reverse=True) != values
    assert page.one(".sheet:not([hidden]) th[data-column='sym_0.8']").get_attribute("aria-sort") == "descending"
    page.click(header)
    assert page.column("sym_0.8") == sorted(values)
    page.click(header)
    assert page.order() == as_written
    page.click(".sheet:not([hidden]) th[data-column=''] .sort")
    assert page.order() == sorted(as_written, reverse=True)


def test_rows_and_columns_are_filtered(visit) -> None:
    page = visit()
    page.fill("#filter-rows", "ce nce_")
    assert page.texts(".sheet tbody th") == ["ce", "nce_mae", "nce_rce", "nce_agce", "nce_aul", "nce_ael"]
    page.fill("#filter-columns", "asym")
    assert page.texts(".sheet thead th") == ["row", "asym_0.1", "asym_0.2", "asym_0.3", "asym_0.4"]
    assert page.one("#filtered").text == "6 of 17 rows, 4 of 9 columns"
    page.fill("#filter-rows", "nothing like it")
    assert page.texts(".sheet tbody th") == []


def test_pointing_at_a_cell_says_what_it_is(visit) -> None:
    from selenium.webdriver import ActionChains

    page = visit()
    ActionChains(page.driver).move_to_element(page.one(CELL.format("ce", "sym_0.4"))).perform()
    tip = page.one("#tip").text
    assert re.search(r"mean: 78\.33, std 2\.68, n 3", tip), tip
    assert re.search(r"runs: [0-9a-f]{12}, [0-9a-f]{12}, [0-9a-f]{12}", tip), tip
    assert re.search(r"commit: [0-9a-f]{7}", tip), tip
    assert "machine: AMD EPYC (bfloat16)" in tip


def test_everything_by_keyboard(visit) -> None:
    page = visit()
    first = page.one(CELL.format("ce", "clean"))
    for _ in range(40):
        page.keys("TAB")
        if page.driver.switch_to.active_element == first:
            break
    assert page.driver.switch_to.active_element == first
    page.keys("ARROW_DOWN", "ARROW_RIGHT", "ARROW_RIGHT")
    assert page.driver.switch_to.active_element == page.one(CELL.format("focal", "sym_0.4"))
    assert page.one("#tip").text.startswith("focal · sym_0.4")
    page.keys("ENTER")
    assert page.one("#panel h2").text == "focal · sym_0.4"
    assert page.driver.switch_to.active_element == page.one("#panel h2")
    page.keys("ESCAPE")
    assert not page.one("#panel").is_displayed()
    assert page.driver.switch_to.active_element == page.one(CELL.format("focal", "sym_0.4"))
    page.one("#tab-tables").send_keys("")
    page.keys("ARROW_RIGHT")
    assert page.one("#page-runs").is_displayed()


def test_a_click_shows_curves_noise_and_command(visit) -> None:
    page = visit()
    page.click(CELL.format("ce", "sym_0.4"))
    assert page.lines("chart-accuracy") == 3
    assert page.lines("chart-memorisation") == 6
    page.drawn("chart-matrix")
    assert len(page.all("#chart-matrix .mark-rect.role-mark path")) == 100
    command = page.one("#panel .command code").text
    program, script, *overrides = shlex.split(command)
    assert (program, script) == ("python", "train.py")
    assert page.one("#panel .run select").get_attribute("value") == run_id(effective(compose(overrides)))
    permissions = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    page.driver.execute_cdp_cmd("Browser.grantPermissions", permissions)
    page.click("#panel .command button")
    page.wait("document.querySelector('#panel .command button').textContent === 'Copied'")
    assert page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == command
    page.click("#panel .configuration summary")
    facts = page.texts("#panel .configuration tr")
    assert "seed_noise 1" in facts
    assert "dataset.name digits" in facts


def test_another_cell_is_laid_over(visit) -> None:
    page = visit()
    page.click(CELL.format("ce", "sym_0.4"))
    page.click(CELL.format("nce_agce", "sym_0.4"), shift=True)
    assert page.one("#panel h2").text == "ce · sym_0.4 and nce_agce · sym_0.4"
    assert page.lines("chart-accuracy") == 6
    colours = page.js(
        "[...document.querySelectorAll('#chart-accuracy .mark-line path')].map((p) => p.getAttribute('stroke'))"
    )
    assert sorted(colours) == ["#0072b2"] * 3 + ["#d55e00"] * 3
    page.choose("#panel select[aria-label='row of the second cell']", "mae")
    assert page.one("#panel h2").text == "ce · sym_0.4 and mae · sym_0.4"
    page.choose("#panel select[aria-label='column of the second cell']", "asym_0.4")
    assert page.one("#panel h2").text == "ce · sym_0.4 and mae · asym_0.4"
    page.choose("#panel select[aria-label='row of the second cell']", "")
    assert page.lines("chart-accuracy") == 3


def test_what_differs_between_two_runs(visit) -> None:
    page = visit()
    page.click(CELL.format("ce", "sym_0.4"))
    page.wait("document.querySelector('#panel .difference tbody tr')")
    heads = page.texts("#panel .difference thead th")
    lines = {line.split()[0]: line.split()[1:] for line in page.texts("#panel .difference tbody tr")}
    assert lines["seed_noise"] == ["1", "2"]
    for name, place in (("metrics.test_acc_last", 0), ("metrics.test_acc_best", 1)):
        both = [store.find(identifier, "")["metrics"][name.split(".")[1]] for identifier in heads[-2:]]
        assert list(map(float, lines[name])) == both, place
    assert "loss._target_" not in lines
    page.fill("#panel input[list='known-runs']", "no such run")
    assert "There is no run no such run" in page.one("#panel .difference").text


def test_published_values_colour_a_table(visit) -> None:
    from selenium.webdriver import ActionChains

    page = visit()
    page.choose("#table", "cifar10_zhou2021")
    cell = page.one(CELL.format("ce", "sym_0.4"))
    assert "58.46 ± 0.21" in cell.text  # wang2024, Table 2
    ActionChains(page.driver).move_to_element(cell).perform()
    assert "published: 58.46 ± 0.21 (3 runs)" in page.one("#tip").text
    assert page.js("arguments[0].closest('td').className", cell) == "p3"  # some 30 points above, made up
    assert page.js("arguments[0].closest('td').className", page.one(CELL.format("nlnl", "sym_0.8"))) == "p3"
    assert len(page.texts(".sheet:not([hidden]) .missing")) == 17 * 9 - 2


def test_hostile_text_is_shown_as_text(visit) -> None:
    from selenium.webdriver import ActionChains

    page = visit()
    page.choose("#table", "cifar10_zhou2021")
    cell = page.one(CELL.format("ce", "sym_0.4"))
    ActionChains(page.driver).move_to_element(cell).perform()
    assert f"machine: {MARKUP}" in page.one("#tip").text
    page.click(CELL.format("ce", "sym_0.4"))
    assert page.lines("chart-accuracy") == 2
    page.drawn("chart-matrix")
    assert MARKUP in page.one("#panel").text
    page.click("#tab-runs")
    assert page.all("main img") == []


def test_the_page_of_runs(visit, digits: list[store.Record]) -> None:
    page = visit()
    page.click("#tab-runs")
    committed = [record["config"] for record in digits]
    total = len(committed) + 5
    assert page.one("#page-runs output").text == f"{total:,} of {total:,} runs"
    page.fill("#filter-runs", "mae symmetric digits cnn4")
    found = sum("mae" in str(c["loss"]) and "symmetric" in c["noise"]["_target_"] for c in committed)
    assert page.one("#page-runs output").text == f"{found:,} of {total:,} runs"
    page.fill("#filter-runs", "seed=1000")
    page.click("#page-runs button.open")
    page.drawn("chart-matrix")
    assert page.all("#chart-matrix canvas"), "10,000 squares are no elements"
    assert page.lines("chart-accuracy") == 1
    overrides = shlex.split(page.one("#page-runs .command code").text)[2:]
    assert page.one("#page-runs h2").text == f"Run {run_id(effective(compose(overrides)))}"
    assert "seed=1000" in overrides


def test_the_page_of_losses(visit) -> None:
    page = visit()
    page.click("#tab-losses")
    for chart in ("loss-value", "loss-weight", "loss-digits"):
        assert page.lines(chart) == 4, chart
    page.click("input[value='sce']")
    page.wait("document.querySelectorAll('#loss-value .mark-line path').length === 5")
    yes = {row.split()[0]: row.count("yes") for row in page.texts(".tolerance tbody tr")}
    assert (yes["mae"], yes["ce"]) == (9, 0)
    for chart in ("map-agce", "map-aul"):
        page.drawn(chart)


def test_details_are_unpacked_when_a_run_is_opened(driver: Any, files: dict[str, Path], tmp_path: Path) -> None:
    """A page whose details are spoilt shows its tables and its list of runs all the same."""
    spoilt = tmp_path / "spoilt.html"
    spoilt.write_text(re.sub(r'(id="details-\d+">)[^<]+', r"\1AAAA", files["few"].read_text()))
    page = Page(driver, spoilt)
    page.fill("#filter-rows", "ce")
    assert page.order()
    page.click("#tab-runs")
    page.fill("#filter-runs", "seed=1000")
    assert page.one("#page-runs output").text.startswith("1 of ")
    assert driver.get_log("browser") == []
    page.click("#page-runs button.open")
    page.wait("document.querySelector('#page-runs h2')")
    assert page.all("#page-runs .run") == []
    driver.get_log("browser")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_window(visit, width: int, scheme: str) -> None:
    page = visit(width=width, scheme=scheme)
    page.click(CELL.format("ce", "sym_0.4"))
    page.drawn("chart-matrix")
    for tab in ("tables", "runs", "losses"):
        page.js(f"document.getElementById('tab-{tab}').click()")
        page.wait("!document.querySelector('.chart:not([data-ready])')")
        assert page.js("document.documentElement.scrollWidth") <= width, tab
    brightness = page.js("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (brightness > 128) == (scheme == "light")


def test_colours_can_be_chosen(visit) -> None:
    page = visit(scheme="light")
    page.click(CELL.format("ce", "sym_0.4"))
    page.drawn("chart-accuracy")
    before = page.js("getComputedStyle(document.body).backgroundColor")
    page.choose("#theme", "dark")
    assert page.js("getComputedStyle(document.body).backgroundColor") != before
    page.wait("document.querySelector('#chart-accuracy .role-axis-label text').getAttribute('fill') === '#a0a7b1'")


def test_two_thousand_runs_are_not_two_thousand_elements(visit, files: dict[str, Path]) -> None:
    """What makes a large page slow, on any machine: elements that are made before they are seen, and bytes."""
    few = visit("few").js("document.querySelectorAll('*').length")
    page = visit("many")
    assert page.js("document.querySelectorAll('*').length") < 1.1 * few
    page.click("#tab-runs")
    assert int(page.one("#page-runs output").text.split()[0].replace(",", "")) == 2000 + 459
    assert page.js("document.querySelectorAll('*').length") < 2 * few
    assert files["many"].stat().st_size < 5_000_000
