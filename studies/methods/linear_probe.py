"""Linear probe: only the head trains, on frozen features."""

from torch import nn

from studies.methods.plain import Plain


class LinearProbe(Plain):
    """The head is ``model.head``; it starts from the zero-shot head. The frozen part is run forward at every step."""

    @staticmethod
    def choose(model: nn.Module) -> dict[str, nn.Parameter]:
        head = getattr(model, "head", None)
        if not isinstance(head, nn.Module):
            raise ValueError(
                f"a linear probe needs a model with a .head module, got {type(model).__name__} without one"
            )
        return {f"head.{name}": parameter for name, parameter in head.named_parameters()}
