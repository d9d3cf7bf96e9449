"""A headless Chromium for scripts: opens pages, reads them, clicks and types, and remembers what went wrong on them.

The browser is spoken to over two pipes with the Chrome DevTools Protocol,
for which the standard library is enough: `--remote-debugging-pipe` means file descriptor 3 for commands and 4 for
answers and events, each message a JSON document that ends with a zero byte.
"""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

# Seconds until something that should happen counts as failed: on a busy machine with few cores a page takes its time.
PATIENCE = 90

OPTIONS = (
    "--headless=new",
    # Tests run as root in containers, where Chromium's own sandbox does not start. The pages are ours.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--window-size=1600,1100",
    "--lang=en-US",
    # The pages ask for films and fonts elsewhere; a test asks nobody but the server.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)


def chromium():
    """The browser: `TIDEMILL_TEST_CHROMIUM`, or the one on the path."""
    for name in (os.environ.get("TIDEMILL_TEST_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        if name and shutil.which(name):
            return shutil.which(name)
    sys.exit("no Chromium found; run `cargo xtask setup`, or name one with TIDEMILL_TEST_CHROMIUM")


def moved(descriptor):
    """The same end of a pipe under a number of at least 10."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return high


class Browser:
    """One browser with one page. What it says is read whenever something is asked of it."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="tidemill-browser-", ignore_cleanup_errors=True)
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()
        # The shell puts the pipes where Chromium looks for them: `pass_fds` keeps numbers, it does not choose them. So
        # that no number is needed twice on the way, both are moved out of it first.
        commands, answers = (moved(end) for end in (commands, answers))
        place = f'exec "$@" 3<&{commands} 4>&{answers} {commands}<&- {answers}>&-'
        self.log = open(pathlib.Path(self.profile.name) / "log", "w+b")  # noqa: SIM115
        self.process = subprocess.Popen(
            ["bash", "-c", place, "bash", chromium(), *OPTIONS, f"--user-data-dir={self.profile.name}/profile"],
            pass_fds=(commands, answers),
            stdout=self.log,
            stderr=self.log,
        )
        os.close(commands)
        os.close(answers)
        self.buffer, self.sent, self.session = b"", 0, None
        self.problems, self.asked, self.under_way = [], {}, set()
        # What was answered with an error: what kind of thing was asked for, the status, the address.
        self.refused = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        # A first visit opens a panel over the page.
        opened = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
        self.call("Page.addScriptToEvaluateOnNewDocument", source=f"try {{ {opened} }} catch {{}}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError, AssertionError):
            self.session = None
            self.call("Browser.close", timeout=5)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.commands)
        os.close(self.answers)
        self.log.close()
        self.profile.cleanup()

    def call(self, method, timeout=60, **parameters):
        """Sends one command and gives its result."""
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + timeout
        while True:
            answer = self.read(until)
            assert answer is not None, f"Chromium did not answer to {method} within {timeout} s: {self.said()}"
            if answer.get("id") == self.sent:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.happened(answer)

    def read(self, until):
        """The next message, or nothing when there is none in time."""
        while b"\0" not in self.buffer:
            if not select.select([self.answers], [], [], max(0, until - time.monotonic()))[0]:
                return None
            more = os.read(self.answers, 1 << 20)
            assert more, f"Chromium ended: {self.said()}"
            self.buffer += more
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def said(self):
        """The last of what the browser wrote about itself."""
        self.log.seek(0)
        return self.log.read()[-2000:].decode(errors="replace")

    def happened(self, event):
        """Keeps what matters of an event."""
        what, about = event.get("method"), event.get("params", {})
        if what == "Network.requestWillBeSent":
            self.asked[about["requestId"]] = f"{about['request']['method']} {about['request']['url']}"
            # That the script of a worker or a document in a frame has come is said to sessions of their own.
            # A stream of events ends with the page.
            is_other = ".worker." in about["request"]["url"] or about["request"]["url"].startswith("blob:")
            if not is_other and about.get("type") != "EventSource":
                self.under_way.add(about["requestId"])
        elif what == "Network.responseReceived" and about["response"]["status"] >= 400:
            self.refused.append((about["type"], about["response"]["status"], about["response"]["url"]))
        elif what == "Network.loadingFinished":
            self.under_way.discard(about["requestId"])
        elif what == "Network.loadingFailed":
            self.under_way.discard(about["requestId"])
            # A page that is left, or a search that is typed on, cancels what it does not need any more.
            if not about.get("canceled") and "//127.0.0.1" in self.asked.get(about["requestId"], ""):
                self.problems.append(f"{self.asked[about['requestId']]}: {about['errorText']}")
        elif what == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            thrown = details.get("exception", {})
            self.problems.append(f"exception: {thrown.get('description') or thrown.get('value') or details['text']}")
        elif what == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
            parts = [str(part.get("value", part.get("description", part["type"]))) for part in about["args"]]
            self.problems.append(f"console: {' '.join(parts)}")
        elif what == "Log.entryAdded" and about["entry"]["level"] == "error":
            # A refused request is in `refused`, and where a proxy stands between in its list, with what was answered.
            if about["entry"]["source"] != "network":
                self.problems.append(f"log: {about['entry']['text']} {about['entry'].get('url', '')}")

    def open(self, address):
        """Goes to an address. The page is a new one, also where only the part behind the `#` differs, and nothing is left
        of what pages before it kept in the browser, as the filter of a table."""
        self.call("Page.navigate", url="about:blank")
        self.call("Storage.clearDataForOrigin", origin=address.split("/#")[0], storageTypes="local_storage")
        self.problems.clear()
        self.refused.clear()
        self.under_way.clear()
        self.call("Page.navigate", url=address)

    def run(self, script):
        """The value of a JavaScript expression; of a promise, what it becomes."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, f"{script}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def tried(self, script):
        """As `run`; nothing where the page goes on to another one meanwhile."""
        try:
            return self.run(script)
        except AssertionError as error:
            if "navigated or closed" not in str(error):
                raise
            return None

    def text(self):
        """What a reader sees, and what is written into fields."""
        return self.tried(
            "(document.body ? document.body.innerText : '') + '\\n' + "
            "[...document.querySelectorAll('input, textarea')].map((field) => field.value).join('\\n')"
        ) or ""

    def until(self, script, what, timeout=PATIENCE):
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + timeout
        while not self.tried(script):
            assert time.monotonic() < end, f"{what} after {timeout} s"
            time.sleep(0.05)

    def shows(self, *texts, timeout=PATIENCE):
        """Waits until all of these texts are on the page."""
        end = time.monotonic() + timeout
        while missing := [text for text in texts if text not in self.text()]:
            assert time.monotonic() < end, f"{missing} not on the page after {timeout} s"
            time.sleep(0.05)

    def settled(self, quiet=0.4, timeout=PATIENCE):
        """Waits until no request has been under way for a moment."""
        end = time.monotonic() + timeout
        since = time.monotonic()
        while time.monotonic() - since < quiet:
            self.run("1")
            if self.under_way:
                since = time.monotonic()
            still = [self.asked.get(request) for request in self.under_way]
            assert time.monotonic() < end, f"still under way after {timeout} s: {still}"
            time.sleep(0.05)

    def click(self, selector, text=None, timeout=PATIENCE):
        """Clicks, as a mouse does, on the last element that a CSS selector finds and whose text is `text`."""
        place = f"""(() => {{
            const seen = (element) => element.getClientRects().length > 0;
            const same = (element) => !{json.dumps(bool(text))} || (element.innerText || '').trim() === {json.dumps(text)};
            const all = [...document.querySelectorAll({json.dumps(selector)})];
            const found = all.filter((element) => seen(element) && same(element)).at(-1);
            if (!found) return null;
            found.scrollIntoView({{block: 'center', behavior: 'instant'}});
            const {{x, y, width, height}} = found.getBoundingClientRect();
            return [x + width / 2, y + height / 2];
        }})()"""
        end = time.monotonic() + timeout
        # Menus and dialogs slide in; what is clicked on must stand still.
        before, now = None, self.run(place)
        while now is None or now != before:
            assert time.monotonic() < end, f"nothing to click on: {selector} {text or ''} after {timeout} s"
            time.sleep(0.05)
            before, now = now, self.run(place)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=now[0], y=now[1], button="left", clickCount=1)

    def type(self, text):
        """Types into the field that has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key, code):
        """Presses a key that is no letter, given with the number that Windows has for it, as `Enter` and 13."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def screenshot(self, file):
        """Writes what is visible to a PNG file."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        pathlib.Path(file).write_bytes(base64.b64decode(data))
