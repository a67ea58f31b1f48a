"""Chromium on the session's Temporal UI; nothing but that UI can be reached from it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from support.temporal_ui import TemporalUi

from local_cluster.cluster import LocalCluster

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# A module's, not the session's: Playwright keeps an event loop running, beside which no async test can run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not shutil.which(CHROMIUM):
        pytest.fail(f"{CHROMIUM} is not there; scripts/test-packages installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def ui(browser: Browser, cluster: LocalCluster, tmp_path: Path) -> Iterator[TemporalUi]:
    """The UI in a fresh profile; what it looked like at the end lies in the test's tmp_path."""
    context = browser.new_context(viewport={"width": 1400, "height": 1100})
    ui = TemporalUi(context, cluster.env()["TEMPORAL_UI_URL"], cluster.env()["TEMPORAL_NAMESPACE"])
    yield ui
    ui.page.screenshot(path=tmp_path / "end.png")
    context.close()
