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

    /// A Markdown table per section: key, type, default and meaning. Each section comes once, where its first key was read,
    /// since TOML takes no section twice.
    pub fn to_markdown(&self) -> String {
        let section_of =
            |field: &FieldReference| field.key.rsplit_once('.').map_or(String::new(), |(it, _)| it.to_owned());
        let mut sections: Vec<(String, Vec<&FieldReference>)> = Vec::new();
        for field in &self.fields {
            let section = section_of(field);
            match sections.iter_mut().find(|(name, _)| *name == section) {
                Some((_, fields)) => fields.push(field),
                None => sections.push((section, vec![field])),
            }
        }
        let tables: Vec<String> = sections.iter().map(|(section, fields)| table(section, fields)).collect();
        tables.join("\n")
    }
}

fn table(section: &str, fields: &[&FieldReference]) -> String {
    let heading = if section.is_empty() { "Top level".to_owned() } else { format!("`[{section}]`") };
    let mut text = format!("## {heading}\n\n| key | type | default | meaning |\n|---|---|---|---|\n");
    for field in fields {
        let default = field.default.as_ref().map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{}` | {} | {default} | {} |", field.key, field.kind, field.doc);
    }
    text
}
