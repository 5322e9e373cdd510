//! Where tools and downloads are kept: outside the clone, so that a fresh clone starts warm.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};

/// `$ENTREPOT_CACHE`, or `~/.cache/entrepot`.
pub(crate) fn root() -> Result<PathBuf> {
    if let Some(set) = std::env::var_os("ENTREPOT_CACHE").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(set));
    }
    let home = std::env::var_os("HOME").context("neither ENTREPOT_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/entrepot"))
}

/// `<cache>/<name>`, made if it is not there.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let path = root()?.join(name);
    std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
    Ok(path)
}

/// The workspace's root folder: of the clone that `cargo xtask` was called in, and not of the one that this program was
/// built in, as clones may share a target folder.
pub(crate) fn workspace() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        Path::new(&package).parent().expect("xtask lies one level below the workspace root").to_owned()
    })
}
