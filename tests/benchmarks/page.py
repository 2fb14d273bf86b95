"""Pictures a second of the page before a camera, and the CPU time of each by process and by function.

    python -m tests.benchmarks.page PAGE [--seconds 10] [--functions 12]

PAGE is a folder of `python -m export web`. A headless Chromium with graphics in software shows it in a desktop's and in
a phone's window; its camera is a film of a swaying portrait, 640 x 480 px, 30 pictures a second. "renderer" is the page
itself, all on one thread; "gpu-process" draws. CPU times hold on a busy machine, pictures a second do not.
"""

import argparse
import io
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from tests.browser import open_page, serving

WINDOWS = {"desktop": (1280, 800, 1, False), "phone": (400, 860, 2, True)}
FRAMES = 60
SETTLE = 3  # s, after the face is found
STATUS = "document.querySelector('#status').textContent"
COUNT = """import("./app.js").then(({ state }) => {
  let live = state.live;
  window.pictures = 0;
  const set = (value) => {
    window.pictures += Boolean(value);
    live = value;
  };
  Object.defineProperty(state, "live", { get: () => live, set });
})"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path, help="folder of `python -m export web`")
    parser.add_argument("--seconds", type=float, default=10, help="to watch for (default: 10)")
    parser.add_argument("--functions", type=int, default=0, help="to list, those that take longest (default: none)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        film = Path(place, "film.mjpeg")
        film.write_bytes(b"".join(_frames()))
        for name, window in WINDOWS.items():
            _watch(options, name, window, film)


def _frames():
    portrait = Image.fromarray(data.astronaut())
    for angle in np.linspace(0, 2 * np.pi, FRAMES, endpoint=False):
        zoom, x, y = 1 + 0.08 * np.sin(angle), 220 + 14 * np.cos(angle), 142 + 8 * np.sin(2 * angle)
        turned = portrait.rotate(4 * np.sin(angle), Image.Resampling.BICUBIC, center=(x, y))
        box = (x - 160 / zoom, y - 120 / zoom, x + 160 / zoom, y + 120 / zoom)
        stream = io.BytesIO()
        turned.resize((640, 480), Image.Resampling.BICUBIC, box).save(stream, "JPEG", quality=92)
        yield stream.getvalue()


def _watch(options, name, window, film):
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with serving(options.page) as (url, _), open_page(*flags, f"--use-file-for-fake-video-capture={film}") as page:
        page.resize(*window)
        page.send("Page.navigate", url=url)
        page.wait_for("document.querySelector('html[data-ready], html[data-failed]')")
        page.evaluate("document.querySelector('#camera').click()")
        page.wait_for(f"{STATUS} === 'Camera on: the face follows you.'")
        time.sleep(SETTLE)
        page.evaluate(COUNT)
        page.send("Profiler.enable")
        page.send("Profiler.start")
        before, begin = _seconds(), time.monotonic()
        time.sleep(options.seconds)
        count, spent = page.evaluate("window.pictures"), _seconds() - before
        taken = time.monotonic() - begin
        profile = page.send("Profiler.stop")["profile"]
    per = {kind: round(1e3 * seconds / max(count, 1), 1) for kind, seconds in spent.most_common() if seconds}
    print(f"{name}, {window[0]} x {window[1]}: {count / taken:.1f} pictures/s, load {os.getloadavg()[0]:.0f}")
    print("  CPU ms a picture: " + ", ".join(f"{kind} {value}" for kind, value in per.items()))
    functions = Counter()
    frames = {node["id"]: node["callFrame"] for node in profile["nodes"]}
    for node, micros in zip(profile["samples"], profile["timeDeltas"], strict=True):
        frame = frames[node]
        functions[f"{frame['functionName'] or '(function)'} {frame['url'].rsplit('/', 1)[-1]}"] += micros / 1e3
    for function, milliseconds in functions.most_common(options.functions):
        print(f"  {milliseconds / max(count, 1):7.2f} ms on the clock  {function}")


def _seconds():
    """CPU seconds so far of the processes that this one has started, by what Chromium calls them."""
    parents, spent, kinds = {}, {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rsplit(")", 1)[1].split()
            command = (place / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has ended
            continue
        number = int(place.name)
        parents[number] = int(fields[1])
        spent[number] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        kind = "utility-sub-type" if "--utility-sub-type=" in command else "type"
        kinds[number] = command.partition(f"--{kind}=")[2].split("\0")[0].split(" ")[0].rsplit(".", 1)[-1] or "browser"
    total = Counter()
    for number in spent:
        above = parents[number]
        while above in parents and above != os.getpid():
            above = parents[above]
        if above == os.getpid():
            total[kinds[number]] += spent[number]
    return total


if __name__ == "__main__":
    main()
