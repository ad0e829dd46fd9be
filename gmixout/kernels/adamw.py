"""AdamW on the support and the write into the weights, all weights in one launch.

The formula is that of torch.optim.AdamW. A weight in two halves has no values of its own: w implies the trained value
u = a + (w - a) / c, so a change d of u changes w by c d, and w itself takes the step.
"""

import triton
import triton.language as tl

from gmixout.kernels.slots import begin, field, stored_support
from gmixout.kernels.storage import load_real, load_weight, rounded, scalar, store_real, store_weight
from gmixout.kernels.support import effective, follow_step, launch
from gmixout.kernels.tables import FIELDS, Table

_SLOTS = tl.constexpr(FIELDS["slots"])
_WEIGHT = tl.constexpr(FIELDS["weight"])
_LO = tl.constexpr(FIELDS["lo"])
_VALUES = tl.constexpr(FIELDS["values"])
_ANCHOR = tl.constexpr(FIELDS["anchor"])
_EXP_AVG = tl.constexpr(FIELDS["exp_avg"])
_EXP_AVG_SQ = tl.constexpr(FIELDS["exp_avg_sq"])
_STEP = tl.constexpr(FIELDS["step"])
_GRADIENT = tl.constexpr(FIELDS["gradient"])


def adamw(
    table: Table,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    scale: float,
    is_residual: bool,
    follow: float | None,
    maximize: bool = False,
) -> None:
    r"""One step of AdamW on the values, then `gmixout.kernels.support.write`.

    .. math::
        v \leftarrow (1 - \eta\lambda)\,v - \frac{\eta}{1 - \beta_1^t} \frac{m}{\sqrt{s / (1 - \beta_2^t)} + \epsilon}

    Args:
        table: The weights, with gradients, moments and steps t; t counts this step already.
        lr: Learning rate η.
        beta1: Decay of the first moments m, in ``[0, 1)``.
        beta2: Decay of the second moments s, in ``[0, 1)``.
        eps: ε, positive.
        weight_decay: λ; pulls values to 0, and residuals to the anchor.
        scale: c, as in `gmixout.kernels.support.write`.
        is_residual: Whether values, held or implied, are ``u - a`` instead of u.
        follow: As in `gmixout.kernels.support.write`.
        maximize: Whether to climb.

    Raises:
        ValueError: If a weight lacks a tensor that the step needs.
    """
    table.require("exp_avg", "exp_avg_sq", "step", "gradient", *([] if table.is_hilo else ["values"]))
    launch(
        _adamw_kernel, table, table.programs, float(lr), float(beta1), float(beta2), float(eps), float(weight_decay),
        float(scale), 0.0 if follow is None else float(follow),
        IS_HILO=table.is_hilo, IS_RESIDUAL=is_residual, IS_FOLLOWING=follow is not None, IS_CLIMBING=maximize,
    )  # fmt: skip


@triton.jit(do_not_specialize=["weights"])
def _adamw_kernel(
    fields, programs, weights, lr: tl.float64, beta1: tl.float64, beta2: tl.float64, eps: tl.float64,
    weight_decay: tl.float64, scale: tl.float64, follow: tl.float64,
    IS_HILO: tl.constexpr, IS_RESIDUAL: tl.constexpr, IS_FOLLOWING: tl.constexpr, IS_CLIMBING: tl.constexpr,
    VALUE: tl.constexpr, WEIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    column, slot, live = begin(fields, programs, weights, _SLOTS, BLOCK)
    change = _adam_change(column, weights, slot, live, lr, beta1, beta2, eps, IS_CLIMBING, VALUE)
    anchor = load_real(field(column, weights, _ANCHOR), slot, live, VALUE)
    position = stored_support(column, weights, slot, live)
    weight, lo = field(column, weights, _WEIGHT), field(column, weights, _LO)
    decay = scalar(lr, tl.float64) * scalar(weight_decay, tl.float64)
    decay = decay.to(anchor.dtype)
    if IS_HILO:
        factor = scalar(scale, anchor.dtype)
        old = load_weight(weight, lo, position, live, WEIGHT, IS_HILO)
        stretched = old - anchor if IS_RESIDUAL else (old - anchor) + factor * anchor
        e = old + (factor * change - decay * stretched)
    else:
        address = field(column, weights, _VALUES)
        values = load_real(address, slot, live, VALUE)
        # The weights take what the values hold, not what they would hold in float32.
        values = rounded(values - decay * values + change, VALUE)
        store_real(address, slot, values, live, VALUE)
        e = effective(values, anchor, scale, IS_RESIDUAL)
    store_weight(weight, lo, position, e, live, WEIGHT, IS_HILO)
    if IS_FOLLOWING:
        follow_step(column, weights, slot, live, e, follow, VALUE)


@triton.jit
def _adam_change(column, weights, slot, live, lr, beta1, beta2, eps, IS_CLIMBING: tl.constexpr, VALUE: tl.constexpr):
    """Moves the moments and returns Adam's change of the values."""
    gradient = load_real(field(column, weights, _GRADIENT), slot, live, VALUE)
    gradient = -gradient if IS_CLIMBING else gradient
    first, second = field(column, weights, _EXP_AVG), field(column, weights, _EXP_AVG_SQ)
    m = load_real(first, slot, live, VALUE)
    s = load_real(second, slot, live, VALUE)
    # Bias corrections cancel digits, so they are computed in float64.
    b1, b2 = scalar(beta1, tl.float64), scalar(beta2, tl.float64)
    t = tl.load(field(column, weights, _STEP).to(tl.pointer_type(tl.float32))).to(tl.float64)
    rate = scalar(lr, tl.float64) / (1.0 - tl.exp2(t * tl.log2(b1)))
    root = tl.sqrt(1.0 - tl.exp2(t * tl.log2(b2)))
    m = m + (gradient - m) * (1.0 - b1).to(m.dtype)
    s = s * b2.to(s.dtype) + gradient * gradient * (1.0 - b2).to(s.dtype)
    store_real(first, slot, m, live, VALUE)
    store_real(second, slot, s, live, VALUE)
    denominator = _divided(_root(s), root.to(s.dtype)) + scalar(eps, s.dtype)
    return -(rate.to(m.dtype) * _divided(m, denominator))


# Plain division and roots of float32 are approximate on a GPU.
@triton.jit
def _divided(x, y):
    return tl.div_rn(x, y) if x.dtype == tl.float32 else x / y


@triton.jit
def _root(x):
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)
