//! The JSON of a `.pt2` file as data: schema 8 of `torch/_export/serde/schema.py`, the parts that decide what a program
//! does. Fields that are not here are passed over; unions are objects with one key.

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The version this is: another major version is another format, a larger minor one may hold things not known here.
pub const VERSION: (u64, u64) = (8, 20);

#[derive(Deserialize)]
pub struct Versioned {
    pub schema_version: SchemaVersion,
}

#[derive(Deserialize)]
pub struct SchemaVersion {
    pub major: u64,
    pub minor: u64,
}

#[derive(Deserialize)]
pub struct ExportedProgram {
    pub graph_module: GraphModule,
    pub range_constraints: IndexMap<String, RangeConstraint>,
    #[serde(default)]
    pub verifiers: Vec<String>,
}

#[derive(Deserialize)]
pub struct RangeConstraint {
    pub min_val: Option<i64>,
    pub max_val: Option<i64>,
}

#[derive(Deserialize)]
pub struct GraphModule {
    pub graph: Graph,
    pub signature: Signature,
}

#[derive(Deserialize)]
pub struct Graph {
    pub inputs: Vec<Argument>,
    pub outputs: Vec<Argument>,
    pub nodes: Vec<Node>,
    pub tensor_values: IndexMap<String, TensorMeta>,
    #[serde(default)]
    pub sym_int_values: IndexMap<String, SymInt>,
}

#[derive(Deserialize)]
pub struct Node {
    pub target: String,
    pub inputs: Vec<NamedArgument>,
    pub outputs: Vec<Argument>,
    #[serde(default)]
    pub metadata: IndexMap<String, String>,
}

#[derive(Deserialize)]
pub struct NamedArgument {
    pub name: String,
    pub arg: Argument,
}

#[derive(Deserialize)]
pub struct TensorMeta {
    pub dtype: u64,
    pub sizes: Vec<SymInt>,
    pub strides: Vec<SymInt>,
    pub storage_offset: SymInt,
    pub layout: u64,
}

/// A number that may be symbolic.
#[derive(Deserialize)]
pub enum SymInt {
    #[serde(rename = "as_int")]
    Int(i64),
    #[serde(rename = "as_expr")]
    Expr(SymExpr),
}

#[derive(Deserialize)]
pub struct SymExpr {
    pub expr_str: String,
    pub hint: Option<Hint>,
}

#[derive(Deserialize)]
pub enum Hint {
    #[serde(rename = "as_int")]
    Int(i64),
    #[serde(rename = "as_bool")]
    Bool(IgnoredAny),
    #[serde(rename = "as_float")]
    Float(IgnoredAny),
}

#[derive(Deserialize)]
pub struct Named {
    pub name: String,
}

#[derive(Deserialize)]
pub enum OptionalTensor {
    #[serde(rename = "as_tensor")]
    Tensor(Named),
    #[serde(rename = "as_none")]
    None(IgnoredAny),
}

#[derive(Deserialize)]
pub enum SymIntArgument {
    #[serde(rename = "as_name")]
    Name(String),
    #[serde(rename = "as_int")]
    Int(i64),
}

#[derive(Deserialize)]
pub enum SymFloatArgument {
    #[serde(rename = "as_name")]
    Name(String),
    #[serde(rename = "as_float")]
    Float(Float),
}

#[derive(Deserialize)]
pub enum SymBoolArgument {
    #[serde(rename = "as_name")]
    Name(String),
    #[serde(rename = "as_bool")]
    Bool(bool),
}

#[derive(Deserialize)]
pub struct GraphArgument {
    pub graph: Box<Graph>,
}

#[derive(Deserialize)]
pub struct CustomObject {
    pub name: String,
    pub class_fqn: String,
}

#[derive(Deserialize)]
pub struct Device {
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Deserialize)]
pub enum Argument {
    #[serde(rename = "as_none")]
    None(IgnoredAny),
    #[serde(rename = "as_tensor")]
    Tensor(Named),
    #[serde(rename = "as_tensors")]
    Tensors(Vec<Named>),
    #[serde(rename = "as_optional_tensor")]
    OptionalTensor(OptionalTensor),
    #[serde(rename = "as_optional_tensors")]
    OptionalTensors(Vec<OptionalTensor>),
    #[serde(rename = "as_nested_tensors")]
    NestedTensors(IgnoredAny),
    #[serde(rename = "as_int")]
    Int(i64),
    #[serde(rename = "as_ints")]
    Ints(Vec<i64>),
    #[serde(rename = "as_int_lists")]
    IntLists(IgnoredAny),
    #[serde(rename = "as_float")]
    Float(Float),
    #[serde(rename = "as_floats")]
    Floats(Vec<Float>),
    #[serde(rename = "as_float_lists")]
    FloatLists(IgnoredAny),
    #[serde(rename = "as_bool")]
    Bool(bool),
    #[serde(rename = "as_bools")]
    Bools(Vec<bool>),
    #[serde(rename = "as_string")]
    Text(String),
    #[serde(rename = "as_strings")]
    Texts(IgnoredAny),
    #[serde(rename = "as_sym_int")]
    SymInt(SymIntArgument),
    #[serde(rename = "as_sym_ints")]
    SymInts(Vec<SymIntArgument>),
    #[serde(rename = "as_sym_float")]
    SymFloat(SymFloatArgument),
    #[serde(rename = "as_sym_floats")]
    SymFloats(Vec<SymFloatArgument>),
    #[serde(rename = "as_sym_bool")]
    SymBool(SymBoolArgument),
    #[serde(rename = "as_sym_bools")]
    SymBools(Vec<SymBoolArgument>),
    #[serde(rename = "as_scalar_type")]
    ScalarType(u64),
    #[serde(rename = "as_memory_format")]
    MemoryFormat(u64),
    #[serde(rename = "as_layout")]
    Layout(u64),
    #[serde(rename = "as_device")]
    Device(Device),
    #[serde(rename = "as_graph")]
    Graph(GraphArgument),
    #[serde(rename = "as_custom_obj")]
    CustomObject(CustomObject),
    #[serde(rename = "as_operator")]
    Operator(IgnoredAny),
    #[serde(rename = "as_complex")]
    Complex(IgnoredAny),
    #[serde(rename = "as_string_to_argument")]
    Dictionary(IgnoredAny),
}

/// A number that JSON has no word for is a string.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "FloatText")]
pub struct Float(pub f64);

#[derive(Deserialize)]
#[serde(untagged)]
enum FloatText {
    Number(f64),
    Text(String),
}

impl TryFrom<FloatText> for Float {
    type Error = String;

    fn try_from(text: FloatText) -> Result<Float, String> {
        match text {
            FloatText::Number(value) => Ok(Float(value)),
            FloatText::Text(text) => match text.as_str() {
                "Infinity" => Ok(Float(f64::INFINITY)),
                "-Infinity" => Ok(Float(f64::NEG_INFINITY)),
                "NaN" => Ok(Float(f64::NAN)),
                other => Err(format!("{other:?} is not a number")),
            },
        }
    }
}

#[derive(Deserialize)]
pub struct Signature {
    pub input_specs: Vec<InputSpec>,
    pub output_specs: Vec<OutputSpec>,
}

#[derive(Deserialize)]
pub enum InputSpec {
    #[serde(rename = "user_input")]
    User { arg: Argument },
    #[serde(rename = "parameter")]
    Parameter { arg: Named, parameter_name: String },
    #[serde(rename = "buffer")]
    Buffer { arg: Named, buffer_name: String },
    #[serde(rename = "tensor_constant")]
    TensorConstant { arg: Named, tensor_constant_name: String },
    #[serde(rename = "custom_obj")]
    CustomObject { arg: CustomObject, custom_obj_name: String },
    #[serde(rename = "token")]
    Token(IgnoredAny),
    #[serde(rename = "constant_input")]
    Constant { name: String, value: Argument },
}

#[derive(Deserialize)]
pub enum OutputSpec {
    #[serde(rename = "user_output")]
    User { arg: Argument },
    #[serde(rename = "loss_output")]
    Loss { arg: Named },
    #[serde(rename = "buffer_mutation")]
    BufferMutation { arg: Named, buffer_name: String },
    #[serde(rename = "parameter_mutation")]
    ParameterMutation { arg: Named, parameter_name: String },
    #[serde(rename = "gradient_to_parameter")]
    GradientToParameter { arg: Named },
    #[serde(rename = "gradient_to_user_input")]
    GradientToUserInput { arg: Named },
    #[serde(rename = "user_input_mutation")]
    UserInputMutation { arg: Named, user_input_name: String },
    #[serde(rename = "token")]
    Token(IgnoredAny),
}

/// `model_weights_config.json` and `model_constants_config.json`.
#[derive(Deserialize)]
pub struct PayloadConfig {
    pub config: IndexMap<String, Payload>,
}

#[derive(Deserialize)]
pub struct Payload {
    pub path_name: String,
    pub use_pickle: bool,
    pub tensor_meta: Option<TensorMeta>,
}
