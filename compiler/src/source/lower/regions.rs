//! Ops with regions: scopes, parameters, yields.
//!
//! A kernel's body sees its parameters and constants. The regions of `if`, `loop` and `scan` also see what encloses
//! them, and may write it; after the stage `functional` they do not.

use super::super::attributes::Attributes;
use super::super::syntax::{Argument, BodySyntax, InstSyntax, RegionKind, RegionSyntax};
use super::{Lowering, Poisoned};
use crate::diagnostic::Span;
use crate::ir::{BlockId, ValueId};
use crate::ops::Op;
use crate::ops::control::{RegionTypes, condition_type, index_type, without_first_axis};
use crate::types::TensorType;

/// A mistake in the values of a region, and where.
struct Misfit(Span, String);

impl<'a> Lowering<'a> {
    /// Whether `block` sees the values of `other`.
    pub(super) fn sees(&self, block: BlockId, other: BlockId) -> bool {
        let mut blocks = std::iter::successors(Some(block), |&at| {
            let (outer, visible) = self.outer[at.index()]?;
            visible.then_some(outer)
        });
        blocks.any(|at| at == other)
    }

    /// Whether `block` is `other` or lies inside it.
    pub(super) fn is_within(&self, block: BlockId, other: BlockId) -> bool {
        let mut blocks = std::iter::successors(Some(block), |&at| self.outer[at.index()].map(|outer| outer.0));
        blocks.any(|at| at == other)
    }

    fn region(&mut self, outer: BlockId, visible: bool) -> BlockId {
        let region = self.graph.add_block();
        self.outer.resize(self.graph.blocks.len(), None);
        self.outer[region.index()] = Some((outer, visible));
        region
    }

    /// An instruction with regions.
    pub(super) fn regions(
        &mut self,
        block: BlockId,
        inst: &InstSyntax,
        regions: &RegionSyntax,
    ) -> Result<Vec<ValueId>, Poisoned> {
        let name = inst.op.text.as_str();
        let operands = self.operands(block, name, &inst.operands);
        let attributes = self.region_attributes(inst, regions.kind);
        let header = match &operands {
            Ok(operands) => self.header(inst, regions, operands),
            Err(Poisoned) => Err(Poisoned),
        };
        let mut yields: Vec<Result<Vec<ValueId>, Poisoned>> = Vec::new();
        let mut blocks = Vec::new();
        for (at, body) in regions.bodies.iter().enumerate() {
            let region = self.region(block, regions.kind != RegionKind::Kernel);
            let params = header.as_ref().map(Vec::as_slice).map_err(|_| Poisoned);
            if at > 0 && params.as_ref().is_ok_and(|params| params.len() != body.params.len()) {
                let expected = inst.operands.len() - 1;
                let span = body.params.first().map_or(inst.op.span, |param| param.span);
                self.note(span, format!("both branches have the same parameters, {expected} of them"));
            }
            yields.push(self.body(regions.kind, region, params, body));
            blocks.push(region);
        }
        let yields: Vec<Vec<ValueId>> = yields.into_iter().collect::<Result<_, _>>()?;
        let (operands, attributes) = (operands?, attributes?);
        header?;
        let made = self.op(inst, regions, &operands, &yields, &attributes).and_then(|op| {
            let types = self.types(&operands);
            let results = op.infer(&types).map_err(|why| Misfit(inst.span, why))?;
            for (region, expected) in op.regions(&types, &results).iter().enumerate() {
                self.fits(name, &regions.bodies[region], &yields[region], expected)?;
            }
            Ok((op, results))
        });
        let (op, results) = match made {
            Ok(made) => made,
            Err(Misfit(span, why)) => {
                self.note(span, why);
                return Err(Poisoned);
            }
        };
        for (&region, yields) in blocks.iter().zip(yields) {
            self.graph.blocks[region.index()].yields = yields;
        }
        let location = self.location(inst);
        let made = self.graph.append_typed(block, op, &operands, results, location);
        self.graph.insts[made.index()].regions = blocks;
        if let Some(tie) = attributes.read::<i64>("tie").ok().flatten() {
            self.graph.insts[made.index()].tie = u32::try_from(tie).ok();
        }
        Ok(self.graph.inst(made).results.clone())
    }

    /// Attributes in the text: a scan's number of trips, a kernel's tie.
    fn region_attributes(&mut self, inst: &InstSyntax, kind: RegionKind) -> Result<Attributes, Poisoned> {
        let attributes = self.attributes(&inst.attributes)?;
        let known = |found: &str| found == "tie" || (kind == RegionKind::Scan && found == "trips");
        if let Some((found, span)) = attributes.iter().find(|(found, _)| !known(found)) {
            let message = format!("{} has no attribute `{found}`", inst.op.text);
            self.note(span, message);
            return Err(Poisoned);
        }
        Ok(attributes)
    }

    /// Types of the parameters, from those of the operands.
    fn header(
        &mut self,
        inst: &InstSyntax,
        regions: &RegionSyntax,
        operands: &[ValueId],
    ) -> Result<Vec<TensorType>, Poisoned> {
        let types = self.types(operands);
        let mut misfit = None;
        let mut expect = |place: usize, what: &str, expected: TensorType| {
            if types[place] != expected && misfit.is_none() {
                misfit = Some((inst.operands[place].span(), format!("{what} is {expected}, found {}", types[place])));
            }
        };
        let params = match regions.kind {
            RegionKind::Kernel => types.clone(),
            RegionKind::If => {
                expect(0, "the condition of an if", condition_type());
                types[1..].to_vec()
            }
            RegionKind::Loop => {
                expect(0, "the trip count of a loop", index_type());
                expect(1, "the condition of a loop", condition_type());
                [&[index_type()], &types[2..]].concat()
            }
            RegionKind::Scan => {
                let (inits, rest) = types.split_at(regions.carried);
                let (sequences, args) = rest.split_at(regions.sequences);
                if let Some(at) = sequences.iter().position(|sequence| sequence.rank() == 0) {
                    let span = inst.operands[regions.carried + at].span();
                    misfit = Some((span, format!("a scan runs over axis 0, found {}", sequences[at])));
                }
                let slices: Vec<TensorType> = sequences.iter().map(without_first_axis).collect();
                [&[index_type()], inits, &slices, args].concat()
            }
        };
        match misfit {
            None => Ok(params),
            Some((span, why)) => {
                self.note(span, why);
                Err(Poisoned)
            }
        }
    }

    /// What a region yields. Without its parameters' types its instructions are still looked at.
    fn body(
        &mut self,
        kind: RegionKind,
        region: BlockId,
        params: Result<&[TensorType], Poisoned>,
        body: &BodySyntax,
    ) -> Result<Vec<ValueId>, Poisoned> {
        for (place, param) in body.params.iter().enumerate() {
            let ty = params.as_ref().ok().and_then(|params| params.get(place)).cloned();
            let value = ty.map(|ty| self.graph.add_param(region, ty, ""));
            self.define(region, param, value);
        }
        for inst in &body.insts {
            self.inst(region, inst);
        }
        // Numbers that a kernel yields have the dtype of its other yields; elsewhere each stands for itself.
        self.operands(region, if kind == RegionKind::Kernel { "kernel" } else { "yield" }, &body.yields)
    }

    /// The op with the attributes that its operands and yields give.
    fn op(
        &self,
        inst: &InstSyntax,
        regions: &RegionSyntax,
        operands: &[ValueId],
        yields: &[Vec<ValueId>],
        attributes: &Attributes,
    ) -> Result<Op, Misfit> {
        let declared = |values: &[ValueId]| {
            let types = values.iter().map(|&value| self.graph.ty(value));
            types.map(|ty| (ty.dtype, ty.shape.clone())).unzip()
        };
        let (carried, sequences) = (regions.carried, regions.sequences);
        match regions.kind {
            RegionKind::Kernel => {
                let (results, shapes) = declared(&yields[0]);
                Ok(Op::Kernel { results, shapes })
            }
            RegionKind::If => {
                let (results, shapes) = declared(&yields[0]);
                Ok(Op::If { results, shapes })
            }
            RegionKind::Loop => Ok(Op::Loop { carried }),
            RegionKind::Scan => {
                let sequence = operands.get(carried).filter(|_| sequences > 0);
                let extent = sequence.and_then(|&sequence| self.graph.ty(sequence).shape.first().copied());
                let trips = match attributes.get("trips") {
                    None => extent,
                    Some(_) => Some(
                        attributes
                            .require::<usize>("trips")
                            .map_err(|mistake| Misfit(mistake.span.unwrap_or(inst.span), mistake.message))?,
                    ),
                };
                let missing = "a scan over no sequence says how many trips it has: `{trips=8}`";
                let trips = trips.ok_or_else(|| Misfit(inst.span, missing.into()))?;
                let (results, shapes) = declared(yields[0].get(carried..).unwrap_or_default());
                Ok(Op::Scan { trips, carried, sequences, results, shapes })
            }
        }
    }

    fn types(&self, values: &[ValueId]) -> Vec<TensorType> {
        values.iter().map(|&value| self.graph.ty(value).clone()).collect()
    }

    /// Whether a region yields what is expected of it.
    fn fits(&self, op: &str, body: &BodySyntax, yields: &[ValueId], expected: &RegionTypes) -> Result<(), Misfit> {
        let types = |values: &[TensorType]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if yields.len() != expected.yields.len() {
            let span = body.yields.first().map_or(body.end, Argument::span);
            let message = format!(
                "this region of {op} yields {}, found {}",
                if expected.yields.is_empty() { "nothing".to_string() } else { types(&expected.yields) },
                if yields.is_empty() { "nothing".to_string() } else { types(&self.types(yields)) }
            );
            return Err(Misfit(span, message));
        }
        for ((&value, expected), argument) in yields.iter().zip(&expected.yields).zip(&body.yields) {
            let found = self.graph.ty(value);
            if found != expected {
                let message = format!("this region of {op} yields {expected} here, found {found}");
                return Err(Misfit(argument.span(), message));
            }
        }
        Ok(())
    }
}
