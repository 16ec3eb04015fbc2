//! Elementary functions over [`Lanes`].
//!
//! Each function is accurate to the bound in its row of the table of point functions, against the scalar meaning, over
//! all of `f32`: zeros, subnormals, infinities and NaN included. A lane's result depends on nothing but that lane.
//!
//! Sources: `exp`, `log`, `sin` and `cos` follow S. Moshier's Cephes library (`expf.c`, `logf.c`, `sinf.c`); `tanh` is
//! the rational approximation of Eigen (`MathFunctionsImpl.h`), `erf` that of XLA (`math.cc`). `gelu` is
//! built on an approximation of the Mills ratio fitted for this file; see [`gelu`].

#![expect(clippy::excessive_precision, reason = "coefficients stand as their sources print them")]

use super::{IntLanes, Lanes, MAX_WIDTH, MaskLanes};

/// `2^n` for `-126 <= n <= 127`.
#[inline(always)]
fn power_of_two<L: Lanes>(n: L::Int) -> L {
    (n + L::Int::splat(127)).shl::<23>().bitcast()
}

/// `x` below `low` becomes `low`, above `high` becomes `high`; NaN stays NaN.
#[inline(always)]
fn clamp<L: Lanes>(x: L, low: f32, high: f32) -> L {
    L::splat(high).min(L::splat(low).max(x))
}

/// The sign of `sign` on the magnitude of `magnitude`, which is not negative.
#[inline(always)]
fn with_sign<L: Lanes>(magnitude: L, sign: L) -> L {
    (magnitude.to_bits() | (sign.to_bits() & L::Int::splat(i32::MIN))).bitcast()
}

/// The number cut to twelve binary digits.
#[inline(always)]
fn upper_half<L: Lanes>(x: L) -> L {
    (x.to_bits() & L::Int::splat(!0xfff)).bitcast()
}

/// A product in two parts: the rounded product, and what rounding took away.
#[inline(always)]
fn product<L: Lanes>(a: L, b: L) -> (L, L) {
    let high = a * b;
    if L::FUSED {
        return (high, a.mul_add(b, -high));
    }
    // Halves of twelve digits have exact products (T. J. Dekker, 1971).
    let (a_high, b_high) = (upper_half(a), upper_half(b));
    let (a_low, b_low) = (a - a_high, b - b_high);
    (high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low)
}

/// The polynomial with these coefficients, the highest power first.
#[inline(always)]
fn polynomial<L: Lanes, const N: usize>(x: L, coefficients: [f32; N]) -> L {
    let mut value = L::splat(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        value = value.mul_add(x, L::splat(coefficient));
    }
    value
}

/// `exp(r)` for `|r| <= ln(2) / 2`, after Cephes.
#[inline(always)]
fn exp_reduced<L: Lanes>(r: L) -> L {
    let p =
        polynomial(r, [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1]);
    p.mul_add(r * r, r) + L::splat(1.0)
}

/// `n` and `r` with `x = n ln(2) + r`. The first part of ln(2) has so few digits that `n` times it is exact.
#[inline(always)]
fn exp_reduce<L: Lanes>(x: L) -> (L, L) {
    let n = (x * L::splat(std::f32::consts::LOG2_E)).round();
    let r = n.mul_add(L::splat(-0.693_359_375), x);
    let r = n.mul_add(L::splat(2.121_944_4e-4), r);
    (n, r)
}

/// e to the power of `x`, as a product of two factors: their product may be subnormal, zero or infinite, where the
/// first keeps all its digits.
#[inline(always)]
fn exp_factors<L: Lanes>(x: L) -> (L, L) {
    // Beyond these the result is infinite, or rounds to zero even after multiplication with |x|.
    let (n, r) = exp_reduce(clamp(x, -110.0, 89.0));
    let n = n.to_int();
    let half = n.shr::<1>();
    (exp_reduced(r) * power_of_two(half), power_of_two(n - half))
}

/// e to the power of `x`.
#[inline(always)]
pub fn exp<L: Lanes>(x: L) -> L {
    let (first, second) = exp_factors(x);
    first * second
}

/// e to the power of `x` for `x <= 0`, where a result below the least normal number may come out as anything between
/// zero and that number. For sums in which such terms vanish.
#[inline(always)]
pub fn exp_of_negative<L: Lanes>(x: L) -> L {
    let (n, r) = exp_reduce(L::splat(-87.336_54).max(x));
    let y = exp_reduced(r) * power_of_two(n.to_int());
    // The clamped argument gives the least normal number, which a long row of minus infinities must not sum up.
    L::select(x.lt(L::splat(-87.336_54)), L::splat(0.0), y)
}

/// Natural logarithm of a positive normal `x`; other arguments give an arbitrary value. `shift` is added to the binary
/// exponent.
#[inline(always)]
fn log_normal<L: Lanes>(x: L, shift: L) -> L {
    let bits = x.to_bits();
    // The significand in [1/2, 1), and the exponent that belongs to it.
    let m = ((bits & L::Int::splat(0x007f_ffff)) | L::Int::splat(0x3f00_0000)).bitcast();
    let e = (bits.shr_logical::<23>() - L::Int::splat(126)).to_float() + shift;
    let small = m.lt(L::splat(std::f32::consts::FRAC_1_SQRT_2));
    let e = L::select(small, e - L::splat(1.0), e);
    let f = L::select(small, m + m, m) - L::splat(1.0);
    let z = f * f;
    let p = polynomial(
        f,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let y = e.mul_add(L::splat(-2.121_944_4e-4), p * (f * z));
    let y = z.mul_add(L::splat(-0.5), y);
    e.mul_add(L::splat(0.693_359_375), f + y)
}

/// Natural logarithm.
#[inline(always)]
pub fn log<L: Lanes>(x: L) -> L {
    let subnormal = x.lt(L::splat(f32::MIN_POSITIVE));
    let scaled = L::select(subnormal, x * L::splat(8_388_608.0), x);
    let shift = L::select(subnormal, L::splat(-23.0), L::splat(0.0));
    let y = log_normal(scaled, shift);
    // Infinity and NaN stay; zero and negative numbers have no finite logarithm.
    let y = L::select(x.lt(L::splat(f32::INFINITY)), y, x);
    let y = L::select(x.eq(L::splat(0.0)), L::splat(f32::NEG_INFINITY), y);
    L::select(x.lt(L::splat(0.0)), L::splat(f32::NAN), y)
}

/// Natural logarithm of `1 + x`: the logarithm of the rounded sum, corrected by what rounding took away
/// (W. Kahan's device).
#[inline(always)]
pub fn log1p<L: Lanes>(x: L) -> L {
    let u = L::splat(1.0) + x;
    let lost = x - (u - L::splat(1.0));
    let y = log(u);
    let corrected = y + lost / u;
    // At the ends u is zero or infinite and has lost nothing that counts; a tiny x is its own logarithm, sign included.
    let finite = x.abs().lt(L::splat(f32::MAX)) & u.gt(L::splat(0.0));
    let y = L::select(finite, corrected, y);
    L::select(x.abs().lt(L::splat(1e-8)), x, y)
}

/// Quarters of a turn `n` and remainder `r` of `x = n pi/2 + r`, for `|x| <= 8192`: pi/2 is split into parts of eleven digits, whose
/// products with `n` are exact.
#[inline(always)]
fn reduce_quarter_turns<L: Lanes>(x: L) -> (L::Int, L) {
    let n = (x * L::splat(std::f32::consts::FRAC_2_PI)).round();
    let r = n.mul_add(L::splat(-1.570_312_5), x);
    let r = n.mul_add(L::splat(-4.837_513e-4), r);
    let r = n.mul_add(L::splat(-7.549_533_6e-8), r);
    let r = n.mul_add(L::splat(-2.563_344e-12), r);
    (n.to_int(), r)
}

/// Sine of `x` turned by `quarters` quarters of a turn, for `|x| <= 8192`.
#[inline(always)]
fn sin_quarters<L: Lanes>(x: L, quarters: i32) -> L {
    let (n, r) = reduce_quarter_turns(x);
    let n = n + L::Int::splat(quarters);
    let z = r * r;
    let sine = polynomial(z, [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]).mul_add(z * r, r);
    let cosine = polynomial(z, [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
    let cosine = cosine.mul_add(z * z, z.mul_add(L::splat(-0.5), L::splat(1.0)));
    let odd = (n & L::Int::splat(1)).eq(L::Int::splat(1));
    let value = L::select(odd, cosine, sine);
    (value.to_bits() ^ (n & L::Int::splat(2)).shl::<30>()).bitcast()
}

/// Applies `scalar` to every lane where `mask` holds.
#[inline(always)]
fn patch<L: Lanes>(mask: L::Mask, x: L, y: L, scalar: fn(f64) -> f64) -> L {
    if !mask.any() {
        return y;
    }
    let mut lanes = [0.0f32; MAX_WIDTH];
    x.store(&mut lanes);
    for lane in &mut lanes[..L::WIDTH] {
        *lane = scalar(f64::from(*lane)) as f32;
    }
    L::select(mask, L::load(&lanes), y)
}

/// Sine of `x` in radians.
#[inline(always)]
pub fn sin<L: Lanes>(x: L) -> L {
    let y = sin_quarters(x, 0);
    // Keeps the sign of zero.
    let y = L::select(x.abs().lt(L::splat(1e-4)), x, y);
    patch(!x.abs().le(L::splat(8192.0)), x, y, libm::sin)
}

/// Cosine of `x` in radians.
#[inline(always)]
pub fn cos<L: Lanes>(x: L) -> L {
    patch(!x.abs().le(L::splat(8192.0)), x, sin_quarters(x, 1), libm::cos)
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<L: Lanes>(x: L) -> L {
    let c = clamp(x, -9.0, 9.0);
    let z = c * c;
    let p = polynomial(
        z,
        [-2.760_768_5e-16, 2.000_187_9e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619e-4, 4.893_525e-3],
    );
    let q = polynomial(z, [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3]);
    let y = clamp(c * p / q, -1.0, 1.0);
    L::select(x.abs().lt(L::splat(4e-4)), x, y)
}

/// The Gauss error function.
#[inline(always)]
pub fn erf<L: Lanes>(x: L) -> L {
    // Beyond the clamp the result is nearer to one than to its neighbour.
    let c = clamp(x, -3.832_507, 3.832_507);
    let z = c * c;
    #[expect(clippy::approx_constant, reason = "a fitted coefficient, not the constant it is near to")]
    let p = polynomial(z, [2.290_506_6e-4, 3.408_291e-3, 5.095_569_5e-2, 1.852_083_2e-1, 1.128_379_2]);
    let q = polynomial(
        z,
        [-1.179_160_3e-7, 2.354_796_6e-5, 1.017_962_5e-3, 1.407_047e-2, 1.109_850_5e-1, 4.974_692_5e-1, 1.0],
    );
    let y = clamp(c * p / q, -1.0, 1.0);
    // Tiny arguments, whose square underflows: 2 / sqrt(pi) times the argument.
    L::select(x.abs().lt(L::splat(1e-10)), x * L::splat(std::f32::consts::FRAC_2_SQRT_PI), y)
}

/// `1 / (1 + exp(-x))`, from the exponential that does not overflow.
#[inline(always)]
pub fn sigmoid<L: Lanes>(x: L) -> L {
    let one = L::splat(1.0);
    let e = exp(-x.abs());
    L::select(x.lt(L::splat(0.0)), e, one) / (one + e)
}

/// `x` times the sigmoid of `s u` with `s` the sign of `x`, given `exp(-u)` as two factors. The factor that may make
/// the result subnormal comes last.
#[inline(always)]
fn times_sigmoid<L: Lanes>(x: L, (first, second): (L, L)) -> L {
    let one = L::splat(1.0);
    let negative = x.lt(L::splat(0.0));
    let sigmoid = L::select(negative, first, one) / (one + first * second);
    x * sigmoid * L::select(negative, second, one)
}

/// `x` times its sigmoid.
#[inline(always)]
pub fn silu<L: Lanes>(x: L) -> L {
    times_sigmoid(x, vanishing_exp_factors(x.abs()))
}

/// `exp(-a)` for `a >= 0` as two factors, the first zero where the result has vanished: minus infinity times nothing is
/// NaN, as the formulas say.
#[inline(always)]
fn vanishing_exp_factors<L: Lanes>(a: L) -> (L, L) {
    let (first, second) = exp_factors(-a);
    (L::select(a.lt(L::splat(110.0)), first, L::splat(0.0)), second)
}

/// `exp(-(high + low))` as two factors, for `high >= 0` and a correction `low` small against it.
#[inline(always)]
fn exp_of_sum<L: Lanes>(high: L, low: L) -> (L, L) {
    let (first, second) = exp_factors(-high);
    // The correction may be NaN once the result has vanished.
    (L::select(high.lt(L::splat(110.0)), low.mul_add(-first, first), L::splat(0.0)), second)
}

/// `x/2 (1 + erf(x / sqrt 2))`, that is `x` times the normal distribution function.
///
/// With `a = |x|` the tail is `exp(-a^2/2) M(a)`, where `M(a) = erfcx(a / sqrt 2) / 2` is smooth: it is approximated by a
/// polynomial in `t = 1 / (1 + 0.35 a)`, fitted to minimise the largest relative error over `[0, 14.5]` (5.2e-8 with
/// the rounded coefficients; the form is that of Numerical Recipes' `erfcc`). Unlike `1 + erf` the tail keeps its
/// digits for negative `x`.
#[inline(always)]
pub fn gelu<L: Lanes>(x: L) -> L {
    let one = L::splat(1.0);
    let a = x.abs();
    let t = one / a.mul_add(L::splat(0.35), one);
    let ratio = polynomial(
        t,
        [
            -2.915_788_4e-2,
            1.440_309_1e-1,
            -2.558_390_2e-1,
            1.593_197_3e-1,
            -2.321_236_8e-2,
            1.055_525_1e-1,
            1.198_212_9e-1,
            1.398_635e-1,
            1.396_213e-1,
        ],
    ) * t;
    // The square in two parts, since its rounding error is magnified by the exponential.
    let (square, lost) = product(a, a);
    let half = L::splat(0.5);
    let (first, second) = exp_of_sum(square * half, lost * half);
    let tail = first * ratio;
    let negative = x.lt(L::splat(0.0));
    let share = L::select(negative, tail, one - tail * second);
    x * share * L::select(negative, second, one)
}

/// `x/2 (1 + tanh(u))` with `u = sqrt(2/pi) (x + 0.044715 x^3)`, computed as `x sigmoid(2 u)`, which keeps its digits
/// for negative `x`.
#[inline(always)]
pub fn gelu_tanh<L: Lanes>(x: L) -> L {
    // 2 u = a (C1 + C3 a^2), constants, products and sum in two parts, since the exponential magnifies rounding errors.
    const C1: f32 = 1.595_769_2;
    const C1_LOW: f32 = (1.595_769_121_605_730_7 - C1 as f64) as f32;
    const C3: f32 = 0.071_354_82;
    const C3_LOW: f32 = (0.071_354_816_272_600_25 - C3 as f64) as f32;
    let a = x.abs();
    let (square, square_low) = product(a, a);
    let (cubic, cubic_low) = product(square, L::splat(C3));
    let cubic_low = square.mul_add(L::splat(C3_LOW), square_low.mul_add(L::splat(C3), cubic_low));
    // D. Knuth's sum with its rounding error.
    let linear = L::splat(C1);
    let sum = cubic + linear;
    let part = sum - cubic;
    let sum_low = (cubic - (sum - part)) + (linear - part) + cubic_low + L::splat(C1_LOW);
    let (v, v_low) = product(a, sum);
    times_sigmoid(x, exp_of_sum(v, a.mul_add(sum_low, v_low)))
}

/// `log(1 + exp(x))`.
#[inline(always)]
pub fn softplus<L: Lanes>(x: L) -> L {
    // The operand order passes NaN on: a comparison with it is false.
    log1p(exp(-x.abs())) + L::splat(0.0).max(x)
}

/// `x tanh(softplus(x))`: with `e = exp(-|x|)` the hyperbolic tangent is a quotient of polynomials in `e`.
#[inline(always)]
pub fn mish<L: Lanes>(x: L) -> L {
    let (first, second) = vanishing_exp_factors(x.abs());
    let e = first * second;
    let (one, two) = (L::splat(1.0), L::splat(2.0));
    // For x >= 0, expanded by e^2, (1 + 2e) / (1 + 2e + 2e^2); for x < 0 e (e + 2) / (e (e + 2) + 2).
    let negative = x.lt(L::splat(0.0));
    let up = e.mul_add(two, one);
    let numerator = L::select(negative, first * (e + two), up);
    let denominator = L::select(negative, e.mul_add(e + two, two), (e * e).mul_add(two, up));
    x * (numerator / denominator) * L::select(negative, second, one)
}

/// `x clip(x + 3, 0, 6) / 6`.
#[inline(always)]
pub fn hard_swish<L: Lanes>(x: L) -> L {
    x * (clamp(x + L::splat(3.0), 0.0, 6.0) * L::splat(1.0 / 6.0))
}

/// -1, 0 or 1 by the sign; zeros and NaN stay.
#[inline(always)]
pub fn sign<L: Lanes>(x: L) -> L {
    let nonzero = x.lt(L::splat(0.0)) | L::splat(0.0).lt(x);
    L::select(nonzero, with_sign(L::splat(1.0), x), x)
}

/// The larger of `x` and zero; negative zero and NaN stay.
#[inline(always)]
pub fn relu<L: Lanes>(x: L) -> L {
    L::splat(0.0).max(x)
}

#[cfg(test)]
mod tests {
    use super::super::{Algorithm, Isa};
    use super::*;
    use crate::point::PointFn;
    use crate::scalar::float_unary;

    struct Sweep<'a>(PointFn, &'a [f32], &'a mut [f32]);

    impl Algorithm for Sweep<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes>(self) {
            let Sweep(function, x, y) = self;
            for (x, y) in x.chunks_exact(L::WIDTH).zip(y.chunks_exact_mut(L::WIDTH)) {
                let x = L::load(x);
                let value = match function {
                    PointFn::Exp => exp(x),
                    PointFn::Log => log(x),
                    PointFn::Log1p => log1p(x),
                    PointFn::Sin => sin(x),
                    PointFn::Cos => cos(x),
                    PointFn::Tanh => tanh(x),
                    PointFn::Erf => erf(x),
                    PointFn::Sigmoid => sigmoid(x),
                    PointFn::Silu => silu(x),
                    PointFn::Gelu => gelu(x),
                    PointFn::GeluTanh => gelu_tanh(x),
                    PointFn::Softplus => softplus(x),
                    PointFn::Mish => mish(x),
                    PointFn::HardSwish => hard_swish(x),
                    PointFn::Sign => sign(x),
                    _ => relu(x),
                };
                value.store(y);
            }
        }
    }

    /// Distance in representable numbers; zeros of both signs are one number.
    fn distance(a: f32, b: f32) -> u64 {
        if a.is_nan() || b.is_nan() {
            return if a.is_nan() && b.is_nan() { 0 } else { u64::MAX };
        }
        let order = |x: f32| i64::from(x.abs().to_bits()) * if x.is_sign_negative() { -1 } else { 1 };
        order(a).abs_diff(order(b))
    }

    #[test]
    fn functions_keep_their_bounds() {
        // Every 4099th float of both signs, and every float that matters.
        let mut x: Vec<f32> = (0..=u32::MAX / 4099).map(|i| f32::from_bits(i * 4099)).collect();
        x.extend((0..20_000).map(|i| (i - 10_000) as f32 * 0.01));
        x.extend((0..20_000).map(|i| (i - 10_000) as f32 * std::f32::consts::FRAC_PI_2));
        x.extend([0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, 1e-45, -1e-45]);
        x.resize(x.len().next_multiple_of(16), 0.5);
        let mut y = vec![0.0; x.len()];
        let functions = [
            PointFn::Exp,
            PointFn::Log,
            PointFn::Log1p,
            PointFn::Sin,
            PointFn::Cos,
            PointFn::Tanh,
            PointFn::Erf,
            PointFn::Sigmoid,
            PointFn::Silu,
            PointFn::Gelu,
            PointFn::GeluTanh,
            PointFn::Softplus,
            PointFn::Mish,
            PointFn::HardSwish,
            PointFn::Sign,
            PointFn::Relu,
        ];
        let mut failures = Vec::new();
        for function in functions {
            let row = function.row();
            let expected: Vec<f32> = x.iter().map(|&x| float_unary(function, f64::from(x)) as f32).collect();
            for isa in Isa::available() {
                isa.run(Sweep(function, &x, &mut y));
                let worst = (0..x.len()).max_by_key(|&i| distance(y[i], expected[i])).expect("there are arguments");
                let worst = (distance(y[worst], expected[worst]), x[worst], y[worst], expected[worst]);
                println!("{} {isa:?}: {worst:?}", row.name);
                if worst.0 > u64::from(row.ulps) {
                    failures.push((row.name, isa, worst));
                }
            }
        }
        assert!(failures.is_empty(), "distance, argument, result, expected: {failures:#?}");
    }
}
