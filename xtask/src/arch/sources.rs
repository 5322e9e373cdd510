//! Rules about a crate's own files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Past this a file is usually two files.
const MAX_LINES: usize = 500;

/// Breaches in the crate at `folder`.
pub(super) fn check(folder: &Path, name: &str) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    let manifest = read(&folder.join("Cargo.toml"))?;
    if !inherits_lints(&manifest) {
        breaches.push(format!("{name} does not inherit the workspace lints"));
    }
    for file in rust_files(&folder.join("src"))? {
        let lines = lines_without_tests(&read(&file)?);
        if lines >= MAX_LINES {
            breaches.push(format!("{} has {lines} lines, {MAX_LINES} are too many", file.display()));
        }
    }
    Ok(breaches)
}

/// True when the manifest has `[lints]` with `workspace = true`.
pub(super) fn inherits_lints(manifest: &str) -> bool {
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[lints]";
        } else if inside && line.replace(' ', "") == "workspace=true" {
            return true;
        }
    }
    manifest.contains("lints.workspace = true")
}

/// Lines up to the first inline test module.
pub(super) fn lines_without_tests(source: &str) -> usize {
    let lines: Vec<&str> = source.lines().collect();
    let inline_tests = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]"
            && pair[1].trim_start().starts_with("mod ")
            && pair[1].trim_end().ends_with('{')
    });
    inline_tests.unwrap_or(lines.len())
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() && name != "tests" {
                open.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") && name != "tests.rs" {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
