"""Float32 transcendentals of add, multiply, divide, minimum, maximum, shifts and bit casts: vectors on any target.

Maximum errors over all float32 inputs, in units in the last place of the exact result (with and without fused
multiply-add; the tests assert them):

=========  ====  ==========================================================================
function   ulp   domain and special values
=========  ====  ==========================================================================
exp        1.5   all; gradual underflow, overflow to infinity
log        2     all; subnormals too, log(0) = -inf, NaN below 0
log1p      3     0 <= x <= 1 (what softplus and log_add_exp need)
tanh       6     all; odd, tanh(x) = x for tiny x
erf        8     all; odd
=========  ====  ==========================================================================

NaN comes back as NaN everywhere. Polynomials: Sollya's ``fpminimax`` with single-precision coefficients and relative
error; its arguments stand beside the coefficients. Rationals x P(x^2)/Q(x^2): relative minimax by Lawson's iteration
(weighted least squares on P - f Q, weights multiplied by the last error and divided by Q), P and Q normalised so that
P(0)/Q(0) is the derivative at 0, coefficients rounded to single.
"""

from __future__ import annotations

from tvm import tirx

from .bindings import Bindings, Expr

# fpminimax(exp(x), [|2,...,6|], [|SG...|], [-0.3475; 0.3475], 1 + x, relative): 3.4e-9
_EXP = (1.0, 1.0, 0.49999991, 0.166665196, 0.0416689552, 0.00836885161, 0.00137835857)
# fpminimax(log(1 + x), [|3,...,11|], [|SG...|], [-0.2929; 0.4143], x - x^2/2, relative): 7.7e-10, divided by x^3
_LOG = (
    0.333333135,
    -0.250000119,
    0.200020745,
    -0.166678533,
    0.142201871,
    -0.12408223,
    0.118866511,
    -0.116605744,
    0.067317031,
)
# tanh(x) / x on [0, 9.02], degrees 4 / 4 in x^2: 2.2e-8
_TANH_P = (1.0, 0.133826822, 0.00349745154, 2.06357217e-05, 1.33841516e-08)
_TANH_Q = (1.0, 0.467160046, 0.0258843377, 0.000328850729, 7.7901916e-07)
# erf(x) / x on [0, 3.93], degrees 5 / 5 in x^2: 2.0e-8
_ERF_P = (1.12837923, 0.190244779, 0.052719038, 0.00375624257, 0.000284239562, 2.04570233e-06)
_ERF_Q = (1.0, 0.501932979, 0.114034571, 0.014951067, 0.00115944282, 3.80126294e-05)

_ROUND = 12582912.0  # 1.5 * 2^23: adding it rounds to an integer, which then stands in the low mantissa bits
_LN2_HIGH = 0.693359375  # nine bits, so that its products with exponents are exact
_LN2_LOW = -2.12194440e-4


def _f32(value: float) -> Expr:
    return tirx.const(value, "float32")


def _i32(value: int) -> Expr:
    return tirx.const(value, "int32")


_ONE = _i32(0x3F800000)


def _bits(x: Expr) -> Expr:
    return tirx.reinterpret("int32", x)


def _float(bits: Expr) -> Expr:
    return tirx.reinterpret("float32", bits)


def _exp_reduced(v: Bindings, x: Expr) -> tuple[Expr, Expr]:
    """Return exp(r) and n << 23 for x = n ln 2 + r, |r| <= ln 2 / 2, where n << 23 holds n of -256..255."""
    shifted = v.bind(x * _f32(1.4426950408889634) + _f32(_ROUND))
    n = v.bind(shifted - _f32(_ROUND))
    r = v.bind(x - n * _f32(_LN2_HIGH))
    r = v.bind(r - n * _f32(_LN2_LOW))
    return v.horner(_EXP, r), v.bind(_bits(shifted) << _i32(23))


def exp(v: Bindings, x: Expr) -> Expr:
    """Return e^x.

    2^n is multiplied in two halves: the first is exact, the second rounds once into the subnormals or overflows to
    infinity. (Adding n to the exponent bits instead would turn some NaN into numbers.)
    """
    x = v.bind(tirx.max(_f32(-105.0), x))
    x = v.bind(tirx.min(_f32(89.0), x))
    power, n = _exp_reduced(v, x)
    half = v.bind((n >> _i32(1)) & _i32(-0x00800000))
    return power * _float(half + _ONE) * _float(n - half + _ONE)


def exp_nonpositive(v: Bindings, x: Expr) -> Expr:
    """Return e^x for x <= 0; results below 2^-126 are 0. For softmax, where it saves a fifth of the work."""
    power, n = _exp_reduced(v, v.bind(tirx.max(_f32(-87.3365), x)))
    return tirx.Select(x < _f32(-87.3365), _f32(0.0), power * _float(n + _ONE))


def _log_normal(v: Bindings, x: Expr, exponent_offset: Expr) -> Expr:
    """Return log(x) + exponent_offset ln 2 for a positive normal x.

    x = 2^e (1 + f) with 1 + f from 0.7071 to 1.4143; log = e ln 2 + f - f^2/2 + f^3 q(f).
    """
    offset = v.bind(_bits(x) - _i32(0x3F3504F3))
    f = v.bind(_float(_bits(x) - (offset & _i32(-0x00800000))) - _f32(1.0))
    e = v.bind((offset >> _i32(23)).astype("float32") + exponent_offset)
    square = v.bind(f * f)
    tail = v.bind(v.horner(_LOG, f) * f * square + e * _f32(_LN2_LOW))
    return e * _f32(_LN2_HIGH) + (f + (tail - _f32(0.5) * square))


def log(v: Bindings, x: Expr) -> Expr:
    """Return the natural logarithm."""
    small = v.bind(x < _f32(1.1754943508222875e-38))
    normal = v.bind(tirx.Select(small, x * _f32(8388608.0), x))
    result = v.bind(_log_normal(v, normal, tirx.Select(small, _f32(-23.0), _f32(0.0))))
    infinity = _f32(float("inf"))
    result = tirx.Select(x < infinity, result, x)
    result = tirx.Select(x < _f32(0.0), _f32(float("nan")), result)
    return tirx.Select(tirx.all(x <= _f32(0.0), x >= _f32(0.0)), _f32(float("-inf")), result)


def log1p_unit(v: Bindings, x: Expr) -> Expr:
    """Return log(1 + x) for 0 <= x <= 1: log(u) of the rounded u = 1 + x, and what the rounding lost over u."""
    u = v.bind(x + _f32(1.0))
    return _log_normal(v, u, _f32(0.0)) + (x - (u - _f32(1.0))) / u


def _odd_rational(v: Bindings, x: Expr, p: tuple[float, ...], q: tuple[float, ...], limit: float) -> Expr:
    """Return x P(x^2) / Q(x^2) with x held to [-limit, limit] and the result to [-1, 1].

    At the limit, beyond the fitted interval, the ratio exceeds 1 by 2e-6: saturated results are exactly 1.
    """
    held = v.bind(tirx.min(_f32(limit), tirx.max(_f32(-limit), x)))
    square = v.bind(held * held)
    ratio = v.bind(held * v.horner(p, square) / v.horner(q, square))
    return tirx.min(_f32(1.0), tirx.max(_f32(-1.0), ratio))


def tanh(v: Bindings, x: Expr) -> Expr:
    """Return the hyperbolic tangent."""
    return _odd_rational(v, x, _TANH_P, _TANH_Q, 10.0)


def erf(v: Bindings, x: Expr) -> Expr:
    """Return the error function."""
    return _odd_rational(v, x, _ERF_P, _ERF_Q, 4.3)
