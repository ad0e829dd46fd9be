"""What may be tried once memory ran out in a cell: fewer images at once, the same batch."""

from studies.engine import Engine, halved
from studies.settings import CellSettings, traits_of


def after_out_of_memory(cell: CellSettings, engine: Engine) -> Engine | None:
    """The engine of the next attempt: half as many images at once and twice as many parts, for the same batch.

    The cell's result stays what it is but for rounding, so its identity does, and the attempt goes on from the
    checkpoint. Builds an empty network to look for batch norms, which needs torch and no weights.

    Args:
        cell: The cell that needed too much.
        engine: How it was carried out.

    Returns:
        None where nothing smaller is to be had: nothing is trained, a single image was too much, or the images of a
        batch depend on each other.

    Example:
        >>> cell = CellSettings(benchmark="digits", manifest="00", backbone="digits-vit", pretrain_seed=0,
        ...                     method="full", seed=1, learning_rate=1e-3)
        >>> after_out_of_memory(cell, Engine()).micro_batch
        8
    """
    traits = traits_of(cell.method)
    if cell.training is None or traits.couples_images:
        return None
    found = halved(engine, cell.training.batch_size)
    if found is None or (traits.trains_norms and cell.training.batch_norm == "batch" and _has_batch_norms(cell)):
        return None
    return found


def _has_batch_norms(cell: CellSettings) -> bool:
    from studies import backbones, benchmarks
    from studies.modes import has_batch_norms
    from studies.viewed import class_words

    classes = class_words(benchmarks.load(cell.benchmark).classes)
    return has_batch_norms(backbones.blank(cell.backbone, classes, device="meta"))
