"""Opens a web page again and again in headless Chromium, each time with an empty cache, and says what it took.

usage: pages.py ADDRESS CONDITION COUNT

CONDITION is a JavaScript expression that is true once the page shows what it is for. Prints one JSON object a visit:
`shown` and `painted` (milliseconds from the start of the visit until then, and until the first content was painted),
`server` (milliseconds from the request for the document to the end of its answer), `requests` and `bytes` (what came over
the network, compressed as it was).
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "crates/tidemill/tests/python"))
import browser  # noqa: E402

# A million points take one of the pages long.
PATIENCE = 180

MEASURE = """(async () => {
    const end = performance.now() + %d;
    while (!(document.body && (%s))) {
        if (performance.now() > end) return null;
        await new Promise((done) => setTimeout(done, 5));
    }
    const shown = performance.now();
    const visit = performance.getEntriesByType('navigation')[0];
    let paint = [];
    while (!paint.length && performance.now() < end) {
        await new Promise((done) => setTimeout(done, 5));
        paint = performance.getEntriesByName('first-contentful-paint');
    }
    return {shown, painted: paint[0].startTime, server: visit.responseEnd - visit.requestStart};
})()"""


class Weighing(browser.Browser):
    """A browser that counts what comes over the network."""

    bytes = requests = 0

    def happened(self, event):
        super().happened(event)
        if event.get("method") == "Network.loadingFinished":
            self.bytes += event["params"]["encodedDataLength"]
            self.requests += 1


def main(address, condition, count):
    with Weighing() as opened:
        for _ in range(count):
            opened.call("Page.navigate", url="about:blank")
            opened.call("Network.clearBrowserCache")
            opened.under_way.clear()
            opened.bytes = opened.requests = 0
            opened.call("Page.navigate", url=address)
            script = MEASURE % (PATIENCE * 1000, condition)
            answer = opened.call(
                "Runtime.evaluate", timeout=PATIENCE + 10, expression=script, awaitPromise=True, returnByValue=True
            )
            said = answer["result"].get("value")
            if said is None or "exceptionDetails" in answer:
                opened.screenshot(pathlib.Path("not-shown.png"))
                sys.exit(f"{address} does not show what it should: {answer}; see not-shown.png")
            opened.settled()
            print(json.dumps(said | {"requests": opened.requests, "bytes": opened.bytes}), flush=True)


if __name__ == "__main__":
    [address, condition, count] = sys.argv[1:]
    main(address, condition, int(count))
