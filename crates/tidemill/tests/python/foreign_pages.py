"""A page from elsewhere against ours: `foreign_pages.py URL AXE FOLDER` opens pages of another port in a headless browser.

Another port of the same machine is as near as a stranger comes: a browser takes it for the same site, sends cookies that stay within a
site, and our API answers programs there. The page shows ours in frames (clickjacking), sends our forms with a token that is right, and
reads our pages. That such a page could do so is tried first: with a copy of our page that lacks its headers, and with the same form on
our own page.
"""

import contextlib
import http.server
import json
import pathlib
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import browser

MODEL = "framed"
BUTTON = "Point the alias there"


class Elsewhere:
    """A server at a port of its own, which answers a path with what `pages` has for it, and others with what `other` gives."""

    def __init__(self, other=None):
        pages = self.pages = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                kind, body = "text/html; charset=utf-8", pages.get(self.path)
                if body is None and other is not None:
                    kind, body = other(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("content-type", kind)
                self.end_headers()
                self.wfile.write(b"" if body is None else body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self, path, body):
        """Puts a page there and gives its address."""
        self.pages[path] = f"<!doctype html><title>elsewhere</title>{body}".encode()
        return self.url + path


def copies(url):
    """What gives a page of the server without the headers that came with it."""

    def copy(path):
        # A stream of events would never end.
        if path.startswith("/api/"):
            return "text/plain", None
        request = urllib.request.Request(url + path, headers={"accept": "text/html"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.headers["content-type"], answer.read()
        except urllib.error.HTTPError:
            return "text/plain", None

    return copy


def api(url, method, path, **body):
    """Asks the API as MLflow's client does; the status and the answer."""
    address = f"{url}/api/2.0/mlflow/{path}"
    data = json.dumps(body).encode() if method == "POST" else None
    request = urllib.request.Request(address, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def document(opened, **where):
    """Where a document is and what is read on it."""
    script = "[location.href, document.body ? document.body.innerText : '']"
    return opened.call("Runtime.evaluate", expression=script, returnByValue=True, **where)["result"]["value"]


def frames(opened):
    """The documents in the frames of the page: addresses with what is read there."""
    found = []
    for child in opened.call("Page.getFrameTree")["frameTree"].get("childFrames", []):
        world = opened.call("Page.createIsolatedWorld", frameId=child["frame"]["id"])["executionContextId"]
        found.append(document(opened, contextId=world))
    # Where the browser wants it so, a frame has a process of its own, which is asked by itself. Its page for new tabs has frames as well.
    page, opened.session = opened.session, None
    try:
        for target in opened.call("Target.getTargets")["targetInfos"]:
            if target["type"] == "iframe" and target["url"].startswith(("http:", "about:", "chrome-error:")):
                opened.session = opened.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
                found.append(document(opened))
                opened.session = None
    finally:
        opened.session = page
    return found


def framed(opened, elsewhere, address):
    """Shows an address in a frame of the foreign page, and gives the document that is in the frame then."""
    body = f'<h1>Win a prize</h1><iframe src="{address}" width="1200" height="900"></iframe>'
    opened.open(elsewhere.page("/frame", body))
    # A page is complete when its frames are, also those that came to nothing.
    opened.until("document.title === 'elsewhere' && document.readyState === 'complete'", "the foreign page is not complete")
    begin, found = time.monotonic(), []
    while time.monotonic() < begin + browser.PATIENCE:
        # A frame that goes on to its document meanwhile is asked again; one that stays empty has had its time.
        with contextlib.suppress(AssertionError, KeyError):
            found = frames(opened)
            if len(found) == 1 and (found[0][0] != "about:blank" or time.monotonic() > begin + 5):
                return found[0]
        time.sleep(0.1)
    raise AssertionError(f"the frame of {address} does not come to an end: {found}")


def check_frames(opened, url):
    """Nothing of ours is shown in a frame of another page."""
    elsewhere, unguarded = Elsewhere(), Elsewhere(copies(url))
    shown, words = framed(opened, elsewhere, f"{unguarded.url}/models/{MODEL}")
    assert shown.startswith(unguarded.url) and BUTTON in words, f"a page without headers is not framed either: {shown} {words[:500]}"
    paths = ["/", "/delivery", f"/models/{MODEL}", f"/models/{MODEL}/1", "/experiments/0", "/owner", "/log", "/login", "/runs/none",
             "/?format=json", "/?format=md", "/?format=svg&figure=loop", "/api/v1/models"]
    for path in paths:
        shown, words = framed(opened, elsewhere, url + path)
        assert shown.startswith(("chrome-error:", "about:blank")), f"{path} is shown in a frame of another page: {shown}"
        for said in ("Tidemill", BUTTON, MODEL):
            assert said not in words, f"`{said}` of {path} is in a frame of another page: {words[:500]}"
        # The browser says itself that it was our answer that it did not show.
        blocked = f"GET {url}{path}: net::ERR_BLOCKED_BY_RESPONSE"
        assert blocked in opened.problems, f"{path} is missing for another reason: {opened.problems}"
        print(f"blocked: {path}")


def alias(url, name):
    """The version at which an alias of the model points; nothing where there is no such alias."""
    query = urllib.parse.urlencode({"name": MODEL, "alias": name})
    status, answer = api(url, "GET", f"registered-models/alias?{query}")
    assert status in (200, 400, 404), answer
    return answer["model_version"]["version"] if status == 200 else None


def check_forms(opened, url):
    """A form of ours does nothing where another page sends it, even with the token that our page has."""
    address = f"{url}/models/{MODEL}"
    fill = ("(() => { const form = document.querySelector('form.change'); form.elements.alias.value = 'own';"
            "form.elements.version.value = '1'; return [form.getAttribute('action'), form.elements.csrf.value] })()")
    opened.open(address)
    opened.until(f"document.body?.textContent.includes({json.dumps(BUTTON)})", "the form is not there")
    action, token = opened.run(fill)
    opened.click("form.change button", BUTTON)
    opened.until("document.body?.textContent.includes('own') && location.hash === '#aliases'", "the form of our own page does nothing")
    assert alias(url, "own") == "1", "the alias was not set by our own page"

    elsewhere = Elsewhere()
    fields = {"csrf": token, "alias": "stolen", "version": "1"}
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    opened.open(elsewhere.page("/form", f'<form method="post" action="{url}{action}">{inputs}</form>'))
    opened.until("document.title === 'elsewhere' && document.forms.length === 1", "the foreign page is not there")
    opened.run("document.forms[0].submit(), 0")
    opened.until(f"location.href === {json.dumps(url + action)} && document.body?.textContent.includes('Refused')", "the form is not refused")
    assert ("Document", 403, url + action) in opened.refused, opened.refused

    opened.open(elsewhere.page("/script", "<h1>Win a prize</h1>"))
    opened.until("document.title === 'elsewhere'", "the foreign page is not there")
    body = urllib.parse.urlencode(fields)
    options = f"{{method: 'POST', mode: 'no-cors', credentials: 'include', body: new URLSearchParams({json.dumps(body)})}}"
    opened.run(f"fetch({json.dumps(url + action)}, {options}).then(() => 0, () => 0)")
    # Nor does it read the token, or anything else.
    read = opened.run(f"fetch({json.dumps(address)}, {{credentials: 'include'}}).then((answer) => answer.text(), () => 'not read')")
    assert read == "not read", read[:200]
    assert alias(url, "stolen") is None, "a page from elsewhere has set an alias"


def main(url, _axe, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path, body in [("registered-models/create", {"name": MODEL}), ("model-versions/create", {"name": MODEL, "source": "s3://models/framed"})]:
        status, answer = api(url, "POST", path, **body)
        assert status == 200, answer
    with browser.Browser() as opened:
        check_frames(opened, url)
        opened.screenshot(folder / "framed.png")
        check_forms(opened, url)


if __name__ == "__main__":
    main(*sys.argv[1:])
