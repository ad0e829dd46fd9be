"""Where the valley of a validation loss begins and ends: SWAD's rule on a list of numbers."""

from collections.abc import Sequence


def valley(
    losses: Sequence[float], converge_patience: int = 3, overfit_patience: int = 6, tolerance: float = 1.3
) -> tuple[int, int] | None:
    r"""The first and the last validation of the valley, both included.

    It begins at the first :math:`t_s` whose loss none of the following :math:`N_s - 1` undercuts. With
    :math:`l = r \cdot \frac{1}{N_s}\sum_{i<N_s} L_{t_s + i}` it ends before the first of :math:`N_e` validations in a
    row that are all above :math:`l`; where the losses end first, trailing ones above :math:`l` are left out, too.

    Source: Cha et al., SWAD (NeurIPS 2021), section 3.2, with :math:`N_s = 3, N_e = 6, r = 1.3`. Their code differs in
    what it does with validations between the beginning and its detection; this is the paper's rule.

    Args:
        losses: Validation losses in the order of the run.
        converge_patience: :math:`N_s`, at least 1.
        overfit_patience: :math:`N_e`, at least 1.
        tolerance: :math:`r`, at least 1.

    Returns:
        Positions in ``losses``; None where no valley begins.

    Raises:
        ValueError: If a patience is below 1, or the tolerance is.

    Example:
        >>> valley([3.0, 2.0, 1.0, 1.1, 1.2, 1.1, 2.0, 2.0], 3, 2, 1.3)
        (2, 5)
        >>> valley([3.0, 2.0, 1.0]) is None
        True
    """
    if converge_patience < 1 or overfit_patience < 1 or tolerance < 1:
        raise ValueError(
            "patience and tolerance must be at least 1, got "
            f"converge_patience {converge_patience}, overfit_patience {overfit_patience}, tolerance {tolerance}"
        )
    for start in range(len(losses) - converge_patience + 1):
        window = losses[start : start + converge_patience]
        if min(window) == window[0]:
            return start, _end(losses, start, overfit_patience, tolerance * sum(window) / converge_patience)
    return None


def _end(losses: Sequence[float], start: int, patience: int, threshold: float) -> int:
    end = start
    for position in range(start, len(losses)):
        if losses[position] <= threshold:
            end = position
        elif position - end >= patience:
            break
    return end
