//! `if` in functional form.
//!
//! Both regions are walked from the state before the `if`. A storage of outside that either writes is a result: its
//! version after the region. A result of the source is a value, or (where its identity matters) what both regions say it
//! refers to: alternatives under the condition and under its opposite, and conditions that a region computed are results.

use std::collections::{BTreeMap, BTreeSet};

use super::Stop;
use super::chain::{Chains, fault};
use super::escape::Contents;
use super::handle::{Alternative, Cond, Handle, Root};
use crate::ir::{BlockId, Constant, ConstantData, InstId, ValueId};
use crate::ops::{Op, PointFn};
use crate::types::{DType, TensorType};

/// What a region did.
struct Outcome {
    block: BlockId,
    /// Versions of the storages of outside.
    state: Contents,
    /// Results that are values, by place.
    values: BTreeMap<usize, ValueId>,
    /// Results that refer to something, by place.
    handles: BTreeMap<usize, Handle>,
    /// Slots for storages made inside.
    contents: Contents,
}

impl Chains<'_> {
    pub fn branch(&mut self, id: InstId) -> Result<(), Stop> {
        let source = self.source;
        let inst = source.inst(id);
        let location = self.location.clone();
        let cond = self.read(inst.operands[0])?;
        let before = self.state.clone();
        let mut outcomes: Vec<Outcome> = Vec::new();
        for &region in &inst.regions {
            outcomes.push(self.outcome(id, region)?);
            self.state.clone_from(&before);
        }
        self.location = location.clone();
        let roots = |contents: fn(&Outcome) -> &Contents| -> BTreeSet<Root> {
            outcomes.iter().flat_map(|outcome| contents(outcome).keys().cloned()).collect()
        };
        let (changed, slots) = (roots(|outcome| &outcome.state), roots(|outcome| &outcome.contents));
        // Where only one region wrote a storage, the other yields what it was before.
        let mut untouched = Contents::new();
        for root in &changed {
            untouched.insert(root.clone(), self.base(root)?);
        }
        let merged = self.merge(cond, &outcomes)?;

        let mut yields: Vec<Vec<ValueId>> = Vec::new();
        for (at, outcome) in outcomes.iter().enumerate() {
            let mut own: Vec<ValueId> = outcome.values.values().copied().collect();
            for root in &changed {
                own.push(outcome.state.get(root).copied().unwrap_or(untouched[root]));
            }
            for slot in &slots {
                own.push(match outcome.contents.get(slot) {
                    Some(&content) => content,
                    None => self.nothing(slot),
                });
            }
            own.extend(merged.yields[at].iter().copied());
            yields.push(own);
        }
        let results = self.emit_if(cond, &outcomes, yields)?;
        self.location = location;

        let mut results = results.into_iter();
        let mut next = || results.next().ok_or_else(|| fault("an if lacks a result"));
        for &place in outcomes[0].values.keys() {
            let (result, made) = (inst.results[place], next()?);
            self.name(made, result);
            self.know(result, 0, made);
            self.make(Root::Value(result));
        }
        for root in &changed {
            let made = next()?;
            if let Root::Value(value) = root {
                self.name(made, *value);
            }
            self.change(root, made, None);
        }
        for slot in &slots {
            let made = next()?;
            self.change(slot, made, None);
            self.make(slot.clone());
        }
        let extra: Vec<ValueId> = results.collect();
        for (place, handle) in merged.handles {
            let handle = handle.into_iter().map(|found| found.resolve(&extra)).collect();
            let handle = self.simplify(handle)?;
            self.handles.insert(inst.results[place], handle);
        }
        Ok(())
    }

    fn outcome(&mut self, id: InstId, region: BlockId) -> Result<Outcome, Stop> {
        let source = self.source;
        let inst = source.inst(id);
        let before = self.state.clone();
        let journal = self.journal();
        let outer = self.enter();
        let block = self.block;
        let params = &source.block(region).params;
        self.passed.extend(params.iter().copied().zip(inst.operands[1..].iter().copied()));
        self.insts(region)?;
        let (mut values, mut handles) = (BTreeMap::new(), BTreeMap::new());
        for (place, &value) in source.block(region).yields.iter().enumerate() {
            if self.identity.matters(inst.results[place]) {
                handles.insert(place, self.handle(value)?);
            } else {
                values.insert(place, self.read(value)?);
            }
        }
        let inner = self.made.last().cloned().unwrap_or_default();
        let (handles, contents) = self.escape(id, &handles, &inner)?;
        self.leave(outer, journal);
        let changed = |root: &Root, version: &ValueId| !inner.contains(root) && before.get(root) != Some(version);
        let state = self.state.iter().filter(|(root, version)| changed(root, version));
        let state = state.map(|(root, &version)| (root.clone(), version)).collect();
        Ok(Outcome { block, state, values, handles, contents })
    }

    /// Anything, for a slot that nothing refers to.
    pub fn nothing(&mut self, slot: &Root) -> ValueId {
        let ty = self.kind(slot).stored();
        self.graph.add_constant(Constant { name: String::new(), ty, data: ConstantData::Splat(0) })
    }

    /// The alternatives of the results, from those of both regions, and what the regions yield for them.
    fn merge(&mut self, cond: ValueId, outcomes: &[Outcome]) -> Result<Merged, Stop> {
        let mut merged = Merged { yields: vec![Vec::new(); outcomes.len()], handles: Vec::new() };
        let places: Vec<usize> = outcomes[0].handles.keys().copied().collect();
        let mut opposite = None;
        for place in places {
            let mut keys: Handle = Vec::new();
            for alternative in outcomes.iter().flat_map(|outcome| &outcome.handles[&place]) {
                if keys.iter().all(|key| !key.agrees(alternative)) {
                    keys.push(alternative.clone());
                }
            }
            let mut found = Vec::new();
            for key in keys {
                let own = |outcome: &Outcome| -> Option<Alternative> {
                    outcome.handles[&place].iter().find(|alternative| alternative.agrees(&key)).cloned()
                };
                let (then, otherwise) = (own(&outcomes[0]), own(&outcomes[1]));
                let conds = (then.as_ref().map(|found| found.cond), otherwise.as_ref().map(|found| found.cond));
                let when = match conds {
                    (Some(Cond::Always), Some(Cond::Always)) => Merge::Known(Cond::Always),
                    (Some(Cond::Always), None) => Merge::Known(Cond::When(cond)),
                    (None, Some(Cond::Always)) => {
                        let known = match opposite {
                            Some(known) => known,
                            None => *opposite.insert(self.one(Op::Point(PointFn::Not), &[cond])?),
                        };
                        Merge::Known(Cond::When(known))
                    }
                    (then, otherwise) => {
                        let pair = [self.truth(then), self.truth(otherwise)];
                        merged.push(pair)
                    }
                };
                let mut rows = Vec::new();
                for hole in 0..key.rows().count() {
                    let row = |of: &Option<Alternative>| of.as_ref().and_then(|found| found.rows().nth(hole));
                    let pair = match (row(&then), row(&otherwise)) {
                        (Some(then), Some(otherwise)) => [then, otherwise],
                        (Some(row), None) => [row, self.scalar(DType::I64, 0)],
                        (None, Some(row)) => [self.scalar(DType::I64, 0), row],
                        (None, None) => return Err(fault("an alternative that neither region has")),
                    };
                    rows.push(if pair[0] == pair[1] { Merge::Same(pair[0]) } else { merged.push(pair) });
                }
                found.push(Found { key, when, rows });
            }
            merged.handles.push((place, found));
        }
        Ok(merged)
    }

    fn emit_if(
        &mut self,
        cond: ValueId,
        outcomes: &[Outcome],
        yields: Vec<Vec<ValueId>>,
    ) -> Result<Vec<ValueId>, Stop> {
        let types: Vec<TensorType> = yields[0].iter().map(|&value| self.graph.ty(value).clone()).collect();
        if types.is_empty() {
            return Ok(Vec::new());
        }
        for (outcome, yields) in outcomes.iter().zip(yields) {
            self.graph.blocks[outcome.block.index()].yields = yields;
        }
        let (results, shapes) = types.iter().map(|ty| (ty.dtype, ty.shape.clone())).unzip();
        let regions = outcomes.iter().map(|outcome| outcome.block).collect();
        self.emit_regions(Op::If { results, shapes }, &[cond], regions)
    }

    /// An op with regions that are there, where we are.
    pub fn emit_regions(&mut self, op: Op, operands: &[ValueId], regions: Vec<BlockId>) -> Result<Vec<ValueId>, Stop> {
        let location = self.location.clone();
        let made = self.graph.append(self.block, op, operands, location).map_err(fault)?;
        self.graph.insts[made.index()].regions = regions;
        Ok(self.graph.inst(made).results.clone())
    }
}

/// What the results refer to, and what the regions yield to say so.
struct Merged {
    yields: Vec<Vec<ValueId>>,
    handles: Vec<(usize, Vec<Found>)>,
}

impl Merged {
    fn push(&mut self, pair: [ValueId; 2]) -> Merge {
        let at = self.yields[0].len();
        self.yields.iter_mut().zip(pair).for_each(|(yields, value)| yields.push(value));
        Merge::Result(at)
    }
}

/// A condition or an index of a row, behind the `if`.
enum Merge {
    Known(Cond),
    Same(ValueId),
    /// A result, counted from the first that [`Merged`] adds.
    Result(usize),
}

/// An alternative behind the `if`.
struct Found {
    key: Alternative,
    when: Merge,
    rows: Vec<Merge>,
}

impl Found {
    fn resolve(self, results: &[ValueId]) -> Alternative {
        let value = |merge: &Merge| match merge {
            Merge::Known(Cond::When(value)) | Merge::Same(value) => Some(*value),
            Merge::Known(Cond::Always) => None,
            Merge::Result(at) => results.get(*at).copied(),
        };
        let rows: Vec<ValueId> = self.rows.iter().filter_map(value).collect();
        let mut alternative = self.key.with_rows(&rows);
        alternative.cond = value(&self.when).map_or(Cond::Always, Cond::When);
        alternative
    }
}
