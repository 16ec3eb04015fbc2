//! Point functions: what is computed from the elements at one index, and programs made of them.
//!
//! [`PointFn`] is the table of elementwise arithmetic: a function is one row of [`PointFn::row`] (name, arity,
//! typing, sentence) and one arm of its scalar meaning in `scalar.rs`. A [`Program`] is a straight line of such
//! functions over registers; it is the body of every fused kernel. Register `i` for `i < inputs.len()` holds
//! operand `i`; instruction `j` defines register `inputs.len() + j`.

use serde::{Deserialize, Serialize};

use crate::types::DType;

/// How the result's dtype follows from the operands'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// All operands and the result share one dtype.
    Same,
    /// Operands share one dtype, the result is `bool`.
    Compare,
    /// First operand `bool`, the others and the result share one dtype.
    Select,
    /// The result's dtype is named by the function.
    Cast,
}

/// On which dtypes a function is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    Any,
    /// Floats and integers, not `bool`.
    Number,
    Float,
    /// Integers and `bool`.
    Bits,
    Int,
    Bool,
}

impl Domain {
    pub fn holds(self, dtype: DType) -> bool {
        match self {
            Domain::Any => true,
            Domain::Number => dtype != DType::Bool,
            Domain::Float => dtype.is_float(),
            Domain::Bits => !dtype.is_float(),
            Domain::Int => dtype.is_int(),
            Domain::Bool => dtype == DType::Bool,
        }
    }
}

/// One row of the table of point functions.
pub struct PointRow {
    /// Name in text, reports and rules.
    pub name: &'static str,
    pub arity: usize,
    pub typing: Typing,
    pub domain: Domain,
    /// Largest error of the vector form against the scalar meaning, in units in the last place of the result's
    /// dtype (f32); zero means bit-equal.
    pub ulps: u32,
    /// Rough cost of one element, in multiples of an addition.
    pub flops: u32,
    /// One sentence of documentation.
    pub doc: &'static str,
}

macro_rules! point_functions {
    ($($variant:ident = $name:literal, $arity:literal, $typing:ident, $domain:ident, $ulps:literal, $flops:literal, $doc:literal;)*) => {
        /// A function of the elements at one index. `Const` and `Cast` carry their payload.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum PointFn {
            $(#[doc = $doc] $variant,)*
            /// The element converted to a dtype: floats to integers truncate towards zero and saturate, NaN gives 0;
            /// anything to `bool` is "not equal to zero"; integers to narrower integers wrap.
            Cast(DType),
            /// A constant: the bits of one element in the low bytes, and its dtype.
            Const(u64, DType),
        }

        impl PointFn {
            /// Every function that has a row of its own (not `Cast` and `Const`).
            pub const NAMED: &'static [PointFn] = &[$(PointFn::$variant,)*];

            pub fn row(self) -> PointRow {
                match self {
                    $(PointFn::$variant => PointRow { name: $name, arity: $arity, typing: Typing::$typing, domain: Domain::$domain, ulps: $ulps, flops: $flops, doc: $doc },)*
                    PointFn::Cast(_) => PointRow { name: "cast", arity: 1, typing: Typing::Cast, domain: Domain::Any, ulps: 0, flops: 1, doc: "The element converted to another dtype." },
                    PointFn::Const(..) => PointRow { name: "constant", arity: 0, typing: Typing::Cast, domain: Domain::Any, ulps: 0, flops: 0, doc: "A constant element." },
                }
            }
        }
    };
}

point_functions! {
    Neg = "neg", 1, Same, Number, 0, 1, "The element with its sign changed (integers wrap).";
    Abs = "abs", 1, Same, Number, 0, 1, "The magnitude of the element (the least integer stays itself).";
    Sign = "sign", 1, Same, Number, 0, 1, "-1, 0 or 1 by the sign of the element; NaN stays NaN.";
    Exp = "exp", 1, Same, Float, 4, 10, "e to the power of the element.";
    Log = "log", 1, Same, Float, 4, 10, "Natural logarithm of the element.";
    Log1p = "log1p", 1, Same, Float, 4, 12, "Natural logarithm of one plus the element.";
    Sqrt = "sqrt", 1, Same, Float, 0, 4, "Square root of the element.";
    Rsqrt = "rsqrt", 1, Same, Float, 1, 6, "One over the square root of the element.";
    Reciprocal = "reciprocal", 1, Same, Float, 0, 3, "One over the element.";
    Sin = "sin", 1, Same, Float, 4, 12, "Sine of the element in radians.";
    Cos = "cos", 1, Same, Float, 4, 12, "Cosine of the element in radians.";
    Tan = "tan", 1, Same, Float, 4, 15, "Tangent of the element in radians.";
    Asin = "asin", 1, Same, Float, 4, 15, "Arc sine of the element.";
    Acos = "acos", 1, Same, Float, 4, 15, "Arc cosine of the element.";
    Atan = "atan", 1, Same, Float, 4, 15, "Arc tangent of the element.";
    Sinh = "sinh", 1, Same, Float, 4, 15, "Hyperbolic sine of the element.";
    Cosh = "cosh", 1, Same, Float, 4, 15, "Hyperbolic cosine of the element.";
    Tanh = "tanh", 1, Same, Float, 8, 12, "Hyperbolic tangent of the element.";
    Asinh = "asinh", 1, Same, Float, 4, 15, "Inverse hyperbolic sine of the element.";
    Acosh = "acosh", 1, Same, Float, 4, 15, "Inverse hyperbolic cosine of the element.";
    Atanh = "atanh", 1, Same, Float, 4, 15, "Inverse hyperbolic tangent of the element.";
    Erf = "erf", 1, Same, Float, 8, 15, "Gauss error function of the element.";
    Sigmoid = "sigmoid", 1, Same, Float, 8, 12, "1 / (1 + exp(-x)).";
    Silu = "silu", 1, Same, Float, 8, 13, "x * sigmoid(x).";
    Gelu = "gelu", 1, Same, Float, 16, 18, "x/2 * (1 + erf(x / sqrt 2)).";
    GeluTanh = "gelu_tanh", 1, Same, Float, 16, 18, "x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).";
    Relu = "relu", 1, Same, Number, 0, 1, "The larger of the element and zero; NaN stays NaN.";
    HardSwish = "hard_swish", 1, Same, Float, 2, 5, "x * clip(x/6 + 1/2, 0, 1).";
    Softplus = "softplus", 1, Same, Float, 8, 22, "log(1 + exp(x)), without overflow.";
    Mish = "mish", 1, Same, Float, 16, 35, "x * tanh(softplus(x)).";
    Floor = "floor", 1, Same, Float, 0, 1, "The largest integer not above the element.";
    Ceil = "ceil", 1, Same, Float, 0, 1, "The least integer not below the element.";
    Round = "round", 1, Same, Float, 0, 1, "The nearest integer, halves to even.";
    Trunc = "trunc", 1, Same, Float, 0, 1, "The element without its fraction.";
    IsNan = "is_nan", 1, Compare, Float, 0, 1, "Whether the element is NaN.";
    IsInf = "is_inf", 1, Compare, Float, 0, 1, "Whether the element is infinite, of either sign.";
    Not = "not", 1, Same, Bits, 0, 1, "Logical not of bool, bitwise not of integers.";
    Add = "add", 2, Same, Number, 0, 1, "Sum (integers wrap).";
    Sub = "sub", 2, Same, Number, 0, 1, "Difference (integers wrap).";
    Mul = "mul", 2, Same, Number, 0, 1, "Product (integers wrap).";
    Div = "div", 2, Same, Number, 0, 4, "Quotient; integers truncate towards zero, x/0 is 0, and the least integer over -1 wraps.";
    Pow = "pow", 2, Same, Number, 4, 30, "First operand to the power of the second; exponents 0, 1, 2 and 3 multiply.";
    Max = "max", 2, Same, Any, 0, 1, "The larger operand; NaN if either is NaN.";
    Min = "min", 2, Same, Any, 0, 1, "The smaller operand; NaN if either is NaN.";
    Rem = "rem", 2, Same, Number, 0, 10, "Remainder with the sign of the divisor (Python's %); x % 0 is 0 for integers, NaN for floats.";
    Fmod = "fmod", 2, Same, Number, 0, 10, "Remainder with the sign of the dividend (C's fmod); x % 0 as for `rem`.";
    And = "and", 2, Same, Bits, 0, 1, "Logical and of bool, bitwise and of integers.";
    Or = "or", 2, Same, Bits, 0, 1, "Logical or of bool, bitwise or of integers.";
    Xor = "xor", 2, Same, Bits, 0, 1, "Exclusive or of bool, bitwise exclusive or of integers.";
    Shl = "shl", 2, Same, Int, 0, 1, "Bits shifted left; a shift by the width or more gives 0.";
    Shr = "shr", 2, Same, Int, 0, 1, "Bits shifted right, copying the sign of signed integers; a shift by the width or more is one by width - 1 (signed) or gives 0.";
    Eq = "eq", 2, Compare, Any, 0, 1, "Whether the operands are equal.";
    Ne = "ne", 2, Compare, Any, 0, 1, "Whether the operands differ.";
    Lt = "lt", 2, Compare, Any, 0, 1, "Whether the first operand is below the second.";
    Le = "le", 2, Compare, Any, 0, 1, "Whether the first operand is not above the second.";
    Gt = "gt", 2, Compare, Any, 0, 1, "Whether the first operand is above the second.";
    Ge = "ge", 2, Compare, Any, 0, 1, "Whether the first operand is not below the second.";
    Where = "where", 3, Select, Any, 0, 1, "The second operand where the first is true, else the third.";
}

impl PointFn {
    pub fn from_name(name: &str) -> Option<PointFn> {
        PointFn::NAMED.iter().copied().find(|f| f.row().name == name)
    }

    /// The result's dtype for operands of these dtypes, or a sentence saying what was expected.
    pub fn result_dtype(self, operands: &[DType]) -> Result<DType, String> {
        let row = self.row();
        if operands.len() != row.arity {
            return Err(format!("{} takes {} operands, found {}", row.name, row.arity, operands.len()));
        }
        let values = if row.typing == Typing::Select { &operands[1..] } else { operands };
        if let Some(pair) = values.windows(2).find(|pair| pair[0] != pair[1]) {
            return Err(format!("{} expects operands of one dtype, found {} and {}", row.name, pair[0], pair[1]));
        }
        if let Some(bad) = values.iter().find(|dtype| !row.domain.holds(**dtype)) {
            return Err(format!("{} is not defined on {bad}", row.name));
        }
        if row.typing == Typing::Select && operands[0] != DType::Bool {
            return Err(format!("{} expects a bool condition, found {}", row.name, operands[0]));
        }
        Ok(match (row.typing, self) {
            (_, PointFn::Cast(to)) => to,
            (_, PointFn::Const(_, dtype)) => dtype,
            (Typing::Compare, _) => DType::Bool,
            _ => values[0],
        })
    }
}

/// A register of a [`Program`].
pub type Reg = u16;

/// One function applied to registers. Unused argument places hold 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PointInstr {
    pub function: PointFn,
    pub args: [Reg; 3],
}

/// A straight line of point functions: the body of a fused kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Program {
    /// Dtype of each operand register.
    pub inputs: Vec<DType>,
    pub code: Vec<PointInstr>,
    /// Registers that are the results, in order.
    pub outputs: Vec<Reg>,
}

/// The most registers a program may have, so that its tiles fit the first-level cache.
pub const MAX_REGISTERS: usize = 96;

impl Program {
    /// The program that returns its one operand.
    pub fn identity(dtype: DType) -> Program {
        Program { inputs: vec![dtype], code: Vec::new(), outputs: vec![0] }
    }

    pub fn is_identity(&self) -> bool {
        self.code.is_empty() && self.outputs == [0] && self.inputs.len() == 1
    }

    pub fn registers(&self) -> usize {
        self.inputs.len() + self.code.len()
    }

    /// Dtype of every register, or what is wrong with the program. The runtime validates with this before running.
    pub fn dtypes(&self) -> Result<Vec<DType>, String> {
        if self.registers() > MAX_REGISTERS {
            return Err(format!("a program has at most {MAX_REGISTERS} registers, found {}", self.registers()));
        }
        let mut dtypes = self.inputs.clone();
        for instr in &self.code {
            let arity = instr.function.row().arity;
            let mut operands = Vec::with_capacity(arity);
            for &arg in &instr.args[..arity] {
                operands.push(*dtypes.get(arg as usize).ok_or("a register is read before it is defined")?);
            }
            dtypes.push(instr.function.result_dtype(&operands)?);
        }
        if self.outputs.iter().any(|&reg| reg as usize >= dtypes.len()) {
            return Err("an output register does not exist".into());
        }
        Ok(dtypes)
    }

    /// Cost of one element, in additions.
    pub fn flops(&self) -> u64 {
        self.code.iter().map(|instr| u64::from(instr.function.row().flops)).sum()
    }
}
