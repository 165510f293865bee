"""Drives headless Chromium over the DevTools protocol, with Python's standard library only.

    with Browser() as browser:
        page = browser.open("report.html", width=360, theme="dark")
        print(page.evaluate("document.title"), page.complaints)

The protocol runs over a pair of pipes (--remote-debugging-pipe), so no port is opened. No page can
reach a network, and what it tries to load beside itself is noted. CHROMIUM names another program
than the first of NAMES that is found. One thread only.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "google-chrome")

FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # it does not start in containers, and only files of our own are opened
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-default-browser-check",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--password-store=basic",
)


class BrowserError(Exception):
    """The browser did not do what it was asked to, or is gone."""


def find_chromium():
    """The path of the browser, or None."""
    given = os.environ.get("CHROMIUM")
    return shutil.which(given) if given else next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A Chromium of its own, with a profile of its own; ended with the `with` block."""

    def __init__(self, timeout=60):
        """`timeout` is how many seconds any answer may take."""
        self.timeout = timeout
        self._folder = None
        self._pid = None
        self._buffer = b""
        self._last_id = 0
        self._events = {}  # by session: what takes an event's method and parameters

    def __enter__(self):
        program = find_chromium()
        if not program:
            raise BrowserError("no Chromium is installed (tools/setup.sh --tests installs it)")
        self._folder = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "log"
        child_reads, self._to = map(_high, os.pipe())
        self._from, child_writes = map(_high, os.pipe())
        os.set_blocking(self._to, False)
        # Chromium reads requests from descriptor 3 and writes answers to 4. The group lets us end
        # all of its processes at once.
        self._pid = os.posix_spawn(
            program,
            [program, *FLAGS, f"--user-data-dir={self._folder.name}/profile", "about:blank"],
            {**os.environ, "HOME": self._folder.name},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self._log), os.O_WRONLY | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, child_reads, 3),
                (os.POSIX_SPAWN_DUP2, child_writes, 4),
            ],
            setpgroup=0,
        )
        os.close(child_reads)
        os.close(child_writes)
        return self

    def __exit__(self, *_):
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._to)
        os.close(self._from)
        self._folder.cleanup()

    def open(self, path, **media):
        """A new page that has loaded the file. `media` is what Page.emulate takes."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = Page(self, target, session["sessionId"])
        page.emulate(**media)
        page.load(Path(path).resolve().as_uri())
        return page

    def call(self, method, parameters=None, session=None):
        """What the browser answers to a request of the protocol."""
        self._last_id += 1
        request = {"id": self._last_id, "method": method, "params": parameters or {}}
        if session:
            request["sessionId"] = session
        deadline = time.monotonic() + self.timeout
        self._send(json.dumps(request).encode() + b"\0", deadline, method)
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") == self._last_id:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def wait(self, condition, what):
        """Handles events until condition() holds."""
        deadline = time.monotonic() + self.timeout
        while not condition():
            self._receive(deadline, what)

    def listen(self, session, handler):
        """Has handler(method, parameters) called for each event of the session."""
        self._events[session] = handler

    def _send(self, data, deadline, what):
        while data:
            _, ready, _ = select.select([], [self._to], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise BrowserError(f"{what}: the browser took no request in {self.timeout} s")
            try:
                data = data[os.write(self._to, data) :]
            except BrokenPipeError:
                raise self._gone(what) from None

    def _receive(self, deadline, what):
        """The next message; an event is given to its session's handler first."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise BrowserError(f"{what}: no answer in {self.timeout} s")
            data = os.read(self._from, 1 << 20)
            if not data:
                raise self._gone(what)
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(message)
        handler = self._events.get(message.get("sessionId"))
        if "method" in message and handler:
            handler(message["method"], message["params"])
        return message

    def _gone(self, what):
        log = self._log.read_text(errors="replace")[-2000:]
        return BrowserError(f"{what}: the browser has ended; it said:\n{log}")


class Page:
    """A page in the browser, which cannot reach a network.

    complaints: what it has written to the console, thrown without catching, or tried to load beside
    itself, as lines of text.
    """

    def __init__(self, browser, target, session):
        self._browser = browser
        self._target = target
        self._session = session
        self._loaded = False
        self._url = None
        self._features = []
        self.complaints = []
        browser.listen(session, self._handle)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions",
            {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
        )

    def call(self, method, parameters=None):
        """A request of the protocol to this page."""
        return self._browser.call(method, parameters, self._session)

    def load(self, url):
        """Goes to a URL, and returns once it is loaded."""
        self._loaded = False
        self._url = url
        failed = self.call("Page.navigate", {"url": url}).get("errorText")
        if failed:
            raise BrowserError(f"{url}: {failed}")
        self._browser.wait(lambda: self._loaded, url)

    def close(self):
        """Closes the page."""
        self._browser.call("Target.closeTarget", {"targetId": self._target})

    def emulate(self, width=1280, height=900, theme="light", media="screen"):
        """The window's size in CSS pixels, the theme that the reader prefers ("light" or "dark"),
        and the media ("screen" or "print"). Returns once the page has been told of them."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        self._features = [{"name": "prefers-color-scheme", "value": theme}]
        self.call("Emulation.setEmulatedMedia", {"media": media, "features": self._features})
        self.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")

    def evaluate(self, expression):
        """The value of JavaScript, as JSON can hold it; a promise is awaited."""
        done = self.call(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True},
        )
        if "exceptionDetails" in done:
            details = done["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return done["result"].get("value")

    def move_mouse(self, x, y):
        """Moves the mouse to a point of the window."""
        self.call("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})

    def screenshot(self, path):
        """Writes the whole page as a PNG file."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path):
        """Prints the page to a PDF file, on the paper that its CSS asks for."""
        self.call("Emulation.setEmulatedMedia", {"media": "", "features": self._features})
        done = self.call("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
        Path(path).write_bytes(base64.b64decode(done["data"]))

    def _handle(self, method, event):
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.consoleAPICalled":
            values = (str(arg.get("value", arg.get("description"))) for arg in event["args"])
            self.complaints.append(f"console.{event['type']}: {' '.join(values)}")
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            said = details.get("exception", {}).get("description", details["text"])
            self.complaints.append(f"uncaught: {said}")
        elif method == "Log.entryAdded":
            entry = event["entry"]
            self.complaints.append(f"{entry['source']} {entry['level']}: {entry['text']}")
        elif method == "Network.requestWillBeSent":
            url = event["request"]["url"]
            if url != self._url and not url.startswith(("data:", "blob:")):
                self.complaints.append(f"requested: {url}")


def _high(descriptor):
    """The same file by a number above those that the browser is given."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
