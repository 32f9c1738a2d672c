//! Takes settings by key, typed; what is wrong with them is gathered, not thrown.

use super::{
    Problem,
    layers::{Settings, Value},
    suggest::closest,
};

/// Hands out settings and remembers which keys there are.
pub(crate) struct Reader<'a> {
    settings: &'a mut Settings,
    problems: &'a mut Vec<Problem>,
    known: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Reads these settings; problems are added to `problems`.
    pub(crate) fn new(settings: &'a mut Settings, problems: &'a mut Vec<Problem>) -> Self {
        Self {
            settings,
            problems,
            known: Vec::new(),
        }
    }

    /// Takes a setting that has a default, or that must be there.
    pub(crate) fn take<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let taken = self.take_optional(key, parse)?;
        if taken.is_none() {
            let origin = super::layers::Origin::Default;
            self.problems.push(Problem::new(
                origin,
                key,
                "it is missing and has no default".into(),
            ));
        }
        taken
    }

    /// Takes a setting that may be left out: none when it is there and wrong.
    pub(crate) fn take_optional<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<Option<T>> {
        self.known.push(key.to_owned());
        let Some(setting) = self.settings.remove(key) else {
            return Some(None);
        };
        match parse(&setting.value) {
            Ok(value) => Some(Some(value)),
            Err(reason) => {
                self.problems
                    .push(Problem::new(setting.origin, key, reason));
                None
            }
        }
    }

    /// Adds a problem with the setting that stands for a whole table.
    pub(crate) fn complain(&mut self, origin: super::layers::Origin, key: &str, reason: String) {
        self.problems.push(Problem::new(origin, key, reason));
    }

    /// Where a setting that is not taken yet was found.
    pub(crate) fn origin(&self, key: &str) -> super::layers::Origin {
        let setting = self.settings.get(key);
        setting.map_or(super::layers::Origin::Default, |setting| {
            setting.origin.clone()
        })
    }

    /// Settings that are not taken yet and whose key starts with `prefix`.
    pub(crate) fn rest<'s>(
        &'s self,
        prefix: &'s str,
    ) -> impl Iterator<Item = (&'s String, &'s super::layers::Setting)> {
        self.settings
            .iter()
            .filter(move |(key, _)| key.starts_with(prefix))
    }

    /// Whatever nobody took is a mistake: most likely a misspelt key.
    pub(crate) fn refuse_unknown(self) {
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        for (key, setting) in std::mem::take(self.settings) {
            let reason = if key.starts_with("source.") && key.split('.').count() == 2 {
                "a source is a list entry: write [[source]] with two brackets".to_owned()
            } else if known
                .iter()
                .any(|name| name.starts_with(&format!("{key}.")))
            {
                format!("it is a section, not a value: write [{key}] on a line of its own")
            } else {
                match closest(&key, &known) {
                    Some(near) => format!("there is no such key; did you mean `{near}`?"),
                    None => "there is no such key; `cairn config default` lists all".to_owned(),
                }
            };
            self.problems
                .push(Problem::new(setting.origin, &key, reason));
        }
    }
}

/// A string.
pub(crate) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        other => Err(format!(
            "it is {}, not a string: put it in quotes",
            describe(other)
        )),
    }
}

/// A string, a number, true or false, as text: others look at what it means.
pub(crate) fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::Switch(switch) => Ok(switch.to_string()),
        Value::Number(digits) => Ok(digits.clone()),
        other => text(other),
    }
}

/// A string that parses.
pub(crate) fn parsed<T>(
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> impl FnOnce(&Value) -> Result<T, String> {
    move |value| parse(&text(value)?)
}

/// A whole number of at least `least`.
pub(crate) fn number(least: u64) -> impl FnOnce(&Value) -> Result<u64, String> {
    move |value| {
        let digits = match value {
            Value::Number(digits) | Value::Text(digits) => digits,
            other => return Err(format!("it is {}, not a whole number", describe(other))),
        };
        match digits.parse::<u64>() {
            Ok(number) if number >= least => Ok(number),
            _ => Err(format!(
                "`{digits}` is not a whole number of at least {least}"
            )),
        }
    }
}

/// True or false.
pub(crate) fn switch(value: &Value) -> Result<bool, String> {
    match value {
        Value::Switch(switch) => Ok(*switch),
        Value::Text(text) if text == "true" => Ok(true),
        Value::Text(text) if text == "false" => Ok(false),
        Value::Text(text) => Err(format!("`{text}` is neither true nor false")),
        other => Err(format!("it is {}, write true or false", describe(other))),
    }
}

/// One of several words.
pub(crate) fn one_of<T: Copy>(
    words: &[(&'static str, T)],
) -> impl FnOnce(&Value) -> Result<T, String> {
    move |value| {
        let word = text(value)?;
        let found = words.iter().find(|(name, _)| *name == word);
        let names: Vec<_> = words
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        found
            .map(|(_, value)| *value)
            .ok_or(format!("`{word}` is not one of {}", names.join(", ")))
    }
}

/// A list of strings; from the environment, parted by commas.
pub(crate) fn list(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::List(items) => Ok(items.clone()),
        Value::Text(text) => Ok(text
            .split(',')
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect()),
        other => Err(format!("it is {}, not a list of strings", describe(other))),
    }
}

/// A list of words out of `words`; in the environment they are parted by commas.
pub(crate) fn words(
    words: &[&'static str],
) -> impl FnOnce(&Value) -> Result<Vec<&'static str>, String> {
    move |value| {
        let find = |item: &String| {
            let found = words.iter().find(|word| *word == item).copied();
            found.ok_or(format!(
                "`{item}` is not one of \"{}\"",
                words.join("\", \"")
            ))
        };
        list(value)?.iter().map(find).collect()
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "a string",
        Value::Number(_) => "a number",
        Value::Switch(_) => "true or false",
        Value::List(_) => "a list",
        Value::Other(what) => what,
    }
}
