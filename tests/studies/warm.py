"""Imported once by the fork server of the kill tests, so that each killed process starts with all of this done."""

import studies.cell
from studies import benchmarks

assert studies.cell
assert benchmarks.load("digits").manifest
