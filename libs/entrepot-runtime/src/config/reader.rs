use std::path::PathBuf;

use super::{
    error::{ConfigError, ConfigErrors},
    field::{Bare, Field},
    reference::{FieldReference, Reference},
    secret::Secret,
    source::{Entry, Raw, Source},
};

/// Asks a [`Source`] for typed fields, collecting every mistake.
///
/// A getter always returns a value, the default when the configured one is wrong, so that reading goes on; nothing read
/// may be used before [`Reader::finish`] has said that all is well.
#[derive(Debug)]
pub struct Reader<'a> {
    source: &'a Source,
    fields: Vec<FieldReference>,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    /// Starts reading.
    pub fn new(source: &'a Source) -> Self {
        Self { source, fields: Vec::new(), errors: Vec::new() }
    }

    /// One value with a default.
    pub fn field<T: Field>(&mut self, key: &str, default: T, doc: &str) -> T {
        self.record(key, T::TYPE, Some(default.render()), doc);
        self.scalar(key).unwrap_or(default)
    }

    /// One value that may be absent.
    pub fn optional<T: Field>(&mut self, key: &str, doc: &str) -> Option<T> {
        self.record(key, T::TYPE, None, doc);
        self.scalar(key)
    }

    /// Several values: a TOML array, or one text separated by commas.
    pub fn list<T: Field>(&mut self, key: &str, default: Vec<T>, doc: &str) -> Vec<T> {
        let shown: Vec<_> = default.iter().map(Field::render).collect();
        self.record(key, &format!("list of {}", T::TYPE), Some(format!("[{}]", shown.join(", "))), doc);
        let Some(entry) = self.source.get(key) else {
            return default;
        };
        let items = match &entry.value {
            Raw::List(items) => items.clone(),
            Raw::Scalar { text, bare: Bare::None } => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Raw::Scalar { text: item.to_owned(), bare: Bare::None })
                .collect(),
            other => vec![other.clone()],
        };
        let parsed: Result<Vec<T>, String> = items.iter().map(parse).collect();
        parsed.unwrap_or_else(|message| {
            self.wrong(key, entry, message);
            default
        })
    }

    /// One of a few named values; `default` must be among `choices`.
    pub fn choice<T: Clone + PartialEq>(&mut self, key: &str, default: T, choices: &[(&str, T)], doc: &str) -> T {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let shown = choices.iter().find(|(_, value)| *value == default).map(|(name, _)| (*name).to_owned());
        self.record(key, &format!("one of {}", names.join(", ")), shown, doc);
        let Some(entry) = self.source.get(key) else {
            return default;
        };
        let text = match &entry.value {
            Raw::Scalar { text, .. } => text.as_str(),
            Raw::List(_) | Raw::Unusable(_) => "",
        };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return value.clone();
        }
        self.wrong(key, entry, format!("{text:?} is not one of {}", names.join(", ")));
        default
    }

    /// A secret, given as `key` or as a file named by `key_file` whose trailing line end is dropped.
    pub fn secret(&mut self, key: &str, doc: &str) -> Option<Secret> {
        let file_key = format!("{key}_file");
        self.record(key, "secret", None, doc);
        self.record(&file_key, "path", None, &format!("File that holds `{key}`."));
        let direct = self.secret_text(key);
        let file: Option<PathBuf> = self.scalar(&file_key);
        match (direct, file) {
            (Some(_), Some(_)) => {
                self.reject(&file_key, format!("and {key} are both given; give only one of them"));
                None
            }
            (direct, None) => direct,
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) if !text.trim_end_matches(['\r', '\n']).is_empty() => {
                    Some(Secret::new(text.trim_end_matches(['\r', '\n'])))
                }
                Ok(_) => {
                    self.reject(&file_key, format!("{} is empty", path.display()));
                    None
                }
                Err(error) => {
                    self.reject(&file_key, format!("{} cannot be read: {error}", path.display()));
                    None
                }
            },
        }
    }

    /// Whether a layer gives the key a value.
    pub fn is_set(&self, key: &str) -> bool {
        self.source.get(key).is_some()
    }

    /// Adds a mistake found by the caller, such as two fields that do not go together.
    pub fn reject(&mut self, key: &str, message: impl Into<String>) {
        let origin = self.source.get(key).map(|entry| entry.origin.clone());
        self.errors.push(ConfigError { key: key.to_owned(), message: message.into(), origin });
    }

    /// Ends reading: keys that no getter asked for are mistakes too.
    ///
    /// # Errors
    /// Every mistake collected.
    pub fn finish(mut self) -> Result<Reference, ConfigErrors> {
        for (key, entry) in self.source.entries() {
            if self.fields.iter().any(|field| field.key == key) {
                continue;
            }
            let message = match nearest(key, &self.fields) {
                Some(known) => format!("is not a known key; did you mean {known}?"),
                None => "is not a known key".to_owned(),
            };
            let origin = Some(entry.origin.clone());
            self.errors.push(ConfigError { key: key.to_owned(), message, origin });
        }
        if self.errors.is_empty() { Ok(Reference::new(self.fields)) } else { Err(ConfigErrors(self.errors)) }
    }

    fn secret_text(&mut self, key: &str) -> Option<Secret> {
        let entry = self.source.get(key)?;
        match &entry.value {
            Raw::Scalar { text, .. } if !text.is_empty() => Some(Secret::new(text.clone())),
            _ => {
                self.wrong(key, entry, "is not a text, or is empty".to_owned());
                None
            }
        }
    }

    fn scalar<T: Field>(&mut self, key: &str) -> Option<T> {
        let entry = self.source.get(key)?;
        match parse(&entry.value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.wrong(key, entry, message);
                None
            }
        }
    }

    fn wrong(&mut self, key: &str, entry: &Entry, message: String) {
        self.errors.push(ConfigError { key: key.to_owned(), message, origin: Some(entry.origin.clone()) });
    }

    fn record(&mut self, key: &str, kind: &str, default: Option<String>, doc: &str) {
        self.fields.push(FieldReference { key: key.to_owned(), kind: kind.to_owned(), default, doc: doc.to_owned() });
    }
}

fn parse<T: Field>(raw: &Raw) -> Result<T, String> {
    match raw {
        Raw::Scalar { text, bare } if allows(T::BARE, *bare) => {
            T::parse(text).ok_or_else(|| format!("{text:?} is not {}", T::EXPECTED))
        }
        Raw::Scalar { text, .. } => Err(format!("{text} is not {}", T::EXPECTED)),
        Raw::List(_) => Err(format!("a list is not {}", T::EXPECTED)),
        Raw::Unusable(what) => Err(format!("{what} is not {}", T::EXPECTED)),
    }
}

fn allows(field: Bare, written: Bare) -> bool {
    written == Bare::None || field == written || (field == Bare::Number && written == Bare::Integer)
}

/// The known key that the fewest edits away, when few enough that a slip is likely.
fn nearest<'f>(key: &str, fields: &'f [FieldReference]) -> Option<&'f str> {
    let name = |key: &str| key.rsplit('.').next().map(str::to_owned);
    fields
        .iter()
        .map(|field| {
            let moved = name(key) == name(&field.key);
            (if moved { 1 } else { distance(key, &field.key) }, field.key.as_str())
        })
        .filter(|(edits, _)| *edits <= 1 + key.len() / 5)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, key)| key)
}

/// Levenshtein distance over bytes; keys are short and ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
