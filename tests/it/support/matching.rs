//! Whether a value is as a case expects it: the matchers of `tests/cases/partner/README.md`.

use serde_json::{Map, Value};

/// Adds what is not as expected to `wrong`; `place` names the value in it.
pub(crate) fn mismatches(
    place: &str,
    expected: &Value,
    got: Option<&Value>,
    wrong: &mut Vec<String>,
) {
    let shown = || got.map_or_else(|| "nothing".into(), Value::to_string);
    match (expected, got) {
        (Value::String(matcher), _) if matcher.starts_with('$') => {
            if !matches(matcher, got) {
                wrong.push(format!("{place}: expected {matcher}, got {}", shown()));
            }
        }
        (Value::Object(parts), Some(Value::Array(items)))
            if parts.keys().all(|name| name.starts_with('$')) =>
        {
            list(place, parts, items, wrong);
        }
        (Value::Object(fields), Some(Value::Object(found))) => {
            for (name, value) in fields {
                mismatches(&format!("{place}.{name}"), value, found.get(name), wrong);
            }
        }
        (Value::Array(items), Some(Value::Array(found))) if items.len() == found.len() => {
            for (index, (item, found)) in items.iter().zip(found).enumerate() {
                mismatches(&format!("{place}[{index}]"), item, Some(found), wrong);
            }
        }
        (Value::Number(number), Some(Value::Number(found)))
            if number.as_f64() == found.as_f64() => {}
        (expected, Some(found)) if expected == found => {}
        (expected, _) => wrong.push(format!("{place}: expected {expected}, got {}", shown())),
    }
}

fn list(place: &str, parts: &Map<String, Value>, items: &[Value], wrong: &mut Vec<String>) {
    for (name, value) in parts {
        match name[1..].parse::<usize>() {
            Ok(index) => mismatches(&format!("{place}[{index}]"), value, items.get(index), wrong),
            Err(_) if name == "$length" && *value == items.len() => {}
            Err(_) => wrong.push(format!(
                "{place}: expected {name} {value}, got {} items",
                items.len()
            )),
        }
    }
}

/// Whether a value is what a matcher's name says; one that does not exist holds for nothing.
fn matches(matcher: &str, got: Option<&Value>) -> bool {
    let Some(got) = got else {
        return matcher == "$absent";
    };
    let text = got.as_str();
    match matcher {
        "$any" => true,
        "$null" => got.is_null(),
        "$string" => text.is_some(),
        "$int" => got.is_i64() || got.is_u64(),
        "$number" => got.is_number(),
        "$decimal" => text.is_some_and(is_decimal),
        "$hash" => text.is_some_and(is_hash),
        "$time" => text.is_some_and(is_time),
        _ => false,
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hash(text: &str) -> bool {
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("0x")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(lower_hex))
}

fn is_time(text: &str) -> bool {
    let form = |(byte, form): (u8, u8)| {
        if form == b'0' {
            byte.is_ascii_digit()
        } else {
            byte == form
        }
    };
    let (seconds, rest) = text.split_at(text.len().min(19));
    let fraction = rest
        .strip_suffix('Z')
        .map(|rest| rest.strip_prefix('.').unwrap_or(rest));
    seconds.len() == 19
        && seconds.bytes().zip(*b"0000-00-00T00:00:00").all(form)
        && fraction.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[test]
fn a_case_that_does_not_hold_is_told_with_its_place() {
    let expected =
        serde_json::json!({"a": {"$length": 2, "$1": {"b": "$decimal", "c": "$absent"}}, "d": 1.0});
    let told = |got| {
        let mut wrong = Vec::new();
        mismatches("$", &expected, Some(&got), &mut wrong);
        wrong
    };
    assert_eq!(
        told(serde_json::json!({"a": [0, {"b": "-12"}], "d": 1, "e": 0})),
        Vec::<String>::new()
    );
    let wrong = told(serde_json::json!({"a": [{"b": "1"}], "d": 2}));
    assert_eq!(wrong.len(), 3, "{wrong:#?}");
    assert!(wrong[0].starts_with("$.a[1]"), "{wrong:#?}");
}
