"""Chromium without a window, for tests of what people see. Fixtures for ``tests/viewing``."""

import shutil
import time
from io import BytesIO

import numpy as np
import pytest

MISSING = next(
    (f"no {name} here: make test-browser" for name in ("chromium", "chromedriver") if not shutil.which(name)), ""
)


def needs_browser(test):
    """Marks a test that opens a browser; it is skipped only where none is installed."""
    return pytest.mark.browser(pytest.mark.skipif(bool(MISSING), reason=MISSING)(test))


FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--hide-scrollbars",
]


def start(width=1000, height=800):
    """A browser; ``quit()`` ends it."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS, f"--window-size={width},{height}", "--disable-dev-shm-usage"]:
        options.add_argument(flag)
    return Chrome(options, Service(shutil.which("chromedriver")))


def pixels(browser):
    """What is on the screen, int ``[y, x, 3]``."""
    return _decode(browser.get_screenshot_as_png())


def picture_of(element):
    """What is seen of one element of a page, int ``[y, x, 3]``."""
    return _decode(element.screenshot_as_png)


def _decode(png):
    from PIL import Image

    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def wait_for(browser, true_of, seconds=60):
    """The first screenshot of which something is true; the last one if that never happens."""
    end = time.monotonic() + seconds
    while True:
        shot = pixels(browser)
        if true_of(shot) or time.monotonic() > end:
            return shot
        time.sleep(0.5)
