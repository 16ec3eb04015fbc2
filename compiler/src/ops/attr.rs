//! Attribute kinds: how each is read from text and written to it.
//!
//! In text an attribute is `name=value`; a value is an integer, a float, a word, or a list in brackets. The trait
//! [`Attribute`] converts between these values and the typed fields of [`Op`](super::Op).

use situ_runtime::kernel::{CumulativeFn, NearestFn, PoolFn, RecurrentFn, ReduceFn, ResizeAxis, ResizeFn, ScatterFn};
use situ_runtime::types::DType;

/// An attribute value as written.
#[derive(Clone, Debug, PartialEq)]
pub enum AttrValue {
    Int(i64),
    Float(f64),
    Word(String),
    List(Vec<AttrValue>),
}

impl std::fmt::Display for AttrValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AttrValue::Int(value) => write!(f, "{value}"),
            AttrValue::Float(value) => write!(f, "{value:?}"),
            AttrValue::Word(word) => f.write_str(word),
            AttrValue::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A typed attribute. `read(write(x)) == x`.
pub trait Attribute: Sized {
    /// What a value of this kind looks like, for diagnostics ("a list of integers").
    const EXPECTED: &'static str;
    fn write(&self) -> AttrValue;
    fn read(value: &AttrValue) -> Option<Self>;
}

/// An `f64` attribute, compared and hashed by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Float(pub u64);

impl Float {
    pub fn new(value: f64) -> Float {
        Float(value.to_bits())
    }

    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl Attribute for Float {
    const EXPECTED: &'static str = "a number";
    fn write(&self) -> AttrValue {
        let value = self.get();
        if value.is_finite() { AttrValue::Float(value) } else { AttrValue::Word(format!("{value}")) }
    }
    fn read(value: &AttrValue) -> Option<Self> {
        match value {
            AttrValue::Float(value) => Some(Float::new(*value)),
            AttrValue::Int(value) => Some(Float::new(*value as f64)),
            AttrValue::Word(word) => match word.as_str() {
                "inf" => Some(Float::new(f64::INFINITY)),
                "-inf" => Some(Float::new(f64::NEG_INFINITY)),
                "NaN" | "nan" => Some(Float::new(f64::NAN)),
                _ => None,
            },
            AttrValue::List(_) => None,
        }
    }
}

impl Attribute for i64 {
    const EXPECTED: &'static str = "an integer";
    fn write(&self) -> AttrValue {
        AttrValue::Int(*self)
    }
    fn read(value: &AttrValue) -> Option<Self> {
        match value {
            AttrValue::Int(value) => Some(*value),
            _ => None,
        }
    }
}

impl Attribute for usize {
    const EXPECTED: &'static str = "an integer that is not negative";
    fn write(&self) -> AttrValue {
        AttrValue::Int(i64::try_from(*self).unwrap_or(i64::MAX))
    }
    fn read(value: &AttrValue) -> Option<Self> {
        i64::read(value).and_then(|value| usize::try_from(value).ok())
    }
}

impl Attribute for bool {
    const EXPECTED: &'static str = "true or false";
    fn write(&self) -> AttrValue {
        AttrValue::Word(self.to_string())
    }
    fn read(value: &AttrValue) -> Option<Self> {
        match value {
            AttrValue::Word(word) if word == "true" => Some(true),
            AttrValue::Word(word) if word == "false" => Some(false),
            _ => None,
        }
    }
}

impl Attribute for DType {
    const EXPECTED: &'static str = "a dtype";
    fn write(&self) -> AttrValue {
        AttrValue::Word(self.name().to_string())
    }
    fn read(value: &AttrValue) -> Option<Self> {
        match value {
            AttrValue::Word(word) => DType::from_name(word),
            _ => None,
        }
    }
}

impl<T: Attribute> Attribute for Vec<T> {
    const EXPECTED: &'static str = "a list";
    fn write(&self) -> AttrValue {
        AttrValue::List(self.iter().map(Attribute::write).collect())
    }
    fn read(value: &AttrValue) -> Option<Self> {
        match value {
            AttrValue::List(items) => items.iter().map(T::read).collect(),
            _ => None,
        }
    }
}

impl<T: Attribute> Attribute for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn write(&self) -> AttrValue {
        self.as_ref().map_or_else(|| AttrValue::Word("none".into()), Attribute::write)
    }
    fn read(value: &AttrValue) -> Option<Self> {
        match value {
            AttrValue::Word(word) if word == "none" => Some(None),
            _ => T::read(value).map(Some),
        }
    }
}

/// Words for the variants of a fieldless enum.
macro_rules! word_attribute {
    ($type:ty, $expected:literal, $($word:literal = $variant:expr),* $(,)?) => {
        impl Attribute for $type {
            const EXPECTED: &'static str = $expected;
            fn write(&self) -> AttrValue {
                $(if *self == $variant { return AttrValue::Word($word.into()); })*
                unreachable!("every variant has a word")
            }
            fn read(value: &AttrValue) -> Option<Self> {
                match value {
                    AttrValue::Word(word) => match word.as_str() {
                        $($word => Some($variant),)*
                        _ => None,
                    },
                    _ => None,
                }
            }
        }
    };
}

word_attribute!(
    ScatterFn,
    "assign, add, mul, max or min",
    "assign" = ScatterFn::Assign,
    "add" = ScatterFn::Add,
    "mul" = ScatterFn::Mul,
    "max" = ScatterFn::Max,
    "min" = ScatterFn::Min
);
word_attribute!(CumulativeFn, "sum or prod", "sum" = CumulativeFn::Sum, "prod" = CumulativeFn::Prod);
word_attribute!(
    ReduceFn,
    "sum, mean, amax, amin or prod",
    "sum" = ReduceFn::Sum,
    "mean" = ReduceFn::Mean,
    "amax" = ReduceFn::Max,
    "amin" = ReduceFn::Min,
    "prod" = ReduceFn::Prod
);
word_attribute!(
    RecurrentFn,
    "lstm, gru, gru_reset_after or rnn",
    "lstm" = RecurrentFn::Lstm,
    "gru" = RecurrentFn::Gru { linear_before_reset: false },
    "gru_reset_after" = RecurrentFn::Gru { linear_before_reset: true },
    "rnn" = RecurrentFn::Rnn
);
word_attribute!(
    PoolFn,
    "max, average or average_with_padding",
    "max" = PoolFn::Max,
    "average" = PoolFn::Average { count_padding: false },
    "average_with_padding" = PoolFn::Average { count_padding: true }
);

impl Attribute for ResizeFn {
    const EXPECTED: &'static str = "a resize mode";
    fn write(&self) -> AttrValue {
        match self {
            ResizeFn::Nearest(rounding) => AttrValue::Word(
                match rounding {
                    NearestFn::RoundPreferFloor => "nearest_round_prefer_floor",
                    NearestFn::RoundPreferCeil => "nearest_round_prefer_ceil",
                    NearestFn::Floor => "nearest_floor",
                    NearestFn::Ceil => "nearest_ceil",
                }
                .into(),
            ),
            ResizeFn::Linear { exclude_outside: false } => AttrValue::Word("linear".into()),
            ResizeFn::Linear { exclude_outside: true } => AttrValue::Word("linear_exclude_outside".into()),
            ResizeFn::Cubic { a, exclude_outside } => AttrValue::List(vec![
                AttrValue::Word("cubic".into()),
                AttrValue::Float(f64::from_bits(*a)),
                exclude_outside.write(),
            ]),
        }
    }
    fn read(value: &AttrValue) -> Option<Self> {
        match value {
            AttrValue::Word(word) => match word.as_str() {
                "nearest_round_prefer_floor" => Some(ResizeFn::Nearest(NearestFn::RoundPreferFloor)),
                "nearest_round_prefer_ceil" => Some(ResizeFn::Nearest(NearestFn::RoundPreferCeil)),
                "nearest_floor" => Some(ResizeFn::Nearest(NearestFn::Floor)),
                "nearest_ceil" => Some(ResizeFn::Nearest(NearestFn::Ceil)),
                "linear" => Some(ResizeFn::Linear { exclude_outside: false }),
                "linear_exclude_outside" => Some(ResizeFn::Linear { exclude_outside: true }),
                _ => None,
            },
            AttrValue::List(items) => match items.as_slice() {
                [AttrValue::Word(word), a, exclude] if word == "cubic" => {
                    Some(ResizeFn::Cubic { a: Float::read(a)?.0, exclude_outside: bool::read(exclude)? })
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl Attribute for ResizeAxis {
    const EXPECTED: &'static str = "a list of offset, numerator, denominator, shift and support";
    fn write(&self) -> AttrValue {
        let fields = [self.offset, self.numerator, self.denominator, self.shift, self.support];
        AttrValue::List(fields.map(|bits| Float(bits).write()).to_vec())
    }
    fn read(value: &AttrValue) -> Option<Self> {
        let AttrValue::List(items) = value else { return None };
        let [offset, numerator, denominator, shift, support] = items.as_slice() else { return None };
        let bits = |item| Float::read(item).map(|float| float.0);
        Some(ResizeAxis {
            offset: bits(offset)?,
            numerator: bits(numerator)?,
            denominator: bits(denominator)?,
            shift: bits(shift)?,
            support: bits(support)?,
        })
    }
}
