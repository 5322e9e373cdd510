//! Notices as text: `<sender> <kind> [<repository> <digest>]`.

use std::fmt;

use entrepot_core::ports::notices::Notice;

/// Names a process for as long as it runs, so that it does not hear itself twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender(u64);

impl Sender {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// `None` for what is only ever said within a process.
pub(crate) fn encode(sender: Sender, notice: &Notice) -> Option<String> {
    match notice {
        Notice::ManifestDeleted(repository, digest) => Some(format!("{sender} manifest {repository} {digest}")),
        Notice::BlobDeleted(repository, digest) => Some(format!("{sender} blob {repository} {digest}")),
        Notice::RightsChanged => Some(format!("{sender} rights")),
        Notice::GarbageQueued => Some(format!("{sender} garbage")),
        Notice::Missed => None,
    }
}

/// `None` for what this version does not know: a notice is a hint, and everything works without.
pub(crate) fn decode(text: &[u8]) -> Option<(Sender, Notice)> {
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    let sender = Sender(u64::from_str_radix(words.next()?, 16).ok()?);
    let kind = words.next()?;
    let notice = match kind {
        "manifest" => Notice::ManifestDeleted(words.next()?.parse().ok()?, words.next()?.parse().ok()?),
        "blob" => Notice::BlobDeleted(words.next()?.parse().ok()?, words.next()?.parse().ok()?),
        "rights" => Notice::RightsChanged,
        "garbage" => Notice::GarbageQueued,
        _ => return None,
    };
    words.next().is_none().then_some((sender, notice))
}

#[cfg(test)]
mod tests {
    use entrepot_testkit::builders::content;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let sender = Sender::random();
        let (name, digest) = ("team/app".parse().unwrap(), content("gone").digest);
        for notice in [
            Notice::ManifestDeleted("a.b/c_d/e".parse().unwrap(), digest),
            Notice::BlobDeleted(name, digest),
            Notice::RightsChanged,
            Notice::GarbageQueued,
        ] {
            let text = encode(sender, &notice).unwrap();
            assert_eq!(decode(text.as_bytes()), Some((sender, notice)), "{text}");
        }
        assert_eq!(encode(sender, &Notice::Missed), None);
    }

    #[test]
    fn anything_else_is_nothing() {
        for text in [
            "",
            " ",
            "0",
            "0 ",
            "x rights",
            "0 missed",
            "0 rights more",
            "0 manifest",
            "0 manifest team/app",
            "0 manifest team/app sha256:00",
            "0 blob UPPER sha256:00",
            "rights",
            "0  rights",
            "99999999999999999 rights",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(decode(b"0 \xff"), None);
    }
}
