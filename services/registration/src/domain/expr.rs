//! Expressions of determinants and formulas: one typed tree, read from JSONLogic, evaluated with
//! exact decimals and three-valued logic. No input or output, no loops, bounded size and depth.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde_json::Value as Json;

/// The most nodes an expression may have, and how deep it may nest.
const MAX_NODES: usize = 2_000;
const MAX_DEPTH: usize = 32;

/// The longest text a function may produce, in characters.
const MAX_TEXT: usize = 10_000;

/// The most steps that one evaluation may take, determinants included: a chain of determinants
/// that each name the next one twice doubles the work with every link.
const MAX_STEPS: usize = 100_000;
/// Bytes of text that count as one step.
const STEP_BYTES: usize = 64;

/// A value under evaluation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Not given; it makes comparisons unknown.
    Missing,
    /// True or false.
    Flag(bool),
    /// An exact number.
    Number(Decimal),
    /// Text, or a date as `YYYY-MM-DD`.
    Text(String),
    /// Several values.
    List(Vec<Value>),
}

/// An expression that was read and checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    /// A constant.
    Constant(Value),
    /// A field, as `container.key`.
    Field(String),
    /// A named determinant.
    Determinant(String),
    /// A function of arguments.
    Call(Function, Vec<Expr>),
}

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal,)*) => {
        /// The functions that expressions may use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Function { $($variant,)* }

        impl Function {
            fn named(name: &str) -> Option<(Self, usize, usize)> {
                match name { $($name => Some((Self::$variant, $least, $most)),)* _ => None }
            }
        }
    };
}

functions! {
    And "and" 1 64, Or "or" 1 64, Not "!" 1 1, If "if" 3 3,
    Equal "==" 2 2, Unequal "!=" 2 2, Less "<" 2 2, AtMost "<=" 2 2,
    More ">" 2 2, AtLeast ">=" 2 2, In "in" 2 2,
    Add "+" 1 64, Subtract "-" 1 2, Multiply "*" 2 64, Divide "/" 2 2,
    Sum "sum" 1 64, Min "min" 1 64, Max "max" 1 64, Average "avg" 1 64, Median "median" 1 64,
    Count "count" 1 64, Ceiling "ceiling" 1 1, Floor "floor" 1 1, Round "round" 1 2,
    Concat "concat" 1 64, ConcatWith "concat_ws" 2 64, Length "len" 1 1,
    Replace "replace" 3 3, Upper "upper_case" 1 1, Lower "lower_case" 1 1,
    Age "age" 1 1, Given "given" 1 1,
}

/// Why an expression cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// An operator that there is none of.
    #[error("there is no function `{0}`")]
    UnknownFunction(String),
    /// Too few or too many arguments.
    #[error("`{name}` takes {least} to {most} arguments")]
    Arguments {
        /// The function.
        name: String,
        /// The fewest it takes.
        least: usize,
        /// The most it takes.
        most: usize,
    },
    /// Larger or deeper than the limits.
    #[error("the expression is too large: at most {MAX_NODES} parts, {MAX_DEPTH} deep")]
    TooLarge,
    /// Not an expression.
    #[error("{0}")]
    Shape(&'static str),
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvalError {
    /// A divisor of zero.
    #[error("division by zero")]
    DivisionByZero,
    /// More digits than a decimal holds.
    #[error("a number has too many digits")]
    Overflow,
    /// A value of a kind that the function cannot use.
    #[error("{0}")]
    Type(&'static str),
    /// Determinants that refer to each other in a circle, or too deeply.
    #[error("the determinant `{0}` refers to itself")]
    Circle(String),
    /// More work than an evaluation may take.
    #[error("the rules take more than {MAX_STEPS} steps")]
    Costly,
}

/// What an evaluation reads.
pub(crate) trait Facts {
    /// The value of a field.
    fn field(&self, path: &str) -> Value;
    /// The expression of a determinant.
    fn determinant(&self, id: &str) -> Option<&Expr>;
    /// The day on which ages are counted, as `YYYY-MM-DD`.
    fn today(&self) -> &str;
}

/// Reads an expression from JSONLogic: constants, `{"var": "container.key"}`,
/// `{"determinant": "id"}`, and `{"function": [arguments]}`.
pub(crate) fn read(json: &Json) -> Result<Expr, ReadError> {
    let mut budget = MAX_NODES;
    read_at(json, 0, &mut budget)
}

fn read_at(json: &Json, depth: usize, budget: &mut usize) -> Result<Expr, ReadError> {
    if depth > MAX_DEPTH || *budget == 0 {
        return Err(ReadError::TooLarge);
    }
    *budget -= 1;
    let object = match json {
        Json::Array(items) => {
            let values = items.iter().map(constant).collect::<Result<_, _>>()?;
            return Ok(Expr::Constant(Value::List(values)));
        }
        Json::Object(object) => object,
        _ => return Ok(Expr::Constant(constant(json)?)),
    };
    let mut members = object.iter();
    let (Some((name, argument)), None) = (members.next(), members.next()) else {
        return Err(ReadError::Shape(
            "an expression is an object with one member",
        ));
    };
    match name.as_str() {
        "var" => argument
            .as_str()
            .map(|path| Expr::Field(path.to_owned()))
            .ok_or(ReadError::Shape("`var` takes the name of a field")),
        "determinant" => argument
            .as_str()
            .map(|id| Expr::Determinant(id.to_owned()))
            .ok_or(ReadError::Shape("`determinant` takes the id of one")),
        name => {
            let (function, least, most) =
                Function::named(name).ok_or_else(|| ReadError::UnknownFunction(name.to_owned()))?;
            let single = std::slice::from_ref(argument);
            let given = argument.as_array().map_or(single, Vec::as_slice);
            if !(least..=most).contains(&given.len()) {
                return Err(ReadError::Arguments {
                    name: name.to_owned(),
                    least,
                    most,
                });
            }
            let arguments = given
                .iter()
                .map(|argument| read_at(argument, depth + 1, budget))
                .collect::<Result<_, _>>()?;
            Ok(Expr::Call(function, arguments))
        }
    }
}

fn constant(json: &Json) -> Result<Value, ReadError> {
    match json {
        Json::Null => Ok(Value::Missing),
        Json::Bool(flag) => Ok(Value::Flag(*flag)),
        Json::Number(number) => number
            .to_string()
            .parse()
            .map(Value::Number)
            .map_err(|_| ReadError::Shape("a number has too many digits")),
        Json::String(text) => Ok(Value::Text(text.clone())),
        _ => Err(ReadError::Shape(
            "a list holds numbers, texts and flags only",
        )),
    }
}

impl Expr {
    /// Every field the expression reads, and every determinant it names.
    pub(crate) fn references(&self) -> (Vec<&str>, Vec<&str>) {
        let (mut fields, mut determinants) = (Vec::new(), Vec::new());
        let mut open = vec![self];
        while let Some(expr) = open.pop() {
            match expr {
                Self::Constant(_) => {}
                Self::Field(path) => fields.push(path.as_str()),
                Self::Determinant(id) => determinants.push(id.as_str()),
                Self::Call(_, arguments) => open.extend(arguments),
            }
        }
        (fields, determinants)
    }

    /// Whether a condition holds. An unknown condition does not.
    pub(crate) fn holds(&self, facts: &dyn Facts) -> Result<bool, EvalError> {
        Ok(self.value(facts)? == Value::Flag(true))
    }

    /// The value of the expression.
    pub(crate) fn value(&self, facts: &dyn Facts) -> Result<Value, EvalError> {
        let mut run = Run {
            facts,
            open: Vec::new(),
            steps: 0,
        };
        run.evaluate(self)
    }
}

/// One evaluation under way.
struct Run<'a> {
    facts: &'a dyn Facts,
    /// Determinants that are being evaluated.
    open: Vec<&'a str>,
    steps: usize,
}

impl<'a> Run<'a> {
    fn evaluate(&mut self, expr: &'a Expr) -> Result<Value, EvalError> {
        self.spend(1)?;
        match expr {
            Expr::Constant(value) => {
                self.spend(weight(value))?;
                Ok(value.clone())
            }
            Expr::Field(path) => Ok(self.facts.field(path)),
            Expr::Determinant(id) => self.determinant(id),
            Expr::Call(Function::If, arguments) => {
                let taken = self.evaluate(&arguments[0])? == Value::Flag(true);
                self.evaluate(&arguments[if taken { 1 } else { 2 }])
            }
            Expr::Call(function, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.evaluate(argument)?);
                }
                self.spend(values.iter().map(weight).sum())?;
                apply(*function, values, self.facts.today())
            }
        }
    }

    fn determinant(&mut self, id: &'a str) -> Result<Value, EvalError> {
        if self.open.len() >= MAX_DEPTH || self.open.contains(&id) {
            return Err(EvalError::Circle(id.to_owned()));
        }
        let Some(inner) = self.facts.determinant(id) else {
            return Ok(Value::Missing);
        };
        self.open.push(id);
        let value = self.evaluate(inner);
        self.open.pop();
        // A determinant that ends unknown is false.
        Ok(Value::Flag(value? == Value::Flag(true)))
    }

    fn spend(&mut self, steps: usize) -> Result<(), EvalError> {
        self.steps = self.steps.saturating_add(steps);
        match self.steps <= MAX_STEPS {
            true => Ok(()),
            false => Err(EvalError::Costly),
        }
    }
}

/// What working on a value costs beyond the step itself.
fn weight(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() / STEP_BYTES,
        Value::List(items) => items.iter().map(|item| 1 + weight(item)).sum(),
        _ => 0,
    }
}

fn apply(function: Function, values: Vec<Value>, today: &str) -> Result<Value, EvalError> {
    use Function as F;
    match function {
        F::And | F::Or => Ok(connect(function == F::And, &values)),
        F::Not => Ok(match &values[0] {
            Value::Flag(flag) => Value::Flag(!flag),
            _ => Value::Missing,
        }),
        F::Given => Ok(Value::Flag(values[0] != Value::Missing)),
        F::Equal | F::Unequal => Ok(match equal(&values[0], &values[1]) {
            Some(same) => Value::Flag(same == (function == F::Equal)),
            None => Value::Missing,
        }),
        F::Less | F::AtMost | F::More | F::AtLeast => compare(function, &values),
        F::In => Ok(member(&values)),
        F::Add | F::Subtract | F::Multiply | F::Divide => arithmetic(function, &values),
        F::Sum | F::Min | F::Max | F::Average | F::Median | F::Count => aggregate(function, values),
        F::Ceiling | F::Floor | F::Round => rounded(function, &values),
        F::Concat | F::ConcatWith | F::Length | F::Replace | F::Upper | F::Lower => {
            text(function, &values)
        }
        F::Age => Ok(age(&values[0], today)),
        F::If => Err(EvalError::Type("`if` is evaluated by its caller")),
    }
}

/// Conjunction or disjunction in three-valued logic: an unknown part decides only when no known
/// part does.
fn connect(all: bool, values: &[Value]) -> Value {
    let decisive = Value::Flag(!all);
    if values.contains(&decisive) {
        return decisive;
    }
    if values.iter().all(|value| matches!(value, Value::Flag(_))) {
        Value::Flag(all)
    } else {
        Value::Missing
    }
}

fn equal(left: &Value, right: &Value) -> Option<bool> {
    if *left == Value::Missing || *right == Value::Missing {
        return None;
    }
    match (number(left), number(right)) {
        (Some(left), Some(right)) => Some(left == right),
        _ => Some(left == right),
    }
}

/// A number, also when it came as text: forms of older clients send digits in quotes.
fn number(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn compare(function: Function, values: &[Value]) -> Result<Value, EvalError> {
    let (left, right) = (&values[0], &values[1]);
    if *left == Value::Missing || *right == Value::Missing {
        return Ok(Value::Missing);
    }
    let order = match (number(left), number(right), left, right) {
        (Some(left), Some(right), ..) => left.cmp(&right),
        // Dates in ISO form order as texts.
        (_, _, Value::Text(left), Value::Text(right)) => left.cmp(right),
        _ => {
            return Err(EvalError::Type(
                "only numbers, or dates and texts, have an order",
            ));
        }
    };
    Ok(Value::Flag(match function {
        Function::Less => order.is_lt(),
        Function::AtMost => order.is_le(),
        Function::More => order.is_gt(),
        _ => order.is_ge(),
    }))
}

fn member(values: &[Value]) -> Value {
    let (item, list) = (&values[0], &values[1]);
    if *item == Value::Missing {
        return Value::Missing;
    }
    match list {
        Value::List(items) => {
            Value::Flag(items.iter().any(|other| equal(item, other) == Some(true)))
        }
        Value::Text(whole) => match item {
            Value::Text(part) => Value::Flag(whole.contains(part.as_str())),
            _ => Value::Flag(false),
        },
        _ => Value::Missing,
    }
}

fn numbers(values: &[Value]) -> Result<Option<Vec<Decimal>>, EvalError> {
    let mut found = Vec::with_capacity(values.len());
    for value in values {
        match value {
            Value::Missing => return Ok(None),
            value => found.push(number(value).ok_or(EvalError::Type("a number is expected"))?),
        }
    }
    Ok(Some(found))
}

fn arithmetic(function: Function, values: &[Value]) -> Result<Value, EvalError> {
    let Some(found) = numbers(values)? else {
        return Ok(Value::Missing);
    };
    let mut parts = found.into_iter();
    let first = parts.next().unwrap_or_default();
    if function == Function::Subtract && values.len() == 1 {
        return Ok(Value::Number(-first));
    }
    let result = parts.try_fold(first, |total, part| match function {
        Function::Add => total.checked_add(part).ok_or(EvalError::Overflow),
        Function::Subtract => total.checked_sub(part).ok_or(EvalError::Overflow),
        Function::Multiply => total.checked_mul(part).ok_or(EvalError::Overflow),
        _ if part.is_zero() => Err(EvalError::DivisionByZero),
        _ => total.checked_div(part).ok_or(EvalError::Overflow),
    });
    result.map(Value::Number)
}

/// Functions over the given members of all arguments; lists count with their items.
fn aggregate(function: Function, values: Vec<Value>) -> Result<Value, EvalError> {
    let flat: Vec<Value> = values
        .into_iter()
        .flat_map(|value| match value {
            Value::List(items) => items,
            other => vec![other],
        })
        .filter(|value| *value != Value::Missing)
        .collect();
    if function == Function::Count {
        return Ok(Value::Number(Decimal::from(flat.len())));
    }
    let mut found = numbers(&flat)?.unwrap_or_default();
    if found.is_empty() {
        return Ok(Value::Missing);
    }
    let total = |found: &[Decimal]| {
        found.iter().try_fold(Decimal::ZERO, |total, part| {
            total.checked_add(*part).ok_or(EvalError::Overflow)
        })
    };
    found.sort();
    let middle = found.len() / 2;
    Ok(Value::Number(match function {
        Function::Sum => total(&found)?,
        Function::Average => total(&found)? / Decimal::from(found.len()),
        Function::Min => found[0],
        Function::Max => found[found.len() - 1],
        _ if found.len() % 2 == 1 => found[middle],
        _ => total(&found[middle - 1..=middle])? / Decimal::TWO,
    }))
}

fn rounded(function: Function, values: &[Value]) -> Result<Value, EvalError> {
    let Some(found) = numbers(values)? else {
        return Ok(Value::Missing);
    };
    let digits = found.get(1).and_then(Decimal::to_u32).unwrap_or(0).min(20);
    Ok(Value::Number(match function {
        Function::Ceiling => found[0].ceil(),
        Function::Floor => found[0].floor(),
        // Half to even, which is what `round_dp` does.
        _ => found[0].round_dp(digits),
    }))
}

fn text(function: Function, values: &[Value]) -> Result<Value, EvalError> {
    if values.contains(&Value::Missing) && !matches!(function, Function::ConcatWith) {
        return Ok(Value::Missing);
    }
    let texts: Vec<String> = values
        .iter()
        .filter(|value| **value != Value::Missing)
        .map(display)
        .collect();
    // What grows with the number of matches or parts is measured before it is built.
    let result = match function {
        Function::Concat => joined("", &texts)?,
        Function::ConcatWith => match texts.split_first() {
            Some((separator, rest)) => joined(separator, rest)?,
            None => String::new(),
        },
        Function::Length => return Ok(Value::Number(Decimal::from(texts[0].chars().count()))),
        Function::Replace => replaced(&texts[0], &texts[1], &texts[2])?,
        Function::Upper => texts[0].to_uppercase(),
        _ => texts[0].to_lowercase(),
    };
    check_length(result.chars().count())?;
    Ok(Value::Text(result))
}

fn check_length(characters: usize) -> Result<(), EvalError> {
    match characters <= MAX_TEXT {
        true => Ok(()),
        false => Err(EvalError::Type("a text grew too long")),
    }
}

fn joined(separator: &str, texts: &[String]) -> Result<String, EvalError> {
    let between = texts.len().saturating_sub(1);
    let characters: usize = texts.iter().map(|text| text.chars().count()).sum();
    check_length(characters.saturating_add(between.saturating_mul(separator.chars().count())))?;
    Ok(texts.join(separator))
}

fn replaced(text: &str, from: &str, to: &str) -> Result<String, EvalError> {
    let matches = text.matches(from).count();
    let gone = matches * from.chars().count();
    let kept = text.chars().count().saturating_sub(gone);
    check_length(kept.saturating_add(matches.saturating_mul(to.chars().count())))?;
    Ok(text.replace(from, to))
}

/// A value as people read it.
pub(crate) fn display(value: &Value) -> String {
    match value {
        Value::Missing => String::new(),
        Value::Flag(flag) => flag.to_string(),
        Value::Number(number) => number.normalize().to_string(),
        Value::Text(text) => text.clone(),
        Value::List(items) => items.iter().map(display).collect::<Vec<_>>().join(", "),
    }
}

/// Whole years from a day of birth to today.
fn age(value: &Value, today: &str) -> Value {
    let parts = |date: &str| -> Option<(i32, u32, u32)> {
        let mut parts = date.splitn(3, '-');
        Some((
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
        ))
    };
    let Value::Text(birth) = value else {
        return Value::Missing;
    };
    match (parts(birth), parts(today)) {
        (Some(birth), Some(today)) => {
            let before = (today.1, today.2) < (birth.1, birth.2);
            Value::Number(Decimal::from(today.0 - birth.0 - i32::from(before)))
        }
        _ => Value::Missing,
    }
}

/// Fields by name, for evaluations outside a file.
impl Facts for BTreeMap<String, Value> {
    fn field(&self, path: &str) -> Value {
        self.get(path).cloned().unwrap_or(Value::Missing)
    }

    fn determinant(&self, _id: &str) -> Option<&Expr> {
        None
    }

    fn today(&self) -> &'static str {
        "1970-01-01"
    }
}

#[cfg(test)]
mod tests;
