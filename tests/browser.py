"""A real browser, without a window and with graphics in software, for the tests of pages."""

import shutil
import subprocess
import tempfile

import pytest

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(_CHROMIUM is None, reason="there is no Chromium to show a page")


def document_of(path):
    """The HTML of the page in a file once its scripts have run, and what it said on its console."""
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless=new", "--no-sandbox", f"--user-data-dir={profile}", "--window-size=900,600"]
        flags += ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--enable-logging=stderr"]
        command = [_CHROMIUM, *flags, "--virtual-time-budget=20000", "--dump-dom", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
