"""Runs the command line again and again in one process: a line of arguments as JSON, a line with its exit code."""

import json
import sys

from studies.__main__ import main

if __name__ == "__main__":
    for line in sys.stdin:
        sys.argv = ["gmixout", *json.loads(line)]
        try:
            main()
        except SystemExit as ended:
            sys.stdout.flush()
            sys.stderr.write(f"exit {ended.code or 0}\n")
