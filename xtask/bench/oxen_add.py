"""Oxen in the current folder: `--init` makes a repository, a path adds and commits it."""

import os
import sys

# The user that Oxen wants to know stands in the home folder; here that is the repository's own.
os.environ["HOME"] = os.getcwd()

import oxen

if sys.argv[1] == "--init":
    oxen.user.config_user("bench", "bench@example.com")
    oxen.init(".")
else:
    repository = oxen.Repo(".")
    repository.add(sys.argv[1])
    repository.commit("add")
