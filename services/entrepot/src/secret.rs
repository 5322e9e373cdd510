//! The internal secret of an embedded registry, made once and kept beside its data.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use entrepot_runtime::config::Secret;

/// Reads `<data_dir>/secret`, or makes it: uploads signed before a restart stay valid after it.
pub(crate) fn load_or_create(data_dir: &Path) -> anyhow::Result<Secret> {
    let path = data_dir.join("secret");
    let context = || format!("cannot keep the internal secret in {}", path.display());
    match fs::read_to_string(&path) {
        Ok(text) if text.len() >= 32 => return Ok(Secret::new(text)),
        // Cut short by a crash while it was made: nothing was signed with it yet.
        Ok(_) => fs::remove_file(&path).with_context(context)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(context),
    }
    let text = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).with_context(context)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(context)?;
    Ok(Secret::new(text))
}
