use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// A type a configuration value can have.
///
/// Every value has a text form, so that the file, the environment and the command line mean the same.
pub trait Field: Sized {
    /// The type as the reference names it, such as `duration`.
    const TYPE: &'static str;
    /// What a value looks like, for `"x" is not {EXPECTED}`.
    const EXPECTED: &'static str;
    /// Whether the file may write the value as a bare TOML integer, float or boolean.
    const BARE: Bare = Bare::None;

    /// Reads the text form; `None` when it is not one.
    fn parse(text: &str) -> Option<Self>;

    /// The text form, as the reference shows a default.
    fn render(&self) -> String;
}

/// The TOML types besides strings that a [`Field`] may be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// Only strings.
    None,
    /// `true` and `false`.
    Boolean,
    /// Integers.
    Integer,
    /// Integers and floats.
    Number,
}

macro_rules! field_from_str {
    ($($type:ty, $name:literal, $expected:literal, $bare:ident;)*) => {$(
        impl Field for $type {
            const TYPE: &'static str = $name;
            const EXPECTED: &'static str = $expected;
            const BARE: Bare = Bare::$bare;

            fn parse(text: &str) -> Option<Self> {
                Self::from_str(text).ok()
            }

            fn render(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

field_from_str! {
    bool, "boolean", "true or false", Boolean;
    u16, "integer", "a whole number from 0 to 65535", Integer;
    u32, "integer", "a whole number from 0 to 4294967295", Integer;
    u64, "integer", "a whole number, zero or more", Integer;
    usize, "integer", "a whole number, zero or more", Integer;
    SocketAddr, "address", "an address like 127.0.0.1:5000 or [::]:5000", None;
}

impl Field for String {
    const TYPE: &'static str = "string";
    const EXPECTED: &'static str = "a text that is not empty";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn render(&self) -> String {
        self.clone()
    }
}

impl Field for PathBuf {
    const TYPE: &'static str = "path";
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('\0')).then(|| text.into())
    }

    fn render(&self) -> String {
        self.display().to_string()
    }
}

impl Field for f64 {
    const TYPE: &'static str = "number";
    const EXPECTED: &'static str = "a number like 0.25";
    const BARE: Bare = Bare::Number;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Field for http::Uri {
    const TYPE: &'static str = "URL";
    const EXPECTED: &'static str = "a URL like http://127.0.0.1:5001";

    fn parse(text: &str) -> Option<Self> {
        let uri = http::Uri::from_str(text).ok()?;
        (matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()).then_some(uri)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Field for Duration {
    const TYPE: &'static str = "duration";
    const EXPECTED: &'static str = "a duration like 500ms, 30s, 10m, 1h30m or 7d";

    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let (number, after) = leading_number(rest)?;
            let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            let part = match unit.trim() {
                "ms" => Duration::from_millis(number),
                "s" => Duration::from_secs(number),
                "m" => Duration::from_secs(number.checked_mul(60)?),
                "h" => Duration::from_secs(number.checked_mul(60 * 60)?),
                "d" => Duration::from_secs(number.checked_mul(24 * 60 * 60)?),
                _ => return None,
            };
            total = total.checked_add(part)?;
            rest = after;
        }
        Some(total)
    }

    fn render(&self) -> String {
        if self.subsec_millis() != 0 {
            return format!("{}ms", self.as_millis());
        }
        match self.as_secs() {
            0 => "0s".to_owned(),
            s if s % (24 * 60 * 60) == 0 => format!("{}d", s / (24 * 60 * 60)),
            s if s % (60 * 60) == 0 => format!("{}h", s / (60 * 60)),
            s if s % 60 == 0 => format!("{}m", s / 60),
            s => format!("{s}s"),
        }
    }
}

/// A number of bytes, written `4MiB`, `10MB` or `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// That many mebibytes.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// That many kibibytes.
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// The number of bytes, at most `usize::MAX`.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl Field for ByteSize {
    const TYPE: &'static str = "size";
    const EXPECTED: &'static str = "a size like 512KiB, 4MiB or 10GB";
    const BARE: Bare = Bare::Integer;

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = leading_number(text.trim())?;
        let scale: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return None,
        };
        number.checked_mul(scale).map(Self)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}
