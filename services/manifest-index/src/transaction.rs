//! The transactions: one file each, beside the statements that several of them share.

pub(crate) mod acknowledge_garbage;
pub(crate) mod begin_append;
pub(crate) mod begin_finish;
pub(crate) mod delete_manifest;
pub(crate) mod delete_tag;
pub(crate) mod finish_upload;
pub(crate) mod get_manifest;
mod history;
pub(crate) mod lease_garbage;
mod link;
pub(crate) mod list_referrers;
pub(crate) mod list_repositories;
pub(crate) mod list_tags;
pub(crate) mod locate_blob;
pub(crate) mod mount_blob;
pub(crate) mod open_upload;
pub(crate) mod operation;
mod orphan;
pub(crate) mod put_manifest;
mod references;
pub(crate) mod release_upload;
pub(crate) mod renew_lease;
mod review;
pub(crate) mod save_upload;
pub(crate) mod session;
pub(crate) mod unlink_blob;

/// `limit` rows and one more, which tells whether there is a next page.
fn one_more(limit: u32) -> i64 {
    i64::from(limit) + 1
}

/// Makes a page of up to `limit` of these rows; `name` says how the next page names its start.
fn page_of<T>(mut items: Vec<T>, limit: u32, name: impl Fn(&T) -> String) -> entrepot_core::PageOf<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(name) } else { None };
    entrepot_core::PageOf { items, next }
}
