//! Pages of keys.

use std::fs::DirEntry;
use std::io;

use super::disk::Disk;
use super::layout::{self, UPLOADS};
use crate::{ListQuery, ListScope, ObjectEntry, ObjectError, ObjectKey, ObjectMeta};

/// One page. Reads each directory it walks through whole, but only those that can hold a match.
pub(super) fn page(disk: &Disk, query: &ListQuery) -> Result<Vec<ObjectEntry>, ObjectError> {
    let mut found = Vec::new();
    let listed = match query.scope {
        ListScope::Sealed => walk(disk, query, "", &mut found),
        ListScope::Unsealed => uploads(disk, query).map(|entries| found = entries),
    };
    listed.map_err(|source| ObjectError::Io { action: "list", key: query.prefix.clone(), source })?;
    Ok(found)
}

fn wanted(query: &ListQuery, key: &ObjectKey) -> bool {
    key.as_str().starts_with(&query.prefix) && query.after.as_ref().is_none_or(|after| key.as_str() > after.as_str())
}

fn uploads(disk: &Disk, query: &ListQuery) -> io::Result<Vec<ObjectEntry>> {
    let mut names = disk.uploads()?;
    names.retain(|name| wanted(query, &name.key));
    names.sort_by(|a, b| a.key.cmp(&b.key));
    let mut entries = Vec::new();
    for name in names {
        if entries.len() == query.limit {
            break;
        }
        let path = disk.root().join(layout::upload_path(&name.key, name.epoch));
        // One sealed or aborted meanwhile is no longer an upload.
        if let Some(meta) = present(path.symlink_metadata())? {
            entries.push(ObjectEntry { key: name.key, meta: facts(&meta)? });
        }
    }
    Ok(entries)
}

/// Adds matching objects below `dir` (empty, or ending in `/`) in key order.
fn walk(disk: &Disk, query: &ListQuery, dir: &str, found: &mut Vec<ObjectEntry>) -> io::Result<()> {
    let Some(reader) = present(std::fs::read_dir(disk.root().join(dir)))? else { return Ok(()) };
    let mut names = Vec::new();
    for entry in reader {
        names.extend(relative(dir, &entry?)?);
    }
    // A directory sorts as its keys do, with the slash behind its name: `a-b` comes before `a/b`.
    names.sort_unstable();
    for name in names {
        if found.len() == query.limit {
            return Ok(());
        }
        if name.ends_with('/') {
            if may_hold(query, &name) {
                walk(disk, query, &name, found)?;
            }
        } else if let Ok(key) = name.parse::<ObjectKey>()
            && wanted(query, &key)
            && let Some(meta) = present(disk.root().join(&name).symlink_metadata())?
        {
            found.push(ObjectEntry { key, meta: facts(&meta)? });
        }
    }
    Ok(())
}

/// Path of an entry from the root, a directory's ending in `/`; `None` for what is not ours.
fn relative(dir: &str, entry: &DirEntry) -> io::Result<Option<String>> {
    let kind = entry.file_type()?;
    let name = entry.file_name();
    let Some(name) = name.to_str().filter(|name| !name.starts_with('.') && *name != UPLOADS) else { return Ok(None) };
    Ok(if kind.is_dir() {
        Some(format!("{dir}{name}/"))
    } else if kind.is_file() {
        Some(format!("{dir}{name}"))
    } else {
        None
    })
}

/// Whether keys that start with `dir` can match.
fn may_hold(query: &ListQuery, dir: &str) -> bool {
    let prefix = query.prefix.as_str();
    let in_prefix = dir.starts_with(prefix) || prefix.starts_with(dir);
    // All keys below come before `after` unless it lies below itself or sorts before the directory.
    in_prefix && query.after.as_ref().is_none_or(|after| after.as_str() < dir || after.starts_with(dir))
}

/// What is no longer there is no error while listing.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn facts(meta: &std::fs::Metadata) -> io::Result<ObjectMeta> {
    Ok(ObjectMeta { size: meta.len(), modified: meta.modified()? })
}
