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


def wait_for(browser, true_of, seconds=180):
    """The first screenshot of which something is true; the last one if that never happens."""
    from selenium.common.exceptions import TimeoutException

    end = time.monotonic() + seconds
    while True:
        try:
            shot = pixels(browser)
            if true_of(shot) or time.monotonic() > end:
                return shot
        except TimeoutException:  # a busy machine does not draw in time
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


def panel_around(driver, shot, at, shape):
    """A section ``[y, x]`` as Neuroglancer's first panel shows it around its voxel ``at``, one pixel a voxel."""
    script = """return [...document.querySelectorAll('.neuroglancer-rendered-data-panel')].map(
        p => { const r = p.getBoundingClientRect(); return [r.top, r.left, r.bottom, r.right] })"""
    top, left, bottom, right = min(driver.execute_script(script))
    y, x = int((top + bottom - 1) / 2), int((left + right - 1) / 2)
    y, x = y - at[0], x - at[1]
    return shot[y : y + shape[0], x : x + shape[1]]


def likeness(picture, channel, values):
    """Correlation of a colour channel with what should be seen in it."""
    inside = ~lines_in(picture)
    return np.corrcoef(picture[inside, channel], values[inside])[0, 1] if picture[inside, channel].std() > 0 else 0.0


def lines_in(picture):
    """Axes and the bounding box, which the viewer draws over the voxels in pure colours."""
    return np.ptp(picture, axis=-1) > 180


def shows_background(picture, image, ids):
    """Whether the image shows where there is no id, but for single pixels: renderers round coordinates differently.

    It may be drawn after the ids.
    """
    return (picture == image[..., None])[(ids == 0) & ~lines_in(picture)].mean() > 0.98


def colour_by(ids, picture):
    """The share of the colours of a picture (not of its grey) that ids explain, 0 to 1."""
    inside = (ids > 0) & ~lines_in(picture)
    hue = np.stack([picture[..., 0] - picture[..., 1], picture[..., 1] - picture[..., 2]], axis=-1)[inside]
    _, at, count = np.unique(ids[inside], return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(at, hue[:, k]) / count for k in range(2)], axis=-1)
    spread = ((hue - hue.mean(axis=0)) ** 2).sum()
    return 1 - ((hue - mean[at]) ** 2).sum() / spread if spread > 100 * len(hue) else 0.0
