//! A check that JSON means one thing only, before anything is read out of it.
//!
//! Two parsers that disagree on a document (which of two equal keys counts, how deep they go) are
//! how a manifest is made to name other content to a scanner than to a runtime.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

/// Deepest nesting accepted; real manifests use about six levels.
pub const MAX_DEPTH: usize = 32;

/// Why a document was refused.
#[derive(Debug, thiserror::Error)]
#[error("the JSON is not acceptable")]
pub struct StrictJsonError(#[source] serde_json::Error);

impl StrictJsonError {
    /// What is wrong and where, in words for the client.
    pub fn reason(&self) -> String {
        self.0.to_string()
    }
}

/// Checks that `bytes` are one JSON value in UTF-8, nested at most [`MAX_DEPTH`] deep, with no key
/// twice in one object.
pub fn check(bytes: &[u8]) -> Result<(), StrictJsonError> {
    let depth = Cell::new(0);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Strict(&depth).deserialize(&mut deserializer).map_err(StrictJsonError)?;
    deserializer.end().map_err(StrictJsonError)
}

struct Strict<'a>(&'a Cell<usize>);

impl Strict<'_> {
    fn descend<E: Error>(&self) -> Result<(), E> {
        self.0.set(self.0.get() + 1);
        if self.0.get() > MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    fn ascend(&self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.descend()?;
        while seq.next_element_seed(Strict(self.0))?.is_some() {}
        self.ascend();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.descend()?;
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(Strict(self.0))?;
            if let Some(key) = seen.replace(key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice in one object")));
            }
        }
        self.ascend();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        check(text.as_bytes()).unwrap_err().reason()
    }

    #[test]
    fn accepts_json_up_to_the_depth() {
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        for text in ["{}", r#"{"a":{"a":[1,-2,3.5,"x",null,true]},"b":{"a":1}}"#, deep.as_str(), " [ ] \n"] {
            assert!(check(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_with_a_reason() {
        assert!(reason(&format!("{}{}", "[".repeat(33), "]".repeat(33))).contains("nested deeper than 32"));
        assert!(reason(&"[".repeat(1_000_000)).contains("nested deeper"));
        assert!(reason(r#"{"a":1,"b":{"x":1,"x":2}}"#).contains("\"x\" stands twice"));
        assert!(reason(r#"{"a":1,"\u0061":2}"#).contains("\"a\" stands twice"));
        assert!(reason("{} {}").contains("trailing"));
        assert!(check(b"{\"a\":\"\xff\"}").is_err());
        assert!(check(b"").is_err());
    }
}
