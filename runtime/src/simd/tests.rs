//! Every lane operation of every instruction set of the machine, against scalar arithmetic.

use super::*;

const SAMPLES: [f32; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    2.5,
    -2.5,
    3.5,
    1e-40,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    0.1,
    -0.1,
    8_388_609.0,
    1e30,
    -7.25,
];

struct Check;

impl Algorithm for Check {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for shift in 0..SAMPLES.len() {
            let mut a = SAMPLES;
            let mut b = SAMPLES;
            a.rotate_left(shift);
            b.reverse();
            check_pair::<L>(&a, &b);
        }
        check_int::<L>();
        let ramp: [f32; MAX_WIDTH] = std::array::from_fn(|i| i as f32 + 1.0);
        let width = L::WIDTH as f32;
        assert_eq!(L::load(&ramp).reduce_sum(), width * (width + 1.0) / 2.0);
        // Values whose sum depends on the order, which is the same everywhere.
        let uneven: [f32; MAX_WIDTH] = std::array::from_fn(|i| [1e8, 0.3, -1e8, 7.7, 1.1e-3][i % 5] * (i as f32 + 0.7));
        let mut halved = uneven[..L::WIDTH].to_vec();
        while halved.len() > 1 {
            let upper = halved.split_off(halved.len() / 2);
            halved.iter_mut().zip(upper).for_each(|(x, y)| *x += y);
        }
        assert_eq!(L::load(&uneven).reduce_sum().to_bits(), halved[0].to_bits());
        assert_eq!(L::load(&ramp).reduce_max(), width);
        assert_eq!(L::load(&ramp).reduce_min(), 1.0);
        for count in 0..=MAX_WIDTH {
            let mut out = [0.0; MAX_WIDTH];
            L::load_partial(&ramp[..count], 9.0).store(&mut out);
            let expected: Vec<f32> = (0..L::WIDTH).map(|i| if i < count { ramp[i] } else { 9.0 }).collect();
            assert_eq!(out[..L::WIDTH], expected);
            let mut short = [-1.0; MAX_WIDTH];
            L::load(&ramp).store_partial(&mut short[..count]);
            for (i, &x) in short.iter().enumerate() {
                assert_eq!(x, if i < count.min(L::WIDTH) { ramp[i] } else { -1.0 }, "{count}");
            }
        }
        let long: [f32; 2 * MAX_WIDTH] = std::array::from_fn(|i| i as f32);
        let (even, odd) = L::load(&long).deinterleave(L::load(&long[L::WIDTH..]));
        assert_eq!(floats(even), (0..L::WIDTH).map(|i| (2.0 * i as f32).to_bits()).collect::<Vec<_>>());
        assert_eq!(floats(odd), (0..L::WIDTH).map(|i| (2.0 * i as f32 + 1.0).to_bits()).collect::<Vec<_>>());
    }
}

fn floats<L: Lanes>(vector: L) -> Vec<u32> {
    let mut lanes = [0.0; MAX_WIDTH];
    vector.store(&mut lanes);
    // NaN payloads and signs are not part of the contract.
    lanes[..L::WIDTH].iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

fn truth<L: Lanes>(mask: L::Mask) -> Vec<u32> {
    floats(L::select(mask, L::splat(1.0), L::splat(0.0)))
}

fn check_pair<L: Lanes>(a: &[f32], b: &[f32]) {
    let (x, y) = (L::load(a), L::load(b));
    let unary = |found: L, expected: fn(f32) -> f32, name: &str| {
        let expected: Vec<f32> = a[..L::WIDTH].iter().map(|&x| expected(x)).collect();
        assert_eq!(floats(found), expected.iter().map(|x| canonical(*x)).collect::<Vec<_>>(), "{name} {a:?}");
    };
    let binary = |found: L, expected: fn(f32, f32) -> f32, name: &str| {
        let expected: Vec<u32> = (0..L::WIDTH).map(|i| canonical(expected(a[i], b[i]))).collect();
        assert_eq!(floats(found), expected, "{name} {a:?} {b:?}");
    };
    let compare = |found: L::Mask, expected: fn(f32, f32) -> bool, name: &str| {
        let expected: Vec<u32> = (0..L::WIDTH).map(|i| f32::from(u8::from(expected(a[i], b[i]))).to_bits()).collect();
        assert_eq!(truth::<L>(found), expected, "{name} {a:?} {b:?}");
        assert_eq!(found.any(), expected.iter().any(|&x| x != 0));
        assert_eq!(found.all(), expected.iter().all(|&x| x != 0));
    };
    unary(-x, |x| -x, "neg");
    unary(x.abs(), f32::abs, "abs");
    unary(x.sqrt(), f32::sqrt, "sqrt");
    unary(x.floor(), f32::floor, "floor");
    unary(x.ceil(), f32::ceil, "ceil");
    unary(x.trunc(), f32::trunc, "trunc");
    unary(x.round(), f32::round_ties_even, "round");
    unary(x.to_bits().bitcast(), |x| x, "bits");
    binary(x + y, |x, y| x + y, "add");
    binary(x - y, |x, y| x - y, "sub");
    binary(x * y, |x, y| x * y, "mul");
    binary(x / y, |x, y| x / y, "div");
    binary(x.min(y), |x, y| if x < y { x } else { y }, "min");
    binary(x.max(y), |x, y| if x > y { x } else { y }, "max");
    binary(x.maximum(y), |x, y| if x.is_nan() || x > y { x } else { y }, "maximum");
    binary(x.minimum(y), |x, y| if x.is_nan() || x < y { x } else { y }, "minimum");
    compare(x.eq(y), |x, y| x == y, "eq");
    compare(x.lt(y), |x, y| x < y, "lt");
    compare(x.le(y), |x, y| x <= y, "le");
    compare(x.gt(y), |x, y| x > y, "gt");
    compare(x.ge(y), |x, y| x >= y, "ge");
    compare(x.is_nan() | y.is_nan(), |x, y| x.is_nan() || y.is_nan(), "is_nan");
    compare(!(x.lt(y) ^ y.lt(x)) & x.eq(x), |x, y| !((x < y) ^ (y < x)) && !x.is_nan(), "masks");
    assert_eq!(floats(L::splat(2.0).mul_add(L::splat(3.0), L::splat(4.0))), vec![10f32.to_bits(); L::WIDTH]);
}

fn canonical(x: f32) -> u32 {
    if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }
}

fn check_int<L: Lanes>() {
    let a: [i32; MAX_WIDTH] = std::array::from_fn(|i| (i as i32 - 5).wrapping_mul(0x1234_5671));
    let b: [i32; MAX_WIDTH] = std::array::from_fn(|i| if i % 3 == 0 { a[i] } else { i as i32 * 77 });
    let (x, y) = (L::Int::load(&a), L::Int::load(&b));
    let check = |found: L::Int, expected: fn(i32, i32) -> i32, name: &str| {
        let mut lanes = [0; MAX_WIDTH];
        found.store(&mut lanes);
        for i in 0..L::WIDTH {
            assert_eq!(lanes[i], expected(a[i], b[i]), "{name}");
        }
    };
    check(x + y, i32::wrapping_add, "add");
    check(x - y, i32::wrapping_sub, "sub");
    check(x.mul(y), i32::wrapping_mul, "mul");
    check(x & y, |x, y| x & y, "and");
    check(x | y, |x, y| x | y, "or");
    check(x ^ y, |x, y| x ^ y, "xor");
    check(x.shl::<23>(), |x, _| x << 23, "shl");
    check(x.shr::<7>(), |x, _| x >> 7, "shr");
    check(x.shr_logical::<7>(), |x, _| (x as u32 >> 7) as i32, "shr_logical");
    check(L::Int::select(x.gt(y), x, y), i32::max, "gt");
    check(L::Int::select(x.eq(y), L::Int::splat(1), L::Int::splat(0)), |x, y| i32::from(x == y), "eq");
    check(x.to_float().to_int(), |x, _| (x as f32).round_ties_even() as i32, "to_float");
    check(L::splat(2.5).to_int(), |_, _| 2, "to_int");
}

#[test]
fn lanes_agree_with_scalars() {
    for isa in Isa::available() {
        isa.run(Check);
    }
}

#[test]
fn instruction_sets_have_names() {
    for isa in Isa::available() {
        assert_eq!(Isa::from_name(isa.name()), Some(isa));
        assert_eq!(MAX_WIDTH % isa.width(), 0);
    }
    assert_eq!(Isa::from_name("none"), None);
}
