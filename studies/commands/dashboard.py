"""`gmixout dashboard`: optuna-dashboard on a study's records, on this machine alone."""

import socket
import tempfile
from pathlib import Path

from rich.console import Console

from analysis.plain_names import plainly_named
from analysis.printing import printed_summary, to_markdown
from analysis.records import Records, read
from analysis.tables import summary
from studies import provenance
from studies.commands.saying import say
from studies.commands.searches import oracle_warning, search_words
from studies.drawn import drawn
from studies.opened import Opened
from studies.store import ResultsError

HOST = "127.0.0.1"
"""Nobody else's machine: what is shown has no password."""


def dashboard(opened: Opened, port: int, console: Console) -> None:
    """Shows the study's cells in the browser until it is stopped with Ctrl-C.

    Raises:
        ResultsError: If there is nothing to show, or the port is taken.
    """
    from optuna_dashboard import run_server

    from analysis.figures.render import draw_all
    from studies.dashboard import attach_figures, mirror

    if not opened.store.identities():
        raise ResultsError(
            f"no results of {opened.study.name} in {opened.store.root}; "
            f"run it first: gmixout study run {opened.arguments}"
        )
    records = read(opened.store.root).keep(cell.identity for cell in opened.stored_cells)
    require_port(port)
    search = opened.study.search
    objectives = search.objectives if search is not None else ("id_val_accuracy_score",)
    with tempfile.TemporaryDirectory() as folder:
        study = mirror(records, opened.study.name, objectives, note(opened, records))
        place = Path(folder) / "figures"
        drawn(opened.store.root / "figures", records.fingerprint(), place, lambda out: draw_all(records, out))
        figures = sorted(place.glob("*.png"))
        artifacts = attach_figures(study, figures, Path(folder) / "artifacts")
        url = f"http://{HOST}:{port}/dashboard"
        say(console, f"{url} shows {len(records.cells)} cells and {len(figures)} figures; Ctrl-C ends it")
        run_server(study._storage, host=HOST, port=port, artifact_store=artifacts)


def note(opened: Opened, records: Records) -> str:
    """What the study's page says, in Markdown: what was studied, from which records, and what came of it."""
    study = opened.study
    lines = [
        f"**{study.name}** on {study.benchmark}, {', '.join(study.backbones)}: {len(records.cells)} cells",
        *search_words(study),
        *(f"**{line}**" for line in oracle_warning(study)),
        f"records sha256:{records.fingerprint()[:12]}, code {provenance.code_version()}",
        "This is a copy in memory: nothing that is changed here touches a result.",
    ]
    if records.cells["status"].eq("done").any():
        lines.append(to_markdown(printed_summary(summary(plainly_named(records)))))
    return "\n\n".join(lines)


def require_port(port: int) -> None:
    """Refuses a port that another program has.

    Raises:
        ResultsError: If it is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ResultsError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from error
