//! Expressions: results, unknown values, and limits.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn value(expression: &Json) -> Result<Value, EvalError> {
    let facts: BTreeMap<String, Value> = [
        ("a.n".to_owned(), Value::Number(Decimal::from(7))),
        ("a.t".to_owned(), Value::Text("Ünïts".to_owned())),
        ("a.born".to_owned(), Value::Text("1950-06-15".to_owned())),
    ]
    .into();
    read(expression).unwrap().value(&facts)
}

fn number(text: &str) -> Value {
    Value::Number(text.parse().unwrap())
}

#[test]
fn functions_give_exact_results() {
    let cases = [
        (json!({"+": [0.1, 0.2]}), number("0.3")),
        (json!({"/": [1, 4]}), number("0.25")),
        (json!({"-": [{"var": "a.n"}]}), number("-7")),
        (json!({"round": [2.5]}), number("2")),
        (json!({"round": [2.71928, 2]}), number("2.72")),
        (json!({"median": [1, 9, 5, 7]}), number("6")),
        (json!({"avg": [[1, 2], 6]}), number("3")),
        (json!({"count": [1, {"var": "a.none"}]}), number("1")),
        (json!({"len": {"var": "a.t"}}), number("5")),
        (
            json!({"concat_ws": ["-", "a", {"var": "a.none"}, "b"]}),
            Value::Text("a-b".into()),
        ),
        (json!({"age": {"var": "a.born"}}), number("19")),
        (
            json!({"if": [{">": [{"var": "a.n"}, 5]}, "x", "y"]}),
            Value::Text("x".into()),
        ),
        (json!({"in": [7, [1, 7]]}), Value::Flag(true)),
        (json!({"==": ["7.0", {"var": "a.n"}]}), Value::Flag(true)),
    ];
    for (expression, expected) in cases {
        assert_eq!(value(&expression).unwrap(), expected, "{expression}");
    }
}

#[test]
fn missing_values_are_unknown_not_false() {
    let missing = json!({"<": [{"var": "a.none"}, 5]});
    assert_eq!(value(&missing).unwrap(), Value::Missing);
    assert_eq!(value(&json!({"!": [missing]})).unwrap(), Value::Missing);
    assert_eq!(
        value(&json!({"and": [missing, false]})).unwrap(),
        Value::Flag(false)
    );
    assert_eq!(
        value(&json!({"and": [missing, true]})).unwrap(),
        Value::Missing
    );
    assert_eq!(
        value(&json!({"or": [missing, true]})).unwrap(),
        Value::Flag(true)
    );
    assert_eq!(
        value(&json!({"given": {"var": "a.none"}})).unwrap(),
        Value::Flag(false)
    );
}

#[test]
fn faults_are_named() {
    assert_eq!(value(&json!({"/": [1, 0]})), Err(EvalError::DivisionByZero));
    assert!(value(&json!({"<": [true, 1]})).is_err());
    assert_eq!(
        read(&json!({"system": ["rm"]})),
        Err(ReadError::UnknownFunction("system".into()))
    );
    assert!(matches!(
        read(&json!({"!": [1, 2]})),
        Err(ReadError::Arguments { .. })
    ));
    let mut deep = json!(true);
    for _ in 0..40 {
        deep = json!({"!": [deep]});
    }
    assert_eq!(read(&deep), Err(ReadError::TooLarge));
}

/// Determinants that each name the next one twice.
struct Chain {
    links: Vec<Expr>,
}

impl Chain {
    fn of(length: usize) -> Self {
        let link = |n: usize| read(&json!({"and": [determinant(n + 1), determinant(n + 1)]}));
        let mut links: Vec<_> = (0..length).map(|n| link(n).unwrap()).collect();
        links.push(Expr::Constant(Value::Flag(true)));
        Self { links }
    }
}

fn determinant(n: usize) -> Json {
    json!({"determinant": n.to_string()})
}

impl Facts for Chain {
    fn field(&self, _path: &str) -> Value {
        Value::Missing
    }

    fn determinant(&self, id: &str) -> Option<&Expr> {
        self.links.get(id.parse::<usize>().ok()?)
    }

    fn today(&self) -> &'static str {
        "2026-01-01"
    }
}

#[test]
fn work_is_bounded() {
    let first = read(&determinant(0)).unwrap();
    assert_eq!(first.holds(&Chain::of(10)), Ok(true));
    assert_eq!(first.holds(&Chain::of(31)), Err(EvalError::Costly));
    // Long lists and texts count as what they are.
    let list = vec![json!(1); 30_000];
    let sums = |times| json!({"+": vec![json!({"sum": [list]}); times]});
    assert_eq!(value(&sums(1)), Ok(number("30000")));
    assert_eq!(value(&sums(2)), Err(EvalError::Costly));
    let long = "x".repeat(1_000_000);
    let lengths = |times| json!({"+": vec![json!({"len": long}); times]});
    assert_eq!(value(&lengths(3)), Ok(number("3000000")));
    assert_eq!(value(&lengths(4)), Err(EvalError::Costly));
}

#[test]
fn texts_are_measured_before_they_grow() {
    let grown = Err(EvalError::Type("a text grew too long"));
    let long = "x".repeat(10_000);
    assert_eq!(
        value(&json!({"concat": [long]})),
        Ok(Value::Text(long.clone()))
    );
    assert_eq!(value(&json!({"concat": [long, "x"]})), grown);
    assert_eq!(value(&json!({"concat_ws": [long, "a", "b"]})), grown);
    assert_eq!(
        value(&json!({"concat_ws": [long, "a"]})),
        Ok(Value::Text("a".into()))
    );
    // Built, each of these would take a hundred million bytes.
    assert_eq!(value(&json!({"replace": [long, "x", long]})), grown);
    assert_eq!(value(&json!({"replace": [long, "", long]})), grown);
    assert_eq!(
        value(&json!({"replace": [long, "xx", "y"]})),
        Ok(Value::Text("y".repeat(5_000)))
    );
    assert_eq!(
        value(&json!({"replace": ["ab", "", "-"]})),
        Ok(Value::Text("-a-b-".into()))
    );
}

/// Any expression, and things that are nearly one.
fn expression() -> impl Strategy<Value = Json> {
    let names = prop::sample::select(vec![
        "and",
        "or",
        "!",
        "if",
        "==",
        "!=",
        "<",
        ">=",
        "in",
        "+",
        "-",
        "*",
        "/",
        "sum",
        "min",
        "max",
        "avg",
        "median",
        "count",
        "ceiling",
        "floor",
        "round",
        "concat",
        "concat_ws",
        "len",
        "replace",
        "upper_case",
        "lower_case",
        "age",
        "given",
        "var",
        "determinant",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "[0-9.+-]{0,12}".prop_map(Json::from),
        "(2147483647|1950|0|-)-(06|99999999999)-15".prop_map(Json::from),
        "\\PC{0,6}".prop_map(Json::from),
        Just(json!({"var": "a.n"})),
        Just(json!("79228162514264337593543950335")),
        Just(json!("0.0000000000000000000000000001")),
    ];
    leaf.prop_recursive(4, 40, 4, move |inner| {
        let arguments = prop::collection::vec(inner, 0..4);
        (names.clone(), arguments).prop_map(|(name, arguments)| json!({ name: arguments }))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    /// Reading and evaluating never panic, and texts stay within their limit.
    #[test]
    fn any_expression_is_read_or_refused(expression in expression()) {
        let facts: BTreeMap<String, Value> =
            [("a.n".to_owned(), Value::Text("1950-06-15".to_owned()))].into();
        if let Ok(read) = read(&expression)
            && let Ok(Value::Text(text)) = read.value(&facts)
        {
            prop_assert!(text.chars().count() <= MAX_TEXT);
        }
    }
}
