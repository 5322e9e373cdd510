//! The little of PostgreSQL's protocol that tells a COMMIT: messages from client to server.

/// Untyped messages that may come before the one that starts the session: encryption is asked for, or a
/// running query cancelled.
const REQUESTS: [u32; 3] = [80_877_102, 80_877_103, 80_877_104];
/// More of a message than this is not looked at.
const LOOKED_AT: usize = 128;

/// Follows one connection's messages, however they are split over reads.
#[derive(Default)]
pub(super) struct Commits {
    started: bool,
    head: Vec<u8>,
    /// Bytes of the current message that are still to come.
    left: usize,
    /// Its kind and its first bytes.
    kind: u8,
    start: Vec<u8>,
    /// Prepared statements that are a COMMIT.
    prepared: Vec<Vec<u8>>,
}

impl Commits {
    /// Takes the next bytes; true when a COMMIT ends within them.
    pub(super) fn seen_in(&mut self, mut bytes: &[u8]) -> bool {
        let mut seen = false;
        loop {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                let room = LOOKED_AT.saturating_sub(self.start.len()).min(taken);
                self.start.extend_from_slice(&bytes[..room]);
                self.left -= taken;
                bytes = &bytes[taken..];
                if self.left > 0 {
                    return seen;
                }
                seen |= self.ended();
                continue;
            }
            let head = if self.started { 5 } else { 4 };
            while self.head.len() < head {
                let Some((first, rest)) = bytes.split_first() else { return seen };
                self.head.push(*first);
                bytes = rest;
            }
            let length = u32::from_be_bytes(self.head[head - 4..].try_into().expect("four bytes"));
            self.kind = if self.started { self.head[0] } else { 0 };
            self.left = (length as usize).saturating_sub(4);
            self.head.clear();
            self.start.clear();
            if self.left == 0 {
                seen |= self.ended();
            }
        }
    }

    /// A message is complete.
    fn ended(&mut self) -> bool {
        let start = &self.start[..];
        match self.kind {
            0 => {
                let code = start.first_chunk().map(|code| u32::from_be_bytes(*code));
                self.started = code.is_some_and(|code| !REQUESTS.contains(&code));
                false
            }
            b'Q' => is_commit(start),
            // Parse: the statement's name, then its text.
            b'P' => {
                let mut parts = start.splitn(2, |byte| *byte == 0);
                let (name, text) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                self.prepared.retain(|prepared| prepared != name);
                if is_commit(text) {
                    self.prepared.push(name.to_vec());
                }
                false
            }
            // Bind: the portal's name, then the statement's.
            b'B' => start
                .split(|byte| *byte == 0)
                .nth(1)
                .is_some_and(|name| self.prepared.iter().any(|prepared| prepared == name)),
            _ => false,
        }
    }
}

/// True when one of the statements is a COMMIT; drivers send several at once.
fn is_commit(text: &[u8]) -> bool {
    text.split(|byte| *byte == b';').any(|statement| {
        let word = statement.trim_ascii_start();
        word.len() >= 6 && word[..6].eq_ignore_ascii_case(b"commit")
    })
}
