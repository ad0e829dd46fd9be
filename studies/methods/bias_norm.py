"""Biases, norms and the head: what GMixout trains without a mask, and nothing else."""

from torch import nn

from gmixout.targets import assign
from studies.methods.plain import Plain


class BiasNorm(Plain):
    """The control of a masked run: its dense part alone, as if every masked weight were held at its anchor.

    Known as BitFit where only biases train (Ben Zaken et al., ACL 2022).
    """

    @staticmethod
    def choose(model: nn.Module) -> dict[str, nn.Parameter]:
        return {target.name: target.parameter for target in assign(model, None, None).dense}
