"""A process that helps a worker train one cell: it takes the same steps on its own part of every batch."""

import os
import pickle
import signal
import sys

from studies.crew import ECHOED, READY, end_with_parent, read_errand
from studies.failures import Stopped, sort_failure
from studies.ranks import is_echo, joined
from studies.settings import CellSettings


def main() -> None:
    """The helping process's whole life. What it writes to its output is read by the worker alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    # Whatever libraries print goes elsewhere.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    errand = read_errand()
    end_with_parent()
    try:
        from studies.cell import help_train
        from studies.settings.folders import add_folders
        from studies.settings.plugins import load_plugins

        load_plugins(errand.task.plugins)
        add_folders(errand.task.folders)
        cell = CellSettings.from_canonical(errand.task.canonical)
        answers.write(READY)
        answers.flush()
        with joined(errand.store, errand.rank, errand.size, errand.task.device) as group:
            help_train(cell, errand.task, group)
    except Stopped:
        return
    except BaseException as error:
        if is_echo(error):
            os._exit(ECHOED)
        pickle.dump(sort_failure(error), answers)
        answers.flush()
        # Not the ordinary way out: a process group whose other members wait cannot be left in order.
        os._exit(1)
    finally:
        sys.stderr.flush()
