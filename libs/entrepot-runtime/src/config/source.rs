use std::{collections::BTreeMap, ffi::OsString, path::Path};

use super::{
    error::{ConfigError, ConfigErrors},
    field::Bare,
};

/// Environment variables with this prefix are configuration; each must name a key.
pub(super) const ENV_PREFIX: &str = "ENTREPOT__";

/// Raw configuration values by dotted key, later layers replacing earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Source {
    values: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Raw,
    pub(super) origin: String,
}

/// A value before its type is known.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    /// One value; `bare` tells how TOML wrote it when it was not a string.
    Scalar { text: String, bare: Bare },
    /// A TOML array of scalars.
    List(Vec<Raw>),
    /// Something no field can be, such as an array of tables.
    Unusable(&'static str),
}

impl Source {
    /// Reads the file, if one is given, and the variables of `env` that start with `ENTREPOT__`.
    ///
    /// # Errors
    /// A file that cannot be read or is not TOML, and variables that are not UTF-8 or whose name has an empty part.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        let mut source = Self::default();
        let mut errors = Vec::new();
        if let Some(path) = file {
            let origin = path.display().to_string();
            match read_toml(path) {
                Ok(table) => source.flatten("", table, &origin),
                Err(message) => errors.push(ConfigError { key: origin, message, origin: None }),
            }
        }
        for (name, value) in env {
            if let Err(error) = source.variable(&name, value) {
                errors.push(error);
            }
        }
        if errors.is_empty() { Ok(source) } else { Err(ConfigErrors(errors)) }
    }

    /// Sets one value above the file and the environment, as a command-line flag does.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.insert(key.to_owned(), Raw::text(value.into()), "the command line");
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.values.get(key)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.values.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    fn insert(&mut self, key: String, value: Raw, origin: &str) {
        self.values.insert(key, Entry { value, origin: origin.to_owned() });
    }

    fn flatten(&mut self, prefix: &str, table: toml::Table, origin: &str) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value {
                toml::Value::Table(table) => self.flatten(&key, table, origin),
                value => self.insert(key, Raw::from_toml(value), origin),
            }
        }
    }

    fn variable(&mut self, name: &OsString, value: OsString) -> Result<(), ConfigError> {
        let shown = name.to_string_lossy();
        let Some(path) = shown.strip_prefix(ENV_PREFIX) else {
            return Ok(());
        };
        let wrong = |message: &str| ConfigError { key: shown.to_string(), message: message.to_owned(), origin: None };
        let key = path.to_ascii_lowercase().replace("__", ".");
        if name.to_str().is_none() || key.split('.').any(str::is_empty) {
            return Err(wrong("is not a variable like ENTREPOT__HTTP__LISTEN"));
        }
        let value = value.into_string().map_err(|_| wrong("has a value that is not UTF-8"))?;
        self.insert(key, Raw::text(value), &shown);
        Ok(())
    }
}

impl Raw {
    fn text(text: String) -> Self {
        Self::Scalar { text, bare: Bare::None }
    }

    fn from_toml(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Self::text(text),
            toml::Value::Integer(number) => Self::Scalar { text: number.to_string(), bare: Bare::Integer },
            toml::Value::Float(number) => Self::Scalar { text: number.to_string(), bare: Bare::Number },
            toml::Value::Boolean(flag) => Self::Scalar { text: flag.to_string(), bare: Bare::Boolean },
            toml::Value::Array(items) => Self::List(items.into_iter().map(Self::from_toml).collect()),
            toml::Value::Datetime(_) => Self::Unusable("a date"),
            toml::Value::Table(_) => Self::Unusable("a table"),
        }
    }
}

fn read_toml(path: &Path) -> Result<toml::Table, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    text.parse::<toml::Table>().map_err(|error| {
        // The error's own display quotes the line, which may hold a secret.
        let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        format!("is not valid TOML at line {line}: {}", error.message())
    })
}
