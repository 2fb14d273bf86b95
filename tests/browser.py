"""A real browser, without a window and with graphics in software, for the tests of pages."""

import base64
import fcntl
import functools
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager

import pytest

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
)
needs_browser = pytest.mark.skipif(_CHROMIUM is None, reason="there is no Chromium to show a page")
PATIENCE = 300  # s


def document_of(path):
    """The HTML of the page in a file once its scripts have run, and what it said on its console."""
    with tempfile.TemporaryDirectory() as profile:
        flags = [*_FLAGS, f"--user-data-dir={profile}", "--window-size=900,600", "--enable-logging=stderr"]
        command = [_CHROMIUM, *flags, "--virtual-time-budget=20000", "--dump-dom", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


class Page:
    """A page of a running browser, driven by the Chrome DevTools Protocol.

    Attributes:
      requests: addresses that the page and its service worker asked for, whether the browser let them or not.
      messages: warnings and errors on its console, and exceptions that nobody caught.
    """

    def __init__(self, to_browser, from_browser):
        self._to, self._from = to_browser, from_browser
        self._answers, self._news, self._number = {}, threading.Condition(), 0
        self.requests, self.messages = [], []
        threading.Thread(target=self._listen, daemon=True).start()
        self._session = None
        follow = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}
        self.send("Target.setAutoAttach", **follow)  # to service workers
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """Calls a method of the protocol; returns its result."""
        number = self._post(method, parameters, self._session)
        with self._news:
            assert self._news.wait_for(lambda: number in self._answers, PATIENCE), f"no answer to {method}"
            answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def evaluate(self, expression):
        """The value of JavaScript, awaited; JSON only."""
        options = {"awaitPromise": True, "returnByValue": True}
        answer = self.send("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition):
        """Waits until JavaScript is true."""
        end = time.monotonic() + PATIENCE
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < end, f"never: {condition}; {self.evaluate('document.body.innerText')}"
            time.sleep(0.2)

    def choose_files(self, query, paths):
        """Puts files into an input, as a user does."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=query)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def resize(self, width, height, scale=1, mobile=False):
        """Gives the page a window of so many px."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile}
        self.send("Emulation.setDeviceMetricsOverride", **size)

    def screenshot(self):
        """The bytes of a PNG of what is seen."""
        return base64.b64decode(self.send("Page.captureScreenshot")["data"])

    def _post(self, method, parameters, session):
        with self._news:
            self._number += 1
            message = {"id": self._number, "method": method, "params": parameters}
            message |= {"sessionId": session} if session else {}
            self._to.write(json.dumps(message).encode() + b"\0")
            self._to.flush()
            return self._number

    def _listen(self):
        rest = b""
        while data := self._from.read1(1 << 16):
            *messages, rest = (rest + data).split(b"\0")
            for message in map(json.loads, messages):
                self._take(message)

    def _take(self, message):
        kind, told = message.get("method"), message.get("params", {})
        if "id" in message:
            with self._news:
                self._answers[message["id"]] = message
                self._news.notify_all()
        elif kind == "Target.attachedToTarget" and told["targetInfo"]["type"] == "service_worker":
            self._post("Network.enable", {}, told["sessionId"])
        elif kind == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif kind == "Runtime.exceptionThrown":
            self.messages.append(json.dumps(told["exceptionDetails"]))
        elif kind == "Log.entryAdded" and told["entry"]["level"] in ("warning", "error"):
            self.messages.append(told["entry"]["text"])
        elif kind == "Runtime.consoleAPICalled" and told["type"] in ("warning", "error"):
            self.messages.append(" ".join(str(argument.get("value")) for argument in told["args"]))


@contextmanager
def open_page(*flags):
    """Starts a browser with `flags`; yields an empty `Page`."""
    outward, inward = os.pipe(), os.pipe()  # the browser reads 3 and writes 4
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (outward[0], inward[1])]

    def connect():
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [_CHROMIUM, *_FLAGS, *flags, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        browser = subprocess.Popen(command, preexec_fn=connect, pass_fds=(3, 4), **quiet)
        for fd in (outward[0], inward[1], *high):
            os.close(fd)
        with open(outward[1], "wb") as to_browser, open(inward[0], "rb") as from_browser:
            try:
                yield Page(to_browser, from_browser)
            finally:
                browser.kill()
                browser.wait()


@contextmanager
def serving(folder):
    """Serves the files of `folder` on this machine; yields (the address, a function that stops it)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    try:
        yield f"http://127.0.0.1:{server.server_port}/", stop
    finally:
        if thread.is_alive():
            stop()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
