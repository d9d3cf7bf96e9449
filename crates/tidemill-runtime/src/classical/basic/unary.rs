//! Operators on one tensor, element by element.

use super::super::kernel::{Built, Call, Kernel, Outcome, Surroundings, wrong_type};
use super::super::post::logistic;
use crate::Values;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unary {
    Abs,
    Neg,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Sigmoid,
    Tanh,
    Relu,
    Erf,
    Floor,
    Ceil,
    Round,
    Sign,
    Softplus,
    Sin,
    Cos,
    Atan,
    LeakyRelu(f32),
    Elu(f32),
}

/// Builds an operator by its name.
pub(crate) fn unary(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    Ok(Box::new(match around.node.op.as_str() {
        "Abs" => Unary::Abs,
        "Neg" => Unary::Neg,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Reciprocal" => Unary::Reciprocal,
        "Sigmoid" => Unary::Sigmoid,
        "Tanh" => Unary::Tanh,
        "Relu" => Unary::Relu,
        "Erf" => Unary::Erf,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sign" => Unary::Sign,
        "Softplus" => Unary::Softplus,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Atan" => Unary::Atan,
        "LeakyRelu" => Unary::LeakyRelu(attributes.float("alpha")?.unwrap_or(0.01)),
        "Elu" => Unary::Elu(attributes.float("alpha")?.unwrap_or(1.0)),
        other => return Err(format!("{other} is not an operator on one tensor").into()),
    }))
}

impl Kernel for Unary {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let shape = x.shape().to_vec();
        let values = match x.into_values() {
            Values::F32(mut values) => {
                self.floats(&mut values);
                Values::F32(values)
            }
            Values::F64(mut values) => {
                self.doubles(&mut values);
                Values::F64(values)
            }
            Values::I64(mut values) => {
                let f = match self {
                    Self::Abs => i64::wrapping_abs,
                    Self::Neg => i64::wrapping_neg,
                    Self::Sign => i64::signum,
                    Self::Relu => |x: i64| x.max(0),
                    _ => return wrong_type(crate::ElementType::I64),
                };
                values.iter_mut().for_each(|x| *x = f(*x));
                Values::I64(values)
            }
            Values::I32(mut values) => {
                let f = match self {
                    Self::Abs => i32::wrapping_abs,
                    Self::Neg => i32::wrapping_neg,
                    Self::Sign => i32::signum,
                    Self::Relu => |x: i32| x.max(0),
                    _ => return wrong_type(crate::ElementType::I32),
                };
                values.iter_mut().for_each(|x| *x = f(*x));
                Values::I32(values)
            }
            other => return wrong_type(other.element()),
        };
        call.give(shape, values)
    }
}

/// The loops of both precisions; the match stands outside of the loop so that each can be vectorised.
macro_rules! loops {
    ($self:expr, $values:expr, $number:ty, $sigmoid:expr, $erf:expr) => {{
        fn each(values: &mut [$number], f: impl Fn($number) -> $number) {
            values.iter_mut().for_each(|x| *x = f(*x));
        }
        let values = $values;
        match $self {
            Unary::Abs => each(values, <$number>::abs),
            Unary::Neg => each(values, |x| -x),
            Unary::Exp => each(values, <$number>::exp),
            Unary::Log => each(values, <$number>::ln),
            Unary::Sqrt => each(values, <$number>::sqrt),
            Unary::Reciprocal => each(values, |x| 1.0 / x),
            Unary::Sigmoid => each(values, $sigmoid),
            Unary::Tanh => each(values, <$number>::tanh),
            Unary::Relu => each(values, |x| if x < 0.0 { 0.0 } else { x }),
            Unary::Erf => each(values, $erf),
            Unary::Floor => each(values, <$number>::floor),
            Unary::Ceil => each(values, <$number>::ceil),
            Unary::Round => each(values, <$number>::round_ties_even),
            Unary::Sign => each(values, |x| {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    x
                }
            }),
            Unary::Softplus => {
                each(values, |x| if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() })
            }
            Unary::Sin => each(values, <$number>::sin),
            Unary::Cos => each(values, <$number>::cos),
            Unary::Atan => each(values, <$number>::atan),
            Unary::LeakyRelu(alpha) => {
                let alpha = <$number>::from(*alpha);
                each(values, |x| if x < 0.0 { alpha * x } else { x });
            }
            Unary::Elu(alpha) => {
                let alpha = <$number>::from(*alpha);
                each(values, |x| if x < 0.0 { alpha * x.exp_m1() } else { x });
            }
        }
    }};
}

impl Unary {
    fn floats(&self, values: &mut [f32]) {
        loops!(self, values, f32, logistic, libm::erff);
    }

    fn doubles(&self, values: &mut [f64]) {
        loops!(self, values, f64, |x: f64| 1.0 / (1.0 + (-x).exp()), libm::erf);
    }
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Not,
    IsNan,
    IsInf { positive: bool, negative: bool },
}

/// Builds operators whose answer is a truth value.
pub(crate) fn test(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    Ok(Box::new(match around.node.op.as_str() {
        "Not" => Test::Not,
        "IsNaN" => Test::IsNan,
        _ => Test::IsInf {
            positive: attributes.flag("detect_positive", true)?,
            negative: attributes.flag("detect_negative", true)?,
        },
    }))
}

impl Kernel for Test {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let shape = x.shape().to_vec();
        let values = match (self, x.values()) {
            (Self::Not, Values::Bool(values)) => values.iter().map(|x| !x).collect(),
            (Self::IsNan, Values::F32(values)) => values.iter().map(|x| x.is_nan()).collect(),
            (Self::IsNan, Values::F64(values)) => values.iter().map(|x| x.is_nan()).collect(),
            (Self::IsInf { positive, negative }, Values::F32(values)) => values
                .iter()
                .map(|x| x.is_infinite() && if *x > 0.0 { *positive } else { *negative })
                .collect(),
            (Self::IsInf { positive, negative }, Values::F64(values)) => values
                .iter()
                .map(|x| x.is_infinite() && if *x > 0.0 { *positive } else { *negative })
                .collect(),
            (_, other) => return wrong_type(other.element()),
        };
        call.give(shape, Values::Bool(values))
    }
}

#[derive(Clone, Copy, Debug)]
struct Clip {
    smallest: Option<f32>,
    largest: Option<f32>,
}

/// Builds `Clip`, whose bounds are attributes at first and inputs since version 11.
pub(crate) fn clip(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    Ok(Box::new(Clip { smallest: attributes.float("min")?, largest: attributes.float("max")? }))
}

impl Kernel for Clip {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let shape = x.shape().to_vec();
        macro_rules! clipped {
            ($kind:ident, $values:expr, $convert:expr) => {{
                let mut values = $values;
                let bound =
                    |index: usize, attribute: Option<f32>| match call.optional(index).map(|t| t.values()) {
                        Some(Values::$kind(bound)) => bound.first().copied(),
                        Some(_) => None,
                        None => attribute.map($convert),
                    };
                // In this order, so that NaN stays.
                if let Some(smallest) = bound(1, self.smallest) {
                    values.iter_mut().filter(|x| **x < smallest).for_each(|x| *x = smallest);
                }
                if let Some(largest) = bound(2, self.largest) {
                    values.iter_mut().filter(|x| **x > largest).for_each(|x| *x = largest);
                }
                Values::$kind(values)
            }};
        }
        let values = match x.into_values() {
            Values::F32(values) => clipped!(F32, values, |x| x),
            Values::F64(values) => clipped!(F64, values, f64::from),
            Values::I64(values) => clipped!(I64, values, |x| x as i64),
            Values::I32(values) => clipped!(I32, values, |x| x as i32),
            other => return wrong_type(other.element()),
        };
        call.give(shape, values)
    }
}
