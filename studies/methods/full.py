"""Full fine-tuning: every parameter trains."""

from torch import nn

from studies.methods.plain import Plain


class Full(Plain):
    """The method every paired difference is taken against."""

    @staticmethod
    def choose(model: nn.Module) -> dict[str, nn.Parameter]:
        return dict(model.named_parameters())
