//! Ops that stand for others, so that programs read as their PyTorch originals.
//!
//! [`RENAMED`] are other names of one op; a row of [`SUGAR`] writes several instructions. Neither exists after parsing:
//! the printer shows what they stand for. A row marked `writes` has a mutating form, which computes the result and
//! copies it over operand 0.

use super::attributes::{Attributes, Mistake};
use crate::ir::{BlockId, Constant, Graph, InstId, Location, ValueId};
use crate::ops::attr::Float;
use crate::ops::{CumulativeFn, Op, PointFn, PoolFn, ReduceFn};
use crate::types::{DType, TensorType};

/// Other names of ops that take the same operands and attributes.
pub const RENAMED: &[(&str, &str)] = &[
    ("cat", "concat"),
    ("clone", "contiguous"),
    ("conv1d", "conv"),
    ("conv2d", "conv"),
    ("conv3d", "conv"),
    ("mm", "matmul"),
    ("bmm", "matmul"),
    ("maximum", "max"),
    ("minimum", "min"),
    ("embedding", "gather"),
    ("index_select", "gather"),
    ("to", "cast"),
];

/// Where the instructions of a row go.
pub struct Emit<'a> {
    pub graph: &'a mut Graph,
    pub block: BlockId,
    pub location: Location,
    /// Every instruction made, in order.
    pub made: Vec<InstId>,
}

impl Emit<'_> {
    fn ty(&self, value: ValueId) -> &TensorType {
        self.graph.ty(value)
    }

    fn all(&mut self, op: Op, operands: &[ValueId]) -> Built {
        let inst = self.graph.append(self.block, op, operands, self.location.clone())?;
        self.made.push(inst);
        Ok(self.graph.inst(inst).results.clone())
    }

    fn one(&mut self, op: Op, operands: &[ValueId]) -> Result<ValueId, Mistake> {
        Ok(self.all(op, operands)?[0])
    }

    fn point(&mut self, function: PointFn, operands: &[ValueId]) -> Result<ValueId, Mistake> {
        self.one(Op::Point(function), operands)
    }

    fn scalar(&mut self, dtype: DType, value: f64) -> ValueId {
        let bits = situ_runtime::scalar::cast(DType::F64, dtype, value.to_bits());
        self.graph.add_constant(Constant::scalar(dtype, bits))
    }

    /// A scalar of the dtype of `x`.
    fn like(&mut self, x: ValueId, value: f64) -> ValueId {
        let dtype = self.ty(x).dtype;
        self.scalar(dtype, value)
    }

    /// The mutating form of a row: `value` written over `destination`.
    pub fn copy_over(&mut self, destination: ValueId, value: ValueId) -> Result<ValueId, Mistake> {
        let result = self.one(Op::Copy {}, &[destination, value])?;
        if let Some(inst) = self.graph.producer(result) {
            self.graph.insts[inst.index()].mutates = true;
        }
        Ok(result)
    }
}

/// The results of a row.
pub type Built = Result<Vec<ValueId>, Mistake>;

/// An op that stands for others.
pub struct Sugar {
    pub name: &'static str,
    pub arity: (usize, usize),
    /// Names of its attributes.
    pub attributes: &'static [&'static str],
    /// Whether the mutating form exists.
    pub writes: bool,
    /// What it stands for, in one line.
    pub doc: &'static str,
    pub build: fn(&mut Emit<'_>, &[ValueId], &Attributes) -> Built,
}

/// The row called `name`.
pub fn find(name: &str) -> Option<&'static Sugar> {
    SUGAR.iter().find(|row| row.name == name)
}

macro_rules! sugar {
    ($($name:literal ($least:literal, $most:literal) [$($attribute:literal),*] $writes:literal $doc:literal |$e:ident, $x:ident, $a:ident| $build:expr;)*) => {
        /// All rows.
        pub const SUGAR: &[Sugar] = &[$(Sugar {
            name: $name,
            arity: ($least, $most),
            attributes: &[$($attribute),*],
            writes: $writes,
            doc: $doc,
            build: |$e, $x, $a| { let _ = $a; $build },
        }),*];
    };
}

sugar! {
    "transpose" (1, 1) ["axes"] false "`permute` that swaps the two `axes`" |e, x, a| {
        let rank = e.ty(x[0]).rank();
        let swapped = a.axes("axes", rank)?;
        let Some([first, second]) = swapped.as_deref() else {
            return Err(a.wrong("axes", "transpose swaps two axes: write `{axes=[0, 1]}`"));
        };
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(*first, *second);
        Ok(vec![e.one(Op::Permute { axes: order }, x)?])
    };
    "t" (1, 1) [] false "`permute` that swaps the axes of a matrix" |e, x, a| {
        let order = (0..e.ty(x[0]).rank()).rev().collect::<Vec<usize>>();
        if order.len() > 2 {
            return Err(format!("t transposes a matrix, found {}", e.ty(x[0])).into());
        }
        Ok(vec![e.one(Op::Permute { axes: order }, x)?])
    };
    "movedim" (1, 1) ["from", "to"] false "`permute` that moves the axes `from` to the places `to`; the others keep their order" |e, x, a| {
        let rank = e.ty(x[0]).rank();
        let (Some(from), Some(to)) = (a.axes("from", rank)?, a.axes("to", rank)?) else {
            return Err("movedim moves axes to places: write `{from=0, to=1}`".to_string().into());
        };
        let distinct = |axes: &[usize]| (0..axes.len()).all(|i| !axes[..i].contains(&axes[i]));
        if from.len() != to.len() || !distinct(&from) || !distinct(&to) {
            return Err(a.wrong("to", format!("movedim moves as many axes as there are places, each once, found {from:?} and {to:?}")));
        }
        let mut rest = (0..rank).filter(|axis| !from.contains(axis));
        let place = |at: usize| to.iter().position(|&place| place == at).map(|moved| from[moved]);
        let order: Vec<usize> = (0..rank).filter_map(|at| place(at).or_else(|| rest.next())).collect();
        Ok(vec![e.one(Op::Permute { axes: order }, x)?])
    };
    "flip" (1, 1) ["axes"] false "a copy with the order of `axes` reversed: `slice` with step -1, then `contiguous`" |e, x, a| {
        let ty = e.ty(x[0]).clone();
        let axes = a.axes("axes", ty.rank())?.unwrap_or_else(|| (0..ty.rank()).collect());
        let mut value = x[0];
        for axis in axes {
            value = e.one(Op::Slice { axis, start: ty.shape[axis] as i64 - 1, end: -1, step: -1 }, &[value])?;
        }
        Ok(vec![e.one(Op::Contiguous {}, &[value])?])
    };
    "flatten" (1, 1) ["start", "end"] false "`reshape` that joins the axes from `start` (0) to `end` (-1), both included" |e, x, a| {
        let ty = e.ty(x[0]).clone();
        if ty.rank() == 0 {
            return Ok(vec![e.one(Op::Reshape { shape: vec![1] }, x)?]);
        }
        let start = a.axis("start", ty.rank())?.unwrap_or(0);
        let end = a.axis("end", ty.rank())?.unwrap_or(ty.rank() - 1);
        if start > end {
            return Err(a.wrong("start", format!("flatten joins axes {start} to {end} of {ty}")));
        }
        // Beside an empty axis the others may multiply to anything.
        let joined = crate::types::elements(&ty.shape[start..=end]);
        let joined = joined.ok_or_else(|| Mistake::from(format!("{ty} is too large to flatten")))?;
        let shape = [&ty.shape[..start], &[joined], &ty.shape[end + 1..]].concat();
        Ok(vec![e.one(Op::Reshape { shape }, x)?])
    };
    "sum" (1, 1) ["axes", "keepdim"] false "`reduce` with `function=sum`; all axes unless `axes` is given" |e, x, a| reduce(e, x, a, ReduceFn::Sum);
    "mean" (1, 1) ["axes", "keepdim"] false "`reduce` with `function=mean`" |e, x, a| reduce(e, x, a, ReduceFn::Mean);
    "amax" (1, 1) ["axes", "keepdim"] false "`reduce` with `function=amax`" |e, x, a| reduce(e, x, a, ReduceFn::Max);
    "amin" (1, 1) ["axes", "keepdim"] false "`reduce` with `function=amin`" |e, x, a| reduce(e, x, a, ReduceFn::Min);
    "prod" (1, 1) ["axes", "keepdim"] false "`reduce` with `function=prod`" |e, x, a| reduce(e, x, a, ReduceFn::Prod);
    "argmax" (1, 1) ["axis", "keepdim"] false "`arg_reduce` with `largest=true`" |e, x, a| arg_reduce(e, x, a, true);
    "argmin" (1, 1) ["axis", "keepdim"] false "`arg_reduce` with `largest=false`" |e, x, a| arg_reduce(e, x, a, false);
    "cumsum" (1, 1) ["axis"] false "`cumulative` with `function=sum`" |e, x, a| cumulative(e, x, a, CumulativeFn::Sum);
    "cumprod" (1, 1) ["axis"] false "`cumulative` with `function=prod`" |e, x, a| cumulative(e, x, a, CumulativeFn::Prod);
    "max_pool" (1, 1) ["kernel", "strides", "pads", "dilations"] false "`pool` with `function=max`; `strides` are the kernel unless given" |e, x, a| pool(e, x, a, PoolFn::Max);
    "avg_pool" (1, 1) ["kernel", "strides", "pads", "count_padding"] false "`pool` with the mean, padding counted as zeros unless `count_padding=false`" |e, x, a| {
        let count_padding = a.read("count_padding")?.unwrap_or(true);
        pool(e, x, a, PoolFn::Average { count_padding })
    };
    "global_avg_pool" (1, 1) [] false "the mean over the spatial axes, which become 1" |e, x, a| {
        let axes = (2..e.ty(x[0]).rank()).collect();
        Ok(vec![e.one(Op::Reduce { function: ReduceFn::Mean, axes, keepdim: true }, x)?])
    };
    "stack" (1, 4096) ["axis"] false "operands side by side along a new `axis` (0): `unsqueeze` and `concat`" |e, x, a| {
        let axis = a.axis("axis", e.ty(x[0]).rank() + 1)?.unwrap_or(0);
        let parts: Result<Vec<ValueId>, Mistake> = x.iter().map(|&part| e.one(Op::Unsqueeze { axes: vec![axis] }, &[part])).collect();
        Ok(vec![e.one(Op::Concat { axis }, &parts?)?])
    };
    "chunk" (1, 1) ["chunks", "axis"] false "`split` into `chunks` parts, the last ones shorter if need be" |e, x, a| {
        let ty = e.ty(x[0]).clone();
        let axis = a.axis("axis", ty.rank())?.unwrap_or(0);
        let chunks = a.require::<usize>("chunks")?;
        let extent = ty.shape.get(axis).copied().unwrap_or(0);
        if chunks == 0 || chunks > 4096 || extent == 0 {
            return Err(a.wrong("chunks", format!("axis {axis} of {ty} does not split into {chunks} chunks")));
        }
        let size = extent.div_ceil(chunks);
        let sizes: Vec<usize> = (0..extent).step_by(size).map(|start| size.min(extent - start)).collect();
        e.all(Op::Split { axis, sizes }, x)
    };
    "narrow" (1, 1) ["axis", "start", "length"] false "`slice` of `length` elements from `start`" |e, x, a| {
        let axis = a.axis("axis", e.ty(x[0]).rank())?.unwrap_or(0);
        let (start, length) = (a.require::<usize>("start")?, a.require::<usize>("length")?);
        let end = start.checked_add(length).and_then(|end| i64::try_from(end).ok());
        let end = end.ok_or_else(|| a.wrong("length", "the slice is too long"))?;
        Ok(vec![e.one(Op::Slice { axis, start: start as i64, end, step: 1 }, x)?])
    };
    "clamp" (1, 1) ["min", "max"] true "`max` with the bound `min`, then `min` with the bound `max`; either may be left out" |e, x, a| {
        clamp(e, x[0], a.read::<Float>("min")?.map(Float::get), a.read::<Float>("max")?.map(Float::get))
    };
    "relu6" (1, 1) [] true "`clamp` to 0 and 6" |e, x, a| clamp(e, x[0], Some(0.0), Some(6.0));
    "hard_sigmoid" (1, 1) [] true "`clamp(x / 6 + 1/2)` to 0 and 1" |e, x, a| {
        let (six, half) = (e.like(x[0], 6.0), e.like(x[0], 0.5));
        let scaled = e.point(PointFn::Div, &[x[0], six])?;
        let shifted = e.point(PointFn::Add, &[scaled, half])?;
        clamp(e, shifted, Some(0.0), Some(1.0))
    };
    "leaky_relu" (1, 1) ["slope"] true "`x` where it is positive, else `slope` (0.01) times `x`" |e, x, a| {
        let slope = a.read::<Float>("slope")?.map_or(0.01, Float::get);
        let (zero, slope) = (e.like(x[0], 0.0), e.like(x[0], slope));
        let positive = e.point(PointFn::Gt, &[x[0], zero])?;
        let scaled = e.point(PointFn::Mul, &[x[0], slope])?;
        Ok(vec![e.point(PointFn::Where, &[positive, x[0], scaled])?])
    };
    "square" (1, 1) [] true "`mul` of the operand with itself" |e, x, a| Ok(vec![e.point(PointFn::Mul, &[x[0], x[0]])?]);
    "masked_fill" (3, 3) [] true "operand 2 where the mask in operand 1 is true, else operand 0" |e, x, a| {
        Ok(vec![e.point(PointFn::Where, &[x[1], x[2], x[0]])?])
    };
    "addmm" (3, 3) [] false "operand 0 plus the matrix product of operands 1 and 2" |e, x, a| {
        let product = e.one(Op::MatMul {}, &x[1..])?;
        Ok(vec![e.point(PointFn::Add, &[product, x[0]])?])
    };
    "addcmul" (3, 3) ["value"] true "operand 0 plus `value` (1) times the product of operands 1 and 2" |e, x, a| scaled_sum(e, x, a, PointFn::Mul);
    "addcdiv" (3, 3) ["value"] true "operand 0 plus `value` (1) times the quotient of operands 1 and 2" |e, x, a| scaled_sum(e, x, a, PointFn::Div);
    "lerp" (3, 3) [] true "operand 0 plus operand 2 times (operand 1 minus operand 0)" |e, x, a| {
        let way = e.point(PointFn::Sub, &[x[1], x[0]])?;
        let part = e.point(PointFn::Mul, &[way, x[2]])?;
        Ok(vec![e.point(PointFn::Add, &[x[0], part])?])
    };
    "fill" (2, 2) [] true "operand 1 in every place of operand 0; only `fill_` exists in PyTorch, `fill` gives a new tensor" |e, x, a| {
        let shape = e.ty(x[0]).shape.clone();
        let filled = e.one(Op::Expand { shape }, &x[1..])?;
        Ok(vec![e.one(Op::Contiguous {}, &[filled])?])
    };
    "zero" (1, 1) [] true "zero in every place of the operand" |e, x, a| {
        let shape = e.ty(x[0]).shape.clone();
        let zero = e.like(x[0], 0.0);
        let filled = e.one(Op::Expand { shape }, &[zero])?;
        Ok(vec![e.one(Op::Contiguous {}, &[filled])?])
    };
}

fn reduce(e: &mut Emit<'_>, x: &[ValueId], a: &Attributes, function: ReduceFn) -> Built {
    let rank = e.ty(x[0]).rank();
    let axes = a.axes("axes", rank)?.unwrap_or_else(|| (0..rank).collect());
    let keepdim = a.read("keepdim")?.unwrap_or(false);
    Ok(vec![e.one(Op::Reduce { function, axes, keepdim }, x)?])
}

fn arg_reduce(e: &mut Emit<'_>, x: &[ValueId], a: &Attributes, largest: bool) -> Built {
    let axis = a.axis("axis", e.ty(x[0]).rank())?;
    let axis = axis.ok_or_else(|| Mistake::from("the attribute axis is missing (an integer)".to_string()))?;
    let keepdim = a.read("keepdim")?.unwrap_or(false);
    Ok(vec![e.one(Op::ArgReduce { largest, axis, keepdim, last: false }, x)?])
}

fn cumulative(e: &mut Emit<'_>, x: &[ValueId], a: &Attributes, function: CumulativeFn) -> Built {
    let axis = a.axis("axis", e.ty(x[0]).rank())?.unwrap_or(0);
    Ok(vec![e.one(Op::Cumulative { function, axis, exclusive: false, reverse: false }, x)?])
}

fn pool(e: &mut Emit<'_>, x: &[ValueId], a: &Attributes, function: PoolFn) -> Built {
    let spatial = e.ty(x[0]).rank().saturating_sub(2);
    let kernel = a.counts("kernel", spatial)?;
    let kernel =
        kernel.ok_or_else(|| Mistake::from("the attribute kernel is missing (a list of integers)".to_string()))?;
    let strides = a.counts("strides", spatial)?.unwrap_or_else(|| kernel.clone());
    let pads = a.counts("pads", spatial)?.unwrap_or_else(|| vec![0; spatial]);
    let dilations = a.counts("dilations", spatial)?.unwrap_or_else(|| vec![1; spatial]);
    Ok(vec![e.one(Op::Pool { function, kernel, strides, pads_begin: pads.clone(), pads_end: pads, dilations }, x)?])
}

fn clamp(e: &mut Emit<'_>, x: ValueId, min: Option<f64>, max: Option<f64>) -> Built {
    if min.is_none() && max.is_none() {
        return Err("clamp has a bound `min`, `max` or both".to_string().into());
    }
    let mut value = x;
    for (bound, function) in [(min, PointFn::Max), (max, PointFn::Min)] {
        if let Some(bound) = bound {
            let bound = e.like(x, bound);
            value = e.point(function, &[value, bound])?;
        }
    }
    Ok(vec![value])
}

fn scaled_sum(e: &mut Emit<'_>, x: &[ValueId], a: &Attributes, function: PointFn) -> Built {
    let mut term = e.point(function, &x[1..])?;
    if let Some(value) = a.read::<Float>("value")? {
        let value = e.like(x[0], value.get());
        term = e.point(PointFn::Mul, &[term, value])?;
    }
    Ok(vec![e.point(PointFn::Add, &[x[0], term])?])
}
