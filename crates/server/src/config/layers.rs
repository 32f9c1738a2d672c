//! Where settings come from: defaults < file < environment < flags, laid over each other key by key.

use std::{collections::BTreeMap, fmt, path::Path};

use toml::de::{DeTable, DeValue};

use super::Problem;

/// Where a setting was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The defaults that are part of the binary.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("defaults"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A string; also whatever the environment holds.
    Text(String),
    /// A whole number, in decimal.
    Number(String),
    /// True or false.
    Switch(bool),
    /// A list of strings.
    List(Vec<String>),
    /// Something no setting is, by the name of its type.
    Other(&'static str),
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The value.
    pub(crate) value: Value,
    /// Where it was found.
    pub(crate) origin: Origin,
}

/// Settings by dotted key, such as `server.listen` and `source.0.url`.
pub(crate) type Settings = BTreeMap<String, Setting>;

/// Reads a TOML text into dotted keys. `path` is none for the defaults.
pub(crate) fn read_toml(
    text: &str,
    path: Option<&Path>,
    settings: &mut Settings,
    problems: &mut Vec<Problem>,
) {
    let origin = |offset: usize| match path {
        None => Origin::Default,
        Some(path) => Origin::File {
            path: path.display().to_string(),
            line: 1 + text
                .bytes()
                .take(offset)
                .filter(|byte| *byte == b'\n')
                .count(),
        },
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = origin(error.span().map_or(0, |span| span.start));
        problems.push(Problem::new(
            at,
            "",
            format!("this is not TOML: {}", error.message()),
        ));
    }
    flatten_table(table.get_ref(), "", &origin, settings);
}

fn flatten_table(
    table: &DeTable<'_>,
    prefix: &str,
    origin: &dyn Fn(usize) -> Origin,
    settings: &mut Settings,
) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        flatten(value.get_ref(), key, name.span().start, origin, settings);
    }
}

fn flatten(
    value: &DeValue<'_>,
    key: String,
    offset: usize,
    origin: &dyn Fn(usize) -> Origin,
    settings: &mut Settings,
) {
    let value = match value {
        DeValue::Table(table) => return flatten_table(table, &key, origin, settings),
        DeValue::Array(array) if array.iter().any(|item| item.get_ref().is_table()) => {
            for (index, item) in array.iter().enumerate() {
                let offset = item.span().start;
                flatten(
                    item.get_ref(),
                    format!("{key}.{index}"),
                    offset,
                    origin,
                    settings,
                );
            }
            return;
        }
        DeValue::Array(array) => list(array.iter().map(|item| item.get_ref())),
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            let decimal = i128::from_str_radix(number.as_str(), number.radix());
            Value::Number(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Boolean(switch) => Value::Switch(*switch),
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    settings.insert(
        key,
        Setting {
            value,
            origin: origin(offset),
        },
    );
}

fn list<'a>(items: impl Iterator<Item = &'a DeValue<'a>>) -> Value {
    let texts: Option<Vec<String>> = items.map(|item| item.as_str().map(str::to_owned)).collect();
    texts.map_or(
        Value::Other("a list of other things than strings"),
        Value::List,
    )
}

const SECTIONS: &[&str] = &["SERVER", "DATA", "LOG", "KAFKA", "API", "LIMITS", "SOURCE"];

/// Reads the environment: `CAIRN_SERVER__LISTEN` is `server.listen`.
pub(crate) fn read_environment(
    variables: impl IntoIterator<Item = (String, String)>,
    settings: &mut Settings,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in variables {
        let Some(key) = name.strip_prefix("CAIRN_") else {
            continue;
        };
        let origin = Origin::Variable(name.clone());
        if key.contains("__") {
            let key = key
                .split("__")
                .collect::<Vec<_>>()
                .join(".")
                .to_ascii_lowercase();
            settings.insert(
                key,
                Setting {
                    value: Value::Text(value),
                    origin,
                },
            );
        } else if let Some(section) = SECTIONS.iter().find(|section| {
            key.strip_prefix(**section)
                .is_some_and(|rest| rest.starts_with('_'))
        }) {
            let meant = key.replacen(&format!("{section}_"), &format!("{section}__"), 1);
            let way_out = format!("section and key are parted by two underscores: CAIRN_{meant}");
            problems.push(Problem::new(origin, &key.to_ascii_lowercase(), way_out));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::Text(value.into())
    }

    #[test]
    fn a_file_becomes_dotted_keys_with_their_lines() {
        let (mut settings, mut problems) = (Settings::new(), Vec::new());
        let file = "[server]\nlisten = \"a\"\n[[source]]\nname = \"x\"\nstart = 0x10\n[[source]]\nname = \"y\"\n";
        read_toml(
            file,
            Some(Path::new("c.toml")),
            &mut settings,
            &mut problems,
        );
        assert!(problems.is_empty());
        assert_eq!(settings["source.1.name"].value, text("y"));
        assert_eq!(settings["source.0.start"].value, Value::Number("16".into()));
        assert_eq!(settings["source.0.start"].origin.to_string(), "c.toml:5");
    }

    #[test]
    fn two_underscores_part_section_and_key_in_the_environment() {
        let (mut settings, mut problems) = (Settings::new(), Vec::new());
        let variables = [
            ("CAIRN_SOURCE__0__FINALITY_DEPTH", "7"),
            ("CAIRN_SERVER_LISTEN", "x"),
            ("CAIRN_SOAK", "1"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        read_environment(variables, &mut settings, &mut problems);
        assert_eq!(settings["source.0.finality_depth"].value, text("7"));
        assert_eq!(settings.len(), 1);
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].to_string().contains("CAIRN_SERVER__LISTEN"),
            "{}",
            problems[0]
        );
    }
}
