"""Training and evaluation mode, module by module: above all of batch norms, which tie images of a batch together."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from studies.failures import Impossible
from studies.methods.method import Method


def train_mode(model: nn.Module, keeps_statistics: bool = False) -> None:
    """Puts a model into training mode, but for batch norms whose statistics are to stay.

    A batch norm whose own scale and shift are frozen belongs to the frozen part of the model: it keeps the pretrained
    statistics, so that a linear probe or an adapter really trains on fixed features. One without scale and shift
    follows the model: it stays where nothing but the head trains.

    Args:
        model: With ``requires_grad`` as it trains.
        keeps_statistics: Whether all batch norms keep theirs; their scale and shift may train all the same.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).requires_grad_(False))
        >>> train_mode(model)
        >>> model.training, model[1].training
        (True, False)
    """
    model.train()
    for norm in _batch_norms(model):
        if keeps_statistics or not _trains(norm, model):
            norm.eval()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the context; afterwards every module has its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def require_separable(method: Method) -> None:
    """Refuses to cut or share batches whose images do not stand for themselves.

    Args:
        method: Attached to a model that is in training mode.

    Raises:
        Impossible: If the method's loss, or a batch norm, ties the images of a batch together.
    """
    if method.couples_images:
        raise Impossible(
            f"the loss of {type(method).__name__.lower()} compares the images of a batch with each other, so a batch "
            "cannot be cut or shared; leave execution.micro_batch and execution.processes out"
        )
    if any(norm.training for norm in _batch_norms(method.model)):
        raise Impossible(
            "batch norms in training mode compute with the statistics of the whole batch, so a batch cannot be cut "
            "or shared; set training.batch_norm: frozen, or leave execution.micro_batch and execution.processes out"
        )


def has_batch_norms(model: nn.Module) -> bool:
    """Whether there is any batch norm."""
    return bool(_batch_norms(model))


def _batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def _trains(norm: _BatchNorm, model: nn.Module) -> bool:
    own = list(norm.parameters())
    if own:
        return any(parameter.requires_grad for parameter in own)
    return any(value.requires_grad for name, value in model.named_parameters() if not name.startswith("head."))
