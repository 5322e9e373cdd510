use std::fmt::Write;

use super::source::ENV_PREFIX;

/// What is known about one configuration key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldReference {
    /// Dotted key, as in `http.listen`.
    pub key: String,
    /// The type in words.
    pub kind: String,
    /// The default in text form; `None` when there is none.
    pub default: Option<String>,
    /// One or two sentences.
    pub doc: String,
}

impl FieldReference {
    /// The environment variable that overrides the key.
    pub fn variable(&self) -> String {
        format!("{ENV_PREFIX}{}", self.key.to_ascii_uppercase().replace('.', "__"))
    }
}

/// All keys a program reads, in the order it reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    fields: Vec<FieldReference>,
}

impl Reference {
    pub(super) fn new(fields: Vec<FieldReference>) -> Self {
        Self { fields }
    }

    /// The keys, in the order read.
    pub fn fields(&self) -> &[FieldReference] {
        &self.fields
    }

    /// A Markdown table per section: key, type, default and meaning.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        let mut current = None;
        for field in &self.fields {
            let section = field.key.rsplit_once('.').map_or("", |(section, _)| section);
            if current != Some(section) {
                let heading = if section.is_empty() { "Top level".to_owned() } else { format!("`[{section}]`") };
                let gap = if current.is_some() { "\n" } else { "" };
                // Writing to a String cannot fail.
                let _ = write!(text, "{gap}## {heading}\n\n| key | type | default | meaning |\n|---|---|---|---|\n");
                current = Some(section);
            }
            let default = field.default.as_ref().map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
            let _ = writeln!(text, "| `{}` | {} | {default} | {} |", field.key, field.kind, field.doc);
        }
        text
    }
}
