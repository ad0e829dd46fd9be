"""The cells that a study's search has proposed so far, as the results folder has them."""

from studies.settings import CellSettings, StudySettings
from studies.store import Store


def searched_cells(study: StudySettings, store: Store, known: dict[str, CellSettings | None]) -> list[CellSettings]:
    """Every cell in a results folder that is a point of the study's search, in the order of identities.

    Args:
        study: The study; without a search there are none.
        store: The results folder.
        known: What was looked at before, by identity; None where it is no such cell. Filled.
    """
    if study.search is None:
        return []
    for identity in store.identities():
        if identity not in known:
            cell = store.cell(identity).settings()
            known[identity] = cell if cell is not None and study.is_searched(cell) else None
    return [cell for _, cell in sorted(known.items()) if cell is not None]
