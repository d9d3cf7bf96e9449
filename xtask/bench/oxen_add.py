"""Oxen in the current folder: `--init` makes a repository, a path adds and commits it."""

import sys

import oxen

if sys.argv[1] == "--init":
    oxen.init(".")
else:
    repository = oxen.Repo(".")
    repository.add(sys.argv[1])
    repository.commit("add")
