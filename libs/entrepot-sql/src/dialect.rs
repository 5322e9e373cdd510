//! SQL that differs between engines, named once.
//!
//! | fragment | stands for |
//! |---|---|
//! | `{now}` | the database's clock: milliseconds since 1970, an integer |
//! | `{share}`, `{share a, b}` | lock the rows read (of these tables) against change: `FOR SHARE [OF …]`; nothing where there is one writer |
//! | `{update}`, `{update a}` | lock the rows read for change: `FOR UPDATE [OF …]`; nothing where there is one writer |
//! | `{skip_locked}` | after a lock: leave out rows that others hold |
//! | `{list $1}` | a table with one column `value`, from a JSON array of texts: `digest IN {list $1}` |
//! | `{int}`, `{text}`, `{bytes}` | column types: 64-bit integer, text ordered by its bytes, bytes |
//! | `{identity}` | an integer primary key that the database counts up |
//! | `{strict}`, `{keyed}` | table options: checked column types; the same and stored in the order of the primary key |
//!
//! Quoted text and comments are left alone.

#[cfg(test)]
mod tests;

/// The fragments of one engine.
pub(crate) struct Dialect {
    /// Written before a parameter's number.
    pub(crate) parameter: &'static str,
    /// Before and after the parameter that shifts the clock.
    pub(crate) now: (&'static str, &'static str),
    /// The clause and the word before its tables.
    pub(crate) share: Option<&'static str>,
    pub(crate) update: Option<&'static str>,
    /// Before and after the parameter.
    pub(crate) list: (&'static str, &'static str),
    /// Fragments that take no argument.
    pub(crate) words: &'static [(&'static str, &'static str)],
}

pub(crate) const SQLITE: Dialect = Dialect {
    parameter: "?",
    now: ("(CAST(round(unixepoch('subsec') * 1000) AS INTEGER) + ", ")"),
    share: None,
    update: None,
    list: ("(SELECT value FROM json_each(", "))"),
    words: &[
        ("skip_locked", ""),
        ("int", "INTEGER"),
        ("text", "TEXT"),
        ("bytes", "BLOB"),
        ("identity", "INTEGER PRIMARY KEY"),
        ("strict", "STRICT"),
        ("keyed", "STRICT, WITHOUT ROWID"),
    ],
};

/// A statement in the engine's own words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) sql: String,
    /// How many parameters the caller gives.
    pub(crate) params: usize,
    /// Whether one more follows them, which shifts the clock.
    pub(crate) shifts_clock: bool,
}

impl Dialect {
    /// Expands a statement. The error names what cannot be understood.
    pub(crate) fn expand(&self, sql: &str) -> Result<Expanded, String> {
        let params = highest_parameter(sql);
        let mut out = String::with_capacity(sql.len() + 32);
        let mut shifts_clock = false;
        let mut rest = sql;
        while let Some(at) = rest.find(['\'', '"', '-', '$', '{']) {
            let (before, special) = rest.split_at(at);
            out.push_str(before);
            rest = match special.as_bytes()[0] {
                quote @ (b'\'' | b'"') => copy_until(&mut out, special, char::from(quote)),
                b'-' if special.starts_with("--") => copy_until(&mut out, special, '\n'),
                b'$' if special[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                    out.push_str(self.parameter);
                    &special[1..]
                }
                b'{' => {
                    let end = special.find('}').ok_or("a fragment without its closing brace")?;
                    shifts_clock |= self.fragment(&special[1..end], params, &mut out)?;
                    &special[end + 1..]
                }
                _ => {
                    out.push_str(&special[..1]);
                    &special[1..]
                }
            };
        }
        out.push_str(rest);
        Ok(Expanded { sql: out, params, shifts_clock })
    }

    /// Writes one fragment; answers whether it reads the clock.
    fn fragment(&self, fragment: &str, params: usize, out: &mut String) -> Result<bool, String> {
        let (name, argument) = fragment.split_once(' ').unwrap_or((fragment, ""));
        match name {
            "now" => {
                let shift = params + 1;
                out.push_str(&format!("{}{}{shift}{}", self.now.0, self.parameter, self.now.1));
                return Ok(true);
            }
            "share" => lock(self.share, argument, out),
            "update" => lock(self.update, argument, out),
            "list" => {
                let number = argument.strip_prefix('$').ok_or("{list} needs its parameter, as in {list $1}")?;
                out.push_str(&format!("{}{}{number}{}", self.list.0, self.parameter, self.list.1));
            }
            _ => {
                let word = self.words.iter().find(|(word, _)| *word == fragment);
                let (_, text) = word.ok_or_else(|| format!("no fragment is called {{{fragment}}}"))?;
                out.push_str(text);
            }
        }
        Ok(false)
    }
}

fn lock(clause: Option<&str>, tables: &str, out: &mut String) {
    let Some(clause) = clause else { return };
    out.push_str(clause);
    if !tables.is_empty() {
        out.push_str(" OF ");
        out.push_str(tables);
    }
}

/// Copies from the opening character through `end`; a text that never ends is the engine's to refuse.
fn copy_until<'s>(out: &mut String, text: &'s str, end: char) -> &'s str {
    let stop = text[1..].find(end).map_or(text.len(), |at| at + 2);
    out.push_str(&text[..stop]);
    &text[stop..]
}

/// The highest `$n`; one inside a quotation only leaves a gap, which the count of parameters then reveals.
fn highest_parameter(sql: &str) -> usize {
    sql.split('$')
        .skip(1)
        .map(|after| {
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            after[..digits].parse().unwrap_or(0)
        })
        .max()
        .unwrap_or(0)
}
