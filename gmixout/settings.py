"""The method's settings: every lever by name, frozen and validated. Needs no torch.

Symbols of arXiv 2510.06982 stand beside the names. Where the paper is silent the values here are our choice, named so
that they can be measured.
"""

import dataclasses
import functools
import math
from typing import Any, Literal, get_args, get_origin, get_type_hints

Anchor = Literal["pretrained", "ema", "latest", "average", "zero"]
Granularity = Literal["element", "row", "column", "block"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    r"""One point in the space of stochastic weight-masking fine-tuners.

    .. math:: W = \Phi + c\, M \odot \Delta, \qquad c = 1 / (1 - p) \text{ if rescale else } 1

    An episode is ``resample_every`` optimiser steps with one mask. At its end the anchor absorbs the weights,
    :math:`\Phi \leftarrow \lambda\Phi + (1 - \lambda) W`, and a new mask is drawn.

    Attributes:
        anchor: Masking anchor :math:`\Phi`: ``pretrained`` (fixed, Mixout), ``ema`` (moving average of the weights),
            ``latest`` (λ = 0: jumps to the current weights), ``average`` (uniform mean of the episodes' weights) or
            ``zero`` (a dropout-like control).
        ema_decay: λ in ``[0, 1]``, the weight of the OLD anchor. Used by ``anchor="ema"``.
        ema_update: ``episode`` averages once at an episode's end; ``step`` follows every step and takes a snapshot.
        ema_bias_correction: Divides the zero-start bias out of the average: with ``step`` the anchor becomes the
            weighted mean of this episode's weights, with ``episode`` that of all episodes, without the pretrained ones.
        resample_every: Resampling period k in optimiser steps, an integer from 1 or ``inf`` (one mask for the run).
        sparsity: p in ``[0, 1)``, the fraction HELD at the anchor; 0 trains everything.
        granularity: What a mask keeps or holds as one: ``element``, ``row`` (an output feature, dimension 0),
            ``column`` (``group_size`` input features, dimension 1) or ``block`` (square tiles of ``block_size``).
        group_size: Input features that share a fate under ``column``, from 1.
        block_size: Side of a tile under ``block``, 64 or 128.
        count: ``exact`` keeps the same number of units in every episode; ``bernoulli`` flips a coin for each.
        residual: Δ at a new mask: ``reset`` restarts it at 0 (sparse in memory), ``carry`` keeps the student's weights;
            see `residual_growth` for where that is unstable.
        rescale: Whether the residual is multiplied by 1 / (1 - p), as in Mixout.
        moments: The optimiser's state at a new mask: ``reset`` to zero, or ``carry`` (in the sparse form entries that
            leave the mask forget theirs).
        report: Weights that are evaluated and merged: ``anchor`` Φ, ``effective`` W or ``student`` Φ + Δ.
        gradient: ``exact``, or ``published``: the public Mixout code omits the factor c in its backward.
        decay_to: Where the optimiser's weight decay pulls the trained values: ``zero`` or the ``anchor``.
        storage: ``plain``, or ``hilo``: float32 weights as bfloat16 halves, without loss; saves the trained values' own
            storage and every cast under bfloat16 autocast. Needs the sparse form and `gmixout.AdamW`.
        seed: Seed of the masks, not negative.

    Raises:
        ValueError: If a value is not allowed, or two values contradict each other.

    Example:
        >>> Settings(anchor="ema", ema_decay=0.9, resample_every=50, sparsity=0.75).scale
        4.0
        >>> Settings(sparsity=1.0)
        Traceback (most recent call last):
        ...
        ValueError: sparsity must lie in [0, 1), got 1.0
    """

    anchor: Anchor = "ema"
    ema_decay: float = 0.9
    ema_update: Literal["episode", "step"] = "episode"
    ema_bias_correction: bool = False
    resample_every: float = 100
    sparsity: float = 0.9
    granularity: Granularity = "element"
    group_size: int = 1
    block_size: int = 64
    count: Literal["exact", "bernoulli"] = "exact"
    residual: Literal["reset", "carry"] = "reset"
    rescale: bool = True
    moments: Literal["reset", "carry"] = "reset"
    report: Literal["anchor", "effective", "student"] = "effective"
    gradient: Literal["exact", "published"] = "exact"
    decay_to: Literal["zero", "anchor"] = "zero"
    storage: Literal["plain", "hilo"] = "plain"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, hint in _hints().items():
            _check_type(name, getattr(self, name), hint)
        if not 0.0 <= self.sparsity < 1.0:
            raise ValueError(f"sparsity must lie in [0, 1), got {self.sparsity}")
        if not 0.0 <= self.ema_decay <= 1.0:
            raise ValueError(f"ema_decay must lie in [0, 1], got {self.ema_decay}")
        if not (self.resample_every >= 1 and (math.isinf(self.resample_every) or self.resample_every % 1 == 0)):
            raise ValueError(f"resample_every must be an integer from 1, or inf, got {self.resample_every}")
        if self.group_size < 1:
            raise ValueError(f"group_size must be at least 1, got {self.group_size}")
        if self.block_size not in (64, 128):
            raise ValueError(f"block_size must be 64 or 128, got {self.block_size}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.anchor == "zero" and self.residual == "reset":
            raise ValueError("anchor='zero' needs residual='carry': a residual that restarts at 0 leaves only zeros")
        if self.storage == "hilo" and self.count == "bernoulli":
            raise ValueError("storage='hilo' needs count='exact': with coin flips the weights are kept whole")

    @property
    def scale(self) -> float:
        """The factor c of the residual: ``1 / (1 - sparsity)`` if ``rescale``, else 1."""
        return 1.0 / (1.0 - self.sparsity) if self.rescale else 1.0

    @property
    def residual_growth(self) -> float:
        r"""The factor :math:`|1 - (1 - \lambda) c|` by which absorbing the first episode changes a carried residual.

        Above 1 the residual grows wherever an entry is kept again, and the run diverges sooner or later; only
        ``average`` and a bias-corrected average over episodes absorb less from episode to episode.

        Example:
            >>> Settings(anchor="latest", residual="carry", sparsity=0.75).residual_growth
            3.0
        """
        if self.residual == "reset" or self.anchor in ("pretrained", "zero") or math.isinf(self.resample_every):
            return 0.0
        absorbed = 1.0 - self.old_anchor_weight(0)
        if self.follows_steps:
            absorbed = 1.0 if self.ema_bias_correction else 1.0 - self.ema_decay**self.resample_every
        return abs(1.0 - absorbed * self.scale)

    @property
    def follows_steps(self) -> bool:
        """Whether a running average follows every step and becomes the anchor at an episode's end."""
        return self.anchor == "ema" and self.ema_update == "step"

    def old_anchor_weight(self, count: int) -> float:
        """λ of the average's update number ``count`` (from 0): the weight of the old anchor, in [0, 1].

        Updates are counted in episodes, and for ``ema_update="step"`` in the steps of the current episode.

        Example:
            >>> [round(Settings(anchor="average").old_anchor_weight(count), 3) for count in range(3)]
            [0.0, 0.5, 0.667]
        """
        if self.anchor in ("pretrained", "zero"):
            return 1.0
        if self.anchor == "latest":
            return 0.0
        if self.anchor == "ema" and not self.ema_bias_correction:
            return self.ema_decay
        if self.anchor == "average" or self.ema_decay == 1.0:
            return count / (count + 1)
        return self.ema_decay * (1.0 - self.ema_decay**count) / (1.0 - self.ema_decay ** (count + 1))

    @classmethod
    def mixout(cls, sparsity: float = 0.9, **changes: Any) -> "Settings":
        """Mixout (Lee, Cho, Kang, ICLR 2020): anchored at the pretrained weights, a new coin-flip mask at every step.

        Example:
            >>> Settings.mixout(0.8, gradient="published").resample_every
            1
        """
        point: dict[str, Any] = {"anchor": "pretrained", "resample_every": 1, "residual": "carry"}
        point |= {"count": "bernoulli", "moments": "carry", "report": "student"}
        return cls(sparsity=sparsity, **(point | changes))

    @classmethod
    def hr_mixout(cls, sparsity: float = 0.9, **changes: Any) -> "Settings":
        """HR-Mixout (arXiv 2510.06955): Mixout per element (ViT) or per output filter (``granularity="row"``)."""
        return cls.mixout(sparsity, **({"gradient": "published"} | changes))

    @classmethod
    def random_mask(cls, sparsity: float = 0.9, **changes: Any) -> "Settings":
        """Random masking (arXiv 2405.02596): one fixed random mask, no rescaling."""
        point: dict[str, Any] = {"anchor": "pretrained", "resample_every": math.inf, "rescale": False}
        return cls(sparsity=sparsity, **(point | changes))

    @classmethod
    def sequential_masks(cls, sparsity: float = 0.9, resample_every: float = 100, **changes: Any) -> "Settings":
        """Random masks one after another, each starting where the last one ended (λ = 0)."""
        point: dict[str, Any] = {"anchor": "latest", "resample_every": resample_every, "rescale": False}
        return cls(sparsity=sparsity, **(point | changes))

    @classmethod
    def dropconnect(cls, sparsity: float = 0.5, **changes: Any) -> "Settings":
        """A DropConnect-like control: masked weights are zero, a new mask at every step."""
        return cls.mixout(sparsity, **({"anchor": "zero"} | changes))

    @classmethod
    def full_fine_tuning(cls, **changes: Any) -> "Settings":
        """Full fine-tuning of the masked weights: nothing is held."""
        return cls.random_mask(0.0, **changes)


@functools.cache
def _hints() -> dict[str, Any]:
    # Evaluating them takes longer than checking all values, and a study has thousands of settings.
    return get_type_hints(Settings)


def _check_type(name: str, value: Any, hint: Any) -> None:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{name} must be one of {', '.join(get_args(hint))}; got {value!r}")
    elif hint is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r}")
    elif isinstance(value, bool) or not isinstance(value, (int, float) if hint is float else int):
        raise ValueError(f"{name} must be {'a number' if hint is float else 'an integer'}, got {value!r}")
    elif isinstance(value, float) and math.isnan(value):
        raise ValueError(f"{name} must be a number, got nan")
