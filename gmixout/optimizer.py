"""AdamW that steps the values on the supports and writes the weights at once."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.optimizer import ParamsT

from gmixout.batches import Batch


class Steppable(Protocol):
    """What the optimiser asks of a `gmixout.GMixout`."""

    steps_in_episode: int

    def parameters(self) -> Iterable[nn.Parameter]:
        """What trains."""

    def bind(self, optimizer: "AdamW") -> None:
        """Sorts masked weights by this optimiser's parameter groups."""

    @property
    def batches(self) -> list[Batch]:
        """The masked weights, in batches of one parameter group each."""


class AdamW(torch.optim.AdamW):
    r"""torch's AdamW for a method: the same numbers, and on a GPU one kernel for all masked weights.

    Where kernels run, moments, values and the weights they are written to are updated in one launch for each parameter
    group; everything else, and all of it on a CPU, takes torch's own fused step. Any other optimiser of torch's trains
    a method as well, but for ``storage="hilo"``, which needs this one. State and its names are torch's, so a state
    dictionary can be loaded by either.

    Args:
        method: A `gmixout.GMixout`, attached already.
        lr: Learning rate, from 0.
        betas: Decays of both moments, in ``[0, 1)``.
        eps: Added to the root of the second moments, positive.
        weight_decay: Decoupled weight decay, from 0. Pulls towards ``settings.decay_to``.
        parameters: What to train, parameters or groups such as `GMixout.parameter_groups`; default all of the method's.
        maximize: Whether to climb.
        capturable: Whether steps may be captured in a CUDA graph, which then keeps the learning rate of its capture.

    Example:
        >>> from gmixout import GMixout, Settings
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> method = GMixout(model, Settings(sparsity=0.5, resample_every=2))
        >>> optimizer = AdamW(method, lr=1e-3)
        >>> model(torch.ones(3, 8)).square().mean().backward()
        >>> optimizer.step()
        >>> method.step(optimizer)
    """

    def __init__(
        self,
        method: Steppable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        parameters: ParamsT | None = None,
        maximize: bool = False,
        capturable: bool = False,
    ) -> None:
        self._method: Steppable | None = None
        chosen = list(method.parameters()) if parameters is None else parameters
        options: dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(chosen, **options, maximize=maximize, capturable=capturable, fused=True)
        # Gradients that a scaler has scaled must be unscaled before the kernel sees them.
        self._step_supports_amp_scaling = False
        self._method = method
        method.bind(self)
        # Another optimiser over the same groups and state: a step of this one's own class would run its hooks twice.
        self._rest = torch.optim.AdamW([torch.zeros(1)])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, as in torch."""
        super().add_param_group(param_group)
        if self._method is not None:
            self._method.bind(self)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Takes a step and writes the masked weights, so that `GMixout.step` finds them written.

        Args:
            closure: Computes the loss anew, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        assert self._method is not None
        hidden: list[tuple[nn.Parameter, Any]] = []
        try:
            for batch in self._method.batches:
                if batch.owner[0] is self and batch.steps_itself and self._take(batch):
                    hidden += [(form.trained, form.trained.grad) for form in batch.forms]
                    for form in batch.forms:
                        form.trained.grad = None
            self._rest.param_groups, self._rest.state = self.param_groups, self.state
            self._rest.step()
        finally:
            for parameter, gradient in hidden:
                parameter.grad = gradient
        return loss

    def _take(self, batch: Batch) -> bool:
        """Steps a batch; False leaves it to torch, because some weight has no gradient."""
        assert self._method is not None
        parameters = [form.trained for form in batch.forms]
        with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
        if len(with_gradient) < len(parameters) and not batch.takes_some:
            return False
        states = [self._state_of(parameter) for parameter in parameters]
        steps = [state["step"] for state, p in zip(states, parameters, strict=True) if p.grad is not None]
        if steps:
            torch._foreach_add_(steps, 1)
            batch.adamw(states, self.param_groups[batch.owner[1]], self._method.steps_in_episode)
        return True

    def _state_of(self, parameter: nn.Parameter) -> dict[str, Any]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        return state
