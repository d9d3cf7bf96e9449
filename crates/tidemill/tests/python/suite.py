"""Runs several scripts in one process, because importing the client takes seconds: `python suite.py URL SCRIPT…`."""

import sys

import harness

if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python suite.py http://127.0.0.1:PORT SCRIPT…")
    failed = harness.run(sys.argv[2:], sys.argv[1])
    sys.exit(f"{failed} checks failed" if failed else 0)
