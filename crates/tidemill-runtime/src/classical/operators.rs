//! Which operators there are.

use super::basic::{binary, cast, create, order, place, product, reduce, reshape, softmax, unary};
use super::kernel::{Built, Refusal, Surroundings};
use super::{encode, features, linear, scale, svm, text, tree};

/// Builds one operator's implementation from its node.
type Builder = fn(&Surroundings<'_>) -> Built;

/// The standard operators, by name.
const STANDARD: &[(&str, Builder)] = &[
    ("Abs", unary::unary),
    ("Add", binary::binary),
    ("And", binary::binary),
    ("ArgMax", order::arg_extreme),
    ("ArgMin", order::arg_extreme),
    ("Atan", unary::unary),
    ("Cast", cast::cast),
    ("CastLike", cast::cast_like),
    ("Ceil", unary::unary),
    ("Clip", unary::clip),
    ("Concat", place::concat),
    ("Constant", create::constant),
    ("ConstantOfShape", create::constant_of_shape),
    ("Cos", unary::unary),
    ("CumSum", order::cum_sum),
    ("Div", binary::binary),
    ("Dropout", reshape::shaped),
    ("Elu", unary::unary),
    ("Equal", binary::binary),
    ("Erf", unary::unary),
    ("Exp", unary::unary),
    ("Expand", create::expand),
    ("Flatten", reshape::shaped),
    ("Floor", unary::unary),
    ("Gather", place::gather),
    ("GatherElements", place::gather_elements),
    ("Gemm", product::gemm),
    ("Greater", binary::binary),
    ("GreaterOrEqual", binary::binary),
    ("Identity", reshape::shaped),
    ("IsInf", unary::test),
    ("IsNaN", unary::test),
    ("LeakyRelu", unary::unary),
    ("Less", binary::binary),
    ("LessOrEqual", binary::binary),
    ("Log", unary::unary),
    ("LogSoftmax", softmax::softmax),
    ("LpNormalization", softmax::lp_normalization),
    ("MatMul", product::mat_mul),
    ("Max", binary::binary),
    ("Mean", binary::binary),
    ("Min", binary::binary),
    ("Mod", binary::binary),
    ("Mul", binary::binary),
    ("Neg", unary::unary),
    ("Not", unary::test),
    ("Or", binary::binary),
    ("Pow", binary::binary),
    ("Range", create::range),
    ("Reciprocal", unary::unary),
    ("ReduceL1", reduce::reduce),
    ("ReduceL2", reduce::reduce),
    ("ReduceLogSum", reduce::reduce),
    ("ReduceLogSumExp", reduce::reduce),
    ("ReduceMax", reduce::reduce),
    ("ReduceMean", reduce::reduce),
    ("ReduceMin", reduce::reduce),
    ("ReduceProd", reduce::reduce),
    ("ReduceSum", reduce::reduce),
    ("ReduceSumSquare", reduce::reduce),
    ("Relu", unary::unary),
    ("Reshape", reshape::shaped),
    ("Round", unary::unary),
    ("Scatter", place::scatter_elements),
    ("ScatterElements", place::scatter_elements),
    ("Shape", reshape::shape),
    ("Sigmoid", unary::unary),
    ("Sign", unary::unary),
    ("Sin", unary::unary),
    ("Size", reshape::shape),
    ("Slice", place::slice),
    ("Softmax", softmax::softmax),
    ("Softplus", unary::unary),
    ("Split", place::split),
    ("Sqrt", unary::unary),
    ("Squeeze", reshape::shaped),
    ("StringNormalizer", text::string_normalizer),
    ("Sub", binary::binary),
    ("Sum", binary::binary),
    ("Tanh", unary::unary),
    ("TfIdfVectorizer", text::tf_idf),
    ("Tile", create::tile),
    ("TopK", order::top_k),
    ("Transpose", reshape::transpose),
    ("Unsqueeze", reshape::shaped),
    ("Where", binary::select),
    ("Xor", binary::binary),
];

/// The operators of `ai.onnx.ml`.
const CLASSICAL: &[(&str, Builder)] = &[
    ("ArrayFeatureExtractor", features::array_feature_extractor),
    ("Binarizer", scale::binarizer),
    ("CategoryMapper", encode::category_mapper),
    ("DictVectorizer", features::dict_vectorizer),
    ("FeatureVectorizer", features::feature_vectorizer),
    ("Imputer", scale::imputer),
    ("LabelEncoder", encode::label_encoder),
    ("LinearClassifier", linear::classifier),
    ("LinearRegressor", linear::regressor),
    ("Normalizer", scale::normalizer),
    ("OneHotEncoder", encode::one_hot),
    ("SVMClassifier", svm::classifier),
    ("SVMRegressor", svm::regressor),
    ("Scaler", scale::scaler),
    ("TreeEnsemble", tree::ensemble),
    ("TreeEnsembleClassifier", tree::classifier),
    ("TreeEnsembleRegressor", tree::regressor),
    ("ZipMap", features::zip_map),
];

/// Operators of ONNX Runtime that converters of classical models use.
const CONTRIBUTED: &[(&str, Builder)] = &[("CDist", product::distances), ("Tokenizer", text::tokenizer)];

fn builder(domain: &str, op: &str) -> Option<Builder> {
    let table = match domain {
        "" => STANDARD,
        "ai.onnx.ml" => CLASSICAL,
        "com.microsoft" => CONTRIBUTED,
        _ => return None,
    };
    table.iter().find(|(name, _)| *name == op).map(|(_, builder)| *builder)
}

/// Whether there is such an operator.
pub(crate) fn knows(domain: &str, op: &str) -> bool {
    builder(domain, op).is_some()
}

/// Builds a node.
pub(crate) fn build(around: &Surroundings<'_>) -> Built {
    match builder(&around.node.domain, &around.node.op) {
        Some(builder) => builder(around),
        None => Err(Refusal::Missing("not there".to_owned())),
    }
}
