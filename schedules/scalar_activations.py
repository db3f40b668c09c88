"""Neural activations, each as its published formula over the elementary functions."""

from __future__ import annotations

import math
from typing import Any

from tvm import tirx

from .bindings import Bindings, Expr, absolute
from .scalar_arithmetic import clip, maximum
from .scalar_functions import vector_or_libm
from .scalar_registry import FLOATS, NUMBERS, scalar_op
from .transcendental import log1p_unit

Attrs = dict[str, Any]
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


@scalar_op("nn.relu")
def relu(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """max(x, 0)."""
    return maximum(v, [args[0], tirx.const(0, dtype)], {}, dtype)


@scalar_op("nn.relu6", dtypes=NUMBERS, cost=2)
def relu6(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """min(max(x, 0), 6)."""
    return clip(v, args, {"min": 0, "max": 6}, dtype)


@scalar_op("nn.leakyrelu", dtypes=FLOATS, cost=2)
def leakyrelu(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """Attribute ``alpha``: the slope below zero."""
    return prelu(v, [args[0], tirx.const(attrs["alpha"], dtype)], {}, dtype)


@scalar_op("nn.prelu", dtypes=FLOATS, cost=2)
def prelu(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """The second argument is the slope below zero, already broadcast along its axis."""
    return tirx.Select(args[0] > tirx.const(0, dtype), args[0], args[0] * args[1])


@scalar_op("nn.selu", dtypes=FLOATS, cost=24)
def selu(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """scale * (x if x > 0 else alpha (e^x - 1)) (Klambauer et al. 2017)."""
    grown = vector_or_libm(v, "exp", args[0], dtype) - tirx.const(1, dtype)
    negative = tirx.const(_SELU_ALPHA * _SELU_SCALE, dtype) * grown
    return tirx.Select(args[0] > tirx.const(0, dtype), tirx.const(_SELU_SCALE, dtype) * args[0], negative)


@scalar_op("sigmoid", dtypes=FLOATS, cost=26)
def sigmoid(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """1 / (1 + e^-x)."""
    one = tirx.const(1, dtype)
    return one / (one + vector_or_libm(v, "exp", v.bind(args[0] * tirx.const(-1, dtype)), dtype))


@scalar_op("nn.silu", dtypes=FLOATS, cost=26)
def silu(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """x / (1 + e^-x)."""
    grown = vector_or_libm(v, "exp", v.bind(args[0] * tirx.const(-1, dtype)), dtype)
    return args[0] / (tirx.const(1, dtype) + grown)


@scalar_op("nn.gelu", dtypes=FLOATS, cost=21)
def gelu(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """x/2 (1 + erf(x / sqrt 2)) (Hendrycks and Gimpel 2016)."""
    bell = vector_or_libm(v, "erf", v.bind(args[0] * tirx.const(math.sqrt(0.5), dtype)), dtype)
    return args[0] * tirx.const(0.5, dtype) * (tirx.const(1, dtype) + bell)


@scalar_op("nn.gelu_tanh", dtypes=FLOATS, cost=22)
def gelu_tanh(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    (x,) = args
    scale = math.sqrt(2 / math.pi)
    slope = v.bind(tirx.const(scale * 0.044715, dtype) * x * x + tirx.const(scale, dtype))
    return x * tirx.const(0.5, dtype) * (tirx.const(1, dtype) + vector_or_libm(v, "tanh", v.bind(x * slope), dtype))


def _log1p_exp_negative(v: Bindings, x: Expr, dtype: str) -> Expr:
    """Return log(1 + e^-|x|)."""
    fading = vector_or_libm(v, "exp", v.bind(absolute(x) * tirx.const(-1, dtype)), dtype)
    return log1p_unit(v, fading) if dtype == "float32" else vector_or_libm(v, "log1p", fading, dtype)


@scalar_op("nn.softplus", dtypes=FLOATS, cost=45)
def softplus(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """log(1 + e^(beta x)) / beta, and x where beta x > threshold."""
    beta = tirx.const(attrs["beta"], dtype)
    scaled = v.bind(args[0] * beta)
    smooth = (maximum(v, [scaled, tirx.const(0, dtype)], {}, dtype) + _log1p_exp_negative(v, scaled, dtype)) / beta
    return tirx.Select(scaled > tirx.const(attrs["threshold"], dtype), args[0], smooth)


@scalar_op("log_add_exp", dtypes=FLOATS, cost=45)
def log_add_exp(v: Bindings, args: list[Expr], attrs: Attrs, dtype: str) -> Expr:
    """log(e^a + e^b); equal infinities give themselves."""
    a, b = args
    larger = v.bind(maximum(v, [a, b], {}, dtype))
    difference = v.bind(tirx.Select(tirx.EQ(a, b), tirx.const(0, dtype), a - b))
    return larger + _log1p_exp_negative(v, difference, dtype)
