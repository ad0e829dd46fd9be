"""Puts forms between a model and its weights, and takes them away again without a trace."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gmixout.compact import has_compact_form, install
from gmixout.dense import DenseForm
from gmixout.form import Form, is_sparse
from gmixout.halves import HalvesForm
from gmixout.masks import MaskPlan
from gmixout.sparse import SparseForm
from gmixout.targets import Roles, Target

# torch's own layers do nothing with their weights but products, which autocast runs in its dtype.
_CAST_BY_AUTOCAST = {
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.MultiheadAttention,
    nn.modules.linear.NonDynamicallyQuantizableLinear,
}


class Attachment:
    """The forms on a model's masked weights.

    Args:
        roles: Every parameter of the model by its role; dense ones are set to train, frozen ones not to.
        plans: One for every masked parameter, in order.

    Attributes:
        forms: One for every masked parameter, in order.
    """

    def __init__(self, roles: Roles, plans: list[MaskPlan]) -> None:
        self._masked = roles.masked
        everything = roles.masked + roles.dense + roles.frozen
        self._requires_grad = [(target.parameter, target.parameter.requires_grad) for target in everything]
        # Parametrising moves a parameter to the end of its module; detaching restores the order of the state dict.
        self._orders = [(module, list(module._parameters)) for target in roles.masked for module, _ in target.owners]
        for target in roles.frozen:
            target.parameter.requires_grad_(False)
        for target in roles.masked + roles.dense:
            target.parameter.requires_grad_(True)
        self.forms = [_attach(target, plan) for target, plan in zip(roles.masked, plans, strict=True)]

    def forget(self) -> None:
        """Lets go of the model's first parameters, for `fully_shard` has replaced them; detaching is over then."""
        self._masked, self._requires_grad = (), []

    @torch.no_grad()
    def detach(self, weights: Mapping[str, Tensor]) -> None:
        """Writes the given weights, by name, and gives every module its plain parameters back."""
        for target in self._masked:
            for module, attribute in target.owners:
                _unparametrize(module, attribute)
            if target.parameter.dtype == weights[target.name].dtype:
                target.parameter.copy_(weights[target.name])
            else:
                target.parameter.data = weights[target.name]
        for module, order in self._orders:
            for attribute in order:
                module._parameters[attribute] = module._parameters.pop(attribute)
        for parameter, requires_grad in self._requires_grad:
            parameter.requires_grad_(requires_grad)
        self.forms = []


def _attach(target: Target, plan: MaskPlan) -> Form:
    if not target.parameter.is_contiguous():
        target.parameter.data = target.parameter.data.contiguous()
    kind: type[Form] = SparseForm if is_sparse(plan) else DenseForm
    kind = HalvesForm if plan.settings.storage == "hilo" else kind
    form = kind(target.name, plan, target.parameter)
    form.casts = all(type(module) in _CAST_BY_AUTOCAST for module, _ in target.owners)
    for module, attribute in target.owners:
        is_alone = not parametrize.is_parametrized(module)
        parametrize.register_parametrization(module, attribute, form, unsafe=True)
        form.live_in(module.parametrizations[attribute]._parameters)  # type: ignore[index, union-attr]
        if is_alone and isinstance(form, SparseForm) and has_compact_form(module, attribute, form.support):
            install(module)
    return form


def _unparametrize(module: nn.Module, attribute: str) -> None:
    """Gives a module its plain parameter back, whatever becomes of its deep copies.

    torch's own removal deletes the property from the class, which a deep copy of the module shares and still needs.
    """
    if len(module.parametrizations) > 1:  # type: ignore[arg-type]
        parametrize.remove_parametrizations(module, attribute, leave_parametrized=False)
        return
    original = module.parametrizations[attribute].original  # type: ignore[index, union-attr]
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    module.register_parameter(attribute, original)  # type: ignore[arg-type]
