//! Graphs and their arenas.

use super::constant::Constant;
use crate::ops::Op;
use crate::types::{InputMode, Layout, MAX_ELEMENTS, TensorType};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// Position in the arena.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(/** A value. Prints as `%4` unless it has a name. */ ValueId);
id!(/** An instruction. */ InstId);
id!(/** A block. */ BlockId);
id!(/** A constant. */ ConstId);

/// Where in the user's source something stands. `line` and `column` count from 1; 0 means unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Location {
    /// What a person looks for: a line of text, a node's name, a Python file and line.
    pub text: String,
    pub line: u32,
    pub column: u32,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.text.as_str(), self.line) {
            ("", 0) => f.write_str("no line"),
            (text, 0) => f.write_str(text),
            (_, line) => write!(f, "line {line}"),
        }
    }
}

/// How a value comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Def {
    /// Graph input, by position.
    Input(u32),
    Constant(ConstId),
    /// Parameter of a block, by position.
    Param(BlockId, u32),
    /// Result of an instruction, by position.
    Result(InstId, u32),
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub ty: TensorType,
    pub def: Def,
    /// The name in the text, without `%`; unique in the graph; empty: the number of the value.
    pub name: String,
}

/// An instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Inst {
    pub op: Op,
    /// Whether this is the mutating form: result 0 is written into the storage of operand 0.
    pub mutates: bool,
    pub operands: Vec<ValueId>,
    pub results: Vec<ValueId>,
    /// Bodies, for ops that have them.
    pub regions: Vec<BlockId>,
    pub location: Location,
    /// In a rewritten graph: the operand whose bytes result 0 asks to take. A request; `place` grants or refuses it.
    pub tie: Option<u32>,
    /// In a rewritten graph: rules that led from the source to this instruction, in order.
    pub rules: Vec<&'static str>,
    /// In a rewritten graph: where in the rewriter's record it was made, as stretch and step; several for what was merged,
    /// none for what stands in regions of its own.
    pub origins: Vec<(u32, u32)>,
}

/// A list of instructions with parameters and yielded values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    pub params: Vec<ValueId>,
    pub insts: Vec<InstId>,
    pub yields: Vec<ValueId>,
}

/// A graph input.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: String,
    pub mode: InputMode,
    pub value: ValueId,
    /// What the bytes of an `inout` input hold before the first run, where the program comes with its state.
    pub initial: Option<Constant>,
    /// Names under which parts of an `inout` input's bytes are written and read as state: several buffers of one storage.
    pub views: Vec<StateView>,
}

/// A named part of the bytes of an `inout` input, in its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateView {
    pub name: String,
    pub layout: Layout,
}

impl StateView {
    /// Whether it is a part of the bytes of `storage`, or what is wrong with it.
    pub fn check(&self, storage: &TensorType) -> Result<(), String> {
        let Layout { offset, shape, strides } = &self.layout;
        TensorType::new(storage.dtype, shape.clone()).check()?;
        if strides.len() != shape.len() {
            return Err(format!("it has {} axes and {} strides", shape.len(), strides.len()));
        }
        // Where nothing is seen, the strides are never multiplied with anything; they stay within what a file may hold.
        let most = MAX_ELEMENTS as u64;
        if offset.unsigned_abs() > most || strides.iter().any(|stride| stride.unsigned_abs() > most) {
            return Err("its offset or a stride is too large".into());
        }
        if self.layout.is_empty() {
            return Ok(());
        }
        match self.layout.hull() {
            Some((low, high)) if low >= 0 && high as u64 <= storage.len() as u64 => Ok(()),
            Some((low, high)) => {
                Err(format!("it sees the elements {low} to {} of a storage that has {}", high - 1, storage.len()))
            }
            None => Err("its elements are too far apart".into()),
        }
    }
}

/// A graph output.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub name: String,
    pub value: ValueId,
}

/// One function over tensors; see the module's head.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub name: String,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    /// Why the program means nothing for inputs that share bytes, if it does not: its inputs are copied before they are used,
    /// so that what is written to one would not show in another.
    pub apart: Option<String>,
    /// In functional form, for each `inout` input its position and the value its bytes hold in the end.
    pub finals: Vec<(u32, ValueId)>,
    pub values: Vec<Value>,
    pub insts: Vec<Inst>,
    pub blocks: Vec<Block>,
    pub constants: Vec<Constant>,
}

impl Graph {
    /// A graph without inputs, outputs and instructions. Block 0 is its body.
    pub fn new(name: impl Into<String>) -> Graph {
        Graph {
            name: name.into(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            apart: None,
            finals: Vec::new(),
            values: Vec::new(),
            insts: Vec::new(),
            blocks: vec![Block::default()],
            constants: Vec::new(),
        }
    }

    /// The block that is the graph's body.
    pub const BODY: BlockId = BlockId(0);

    pub fn body(&self) -> &Block {
        &self.blocks[0]
    }

    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    pub fn ty(&self, id: ValueId) -> &TensorType {
        &self.values[id.index()].ty
    }

    pub fn inst(&self, id: InstId) -> &Inst {
        &self.insts[id.index()]
    }

    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.index()]
    }

    pub fn constant(&self, id: ConstId) -> &Constant {
        &self.constants[id.index()]
    }

    /// The constant behind a value, if it is one.
    pub fn constant_of(&self, value: ValueId) -> Option<&Constant> {
        match self.value(value).def {
            Def::Constant(id) => Some(self.constant(id)),
            _ => None,
        }
    }

    /// The instruction that defines a value, if one does.
    pub fn producer(&self, value: ValueId) -> Option<InstId> {
        match self.value(value).def {
            Def::Result(inst, _) => Some(inst),
            _ => None,
        }
    }

    /// The value as it is printed: `%name` or `%4`.
    pub fn display(&self, value: ValueId) -> String {
        let name = &self.value(value).name;
        if name.is_empty() { format!("%{}", value.0) } else { format!("%{name}") }
    }

    /// Instructions of the body, in order.
    pub fn body_insts(&self) -> impl Iterator<Item = (InstId, &Inst)> {
        self.body().insts.iter().map(|&id| (id, self.inst(id)))
    }

    /// Every instruction that stands in the graph, those of regions before the instruction that holds them.
    pub fn all_insts(&self) -> Vec<InstId> {
        self.insts_in(Graph::BODY)
    }

    /// Every instruction that stands in a block or in a region inside it, in the same order.
    pub fn insts_in(&self, block: BlockId) -> Vec<InstId> {
        fn collect(graph: &Graph, block: BlockId, found: &mut Vec<InstId>) {
            for &id in &graph.block(block).insts {
                graph.inst(id).regions.iter().for_each(|&region| collect(graph, region, found));
                found.push(id);
            }
        }
        let mut found = Vec::new();
        collect(self, block, &mut found);
        found
    }

    pub fn add_value(&mut self, ty: TensorType, def: Def, name: impl Into<String>) -> ValueId {
        let id = ValueId(u32::try_from(self.values.len()).expect("a graph has fewer than 2^32 values"));
        self.values.push(Value { ty, def, name: name.into() });
        id
    }

    pub fn add_input(&mut self, name: impl Into<String>, mode: InputMode, ty: TensorType) -> ValueId {
        let name = name.into();
        let position = u32::try_from(self.inputs.len()).expect("a graph has fewer than 2^32 inputs");
        let value = self.add_value(ty, Def::Input(position), name.clone());
        self.inputs.push(Input { name, mode, value, initial: None, views: Vec::new() });
        value
    }

    /// An input as one of another graph is, with its state.
    pub fn add_input_of(&mut self, from: &Graph, position: usize) -> ValueId {
        let input = &from.inputs[position];
        let value = self.add_input(input.name.clone(), input.mode, from.ty(input.value).clone());
        self.values[value.index()].name.clone_from(&from.value(input.value).name);
        let made = self.inputs.last_mut().expect("an input was just added");
        (made.initial, made.views) = (input.initial.clone(), input.views.clone());
        value
    }

    pub fn add_constant(&mut self, constant: Constant) -> ValueId {
        let id = ConstId(u32::try_from(self.constants.len()).expect("a graph has fewer than 2^32 constants"));
        let (ty, name) = (constant.ty.clone(), constant.name.clone());
        self.constants.push(constant);
        self.add_value(ty, Def::Constant(id), name)
    }

    pub fn add_output(&mut self, name: impl Into<String>, value: ValueId) {
        self.outputs.push(Output { name: name.into(), value });
    }

    pub fn add_block(&mut self) -> BlockId {
        self.blocks.push(Block::default());
        BlockId(u32::try_from(self.blocks.len() - 1).expect("a graph has fewer than 2^32 blocks"))
    }

    pub fn add_param(&mut self, block: BlockId, ty: TensorType, name: impl Into<String>) -> ValueId {
        let position = self.block(block).params.len() as u32;
        let value = self.add_value(ty, Def::Param(block, position), name);
        self.blocks[block.index()].params.push(value);
        value
    }

    /// Appends an instruction whose result types are inferred; an error is the op's sentence.
    pub fn append(
        &mut self,
        block: BlockId,
        op: Op,
        operands: &[ValueId],
        location: Location,
    ) -> Result<InstId, String> {
        let types: Vec<TensorType> = operands.iter().map(|&operand| self.ty(operand).clone()).collect();
        let results = op.infer(&types)?;
        Ok(self.append_typed(block, op, operands, results, location))
    }

    /// Appends an instruction with result types the caller vouches for.
    pub fn append_typed(
        &mut self,
        block: BlockId,
        op: Op,
        operands: &[ValueId],
        types: Vec<TensorType>,
        location: Location,
    ) -> InstId {
        let id = InstId(u32::try_from(self.insts.len()).expect("a graph has fewer than 2^32 instructions"));
        let results =
            types.into_iter().enumerate().map(|(i, ty)| self.add_value(ty, Def::Result(id, i as u32), "")).collect();
        self.insts.push(Inst {
            op,
            mutates: false,
            operands: operands.to_vec(),
            results,
            regions: Vec::new(),
            location,
            tie: None,
            rules: Vec::new(),
            origins: Vec::new(),
        });
        self.blocks[block.index()].insts.push(id);
        id
    }

    /// Bytes of the state that the graph comes with.
    pub fn initial_bytes(&self) -> u64 {
        self.inputs.iter().filter_map(|input| input.initial.as_ref()).map(|initial| initial.ty.bytes() as u64).sum()
    }

    /// Bytes of all constants, each counted once.
    pub fn weights_bytes(&self) -> u64 {
        self.constants.iter().filter(|constant| !constant.is_inline()).map(|constant| constant.ty.bytes() as u64).sum()
    }
}
