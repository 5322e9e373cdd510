//! Which calls may be made again although the first may have taken effect: the one table.
//!
//! A call that certainly did not reach a peer is always sent to another, whatever its method. This table is about the
//! others: the connection broke, or the peer answered that it could not finish. What it says must follow from the
//! contract of the port; the index of reasons is part of the table, so that a change of a contract finds its line.

use Repeat::{Never, No, Yes};

/// What to do about a call whose outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Make it again, elsewhere.
    Yes,
    /// Tell the caller, who can look before it goes on.
    No,
    /// Its request streams a body: neither a deadline nor a second attempt.
    Never,
}

/// Every method of every port.
const TABLE: &[(&str, Repeat)] = &[
    // A token more is harmless, and a refresh token that was replaced stays good for a minute.
    ("/entrepot.auth.v1.TokenService/Issue", Yes),
    ("/entrepot.auth.v1.TokenService/Authorize", Yes),
    ("/entrepot.auth.v1.TokenService/GetKeySet", Yes),
    ("/entrepot.auth.v1.TokenService/ListChanges", Yes),
    // The body is gone after its first byte. Both may be tried again by the client, from the saved offset.
    ("/entrepot.blob.v1.BlobStore/Append", Never),
    ("/entrepot.blob.v1.BlobStore/Seal", Never),
    ("/entrepot.blob.v1.BlobStore/Open", Yes),
    // Deleting an absent key succeeds, and a key is never used again.
    ("/entrepot.blob.v1.BlobStore/Delete", Yes),
    ("/entrepot.blob.v1.BlobStore/List", Yes),
    // A second lease takes other items and leaves those of the first lying until its hold is over; the worker comes again.
    ("/entrepot.gc.v1.GarbageQueue/Lease", No),
    // Unknown items are ignored.
    ("/entrepot.gc.v1.GarbageQueue/Acknowledge", Yes),
    ("/entrepot.index.v1.BlobLinks/Locate", Yes),
    // Extending a lease twice is extending it once.
    ("/entrepot.index.v1.BlobLinks/Stat", Yes),
    // A link that is there is confirmed.
    ("/entrepot.index.v1.BlobLinks/Mount", Yes),
    // The second time the link is gone, and the caller would be told that it never was.
    ("/entrepot.index.v1.BlobLinks/Unlink", No),
    ("/entrepot.index.v1.ManifestIndex/Resolve", Yes),
    ("/entrepot.index.v1.ManifestIndex/GetManifest", Yes),
    // Repeating it succeeds, but with a tag it is no read: had the first taken effect and another push moved the tag
    // since, the second would move it back. One push must take effect once; its client decides whether to push again.
    ("/entrepot.index.v1.ManifestIndex/PutManifest", No),
    // As with a push: the second could remove what was pushed after the first.
    ("/entrepot.index.v1.ManifestIndex/DeleteManifest", No),
    ("/entrepot.index.v1.ManifestIndex/ListTags", Yes),
    ("/entrepot.index.v1.ManifestIndex/ListRepositories", Yes),
    ("/entrepot.index.v1.ManifestIndex/ListReferrers", Yes),
    // A session that nobody learnt of holds no byte, and the reaper ends it.
    ("/entrepot.index.v1.UploadIndex/OpenUpload", Yes),
    ("/entrepot.index.v1.UploadIndex/GetUploadOwner", Yes),
    ("/entrepot.index.v1.UploadIndex/GetUploadStatus", Yes),
    // Each raises the epoch: repeated after a newer request of the session, it would cut that one off.
    ("/entrepot.index.v1.UploadIndex/BeginAppend", No),
    ("/entrepot.index.v1.UploadIndex/BeginFinish", No),
    // Compare-and-set, and the index knows a save that it has made.
    ("/entrepot.index.v1.UploadIndex/SaveUpload", Yes),
    // A session that is done with this digest is done again.
    ("/entrepot.index.v1.UploadIndex/FinishUpload", Yes),
    // The second time the session may be over, and the caller would be told that it is unknown.
    ("/entrepot.index.v1.UploadIndex/ReleaseUpload", No),
];

/// The line of the method with this path; methods that the table does not know are not repeated.
pub(super) fn repeat(path: &str) -> Repeat {
    TABLE.iter().find(|(method, _)| *method == path).map_or(No, |(_, repeat)| *repeat)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

    #[test]
    fn every_method_has_its_line_and_streams_are_never_repeated() {
        let descriptors = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let mut methods = BTreeSet::new();
        for file in &descriptors.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    assert_eq!(repeat(&path) == Never, method.client_streaming(), "{path}");
                    methods.insert(path);
                }
            }
        }
        let lines: BTreeSet<String> = TABLE.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(lines.len(), TABLE.len(), "a method has two lines");
        assert_eq!(lines, methods);
    }

    #[test]
    fn what_would_take_effect_twice_is_not_repeated() {
        for method in ["ManifestIndex/PutManifest", "ManifestIndex/DeleteManifest", "UploadIndex/BeginAppend"] {
            assert_eq!(repeat(&format!("/entrepot.index.v1.{method}")), No, "{method}");
        }
        assert_eq!(repeat("/entrepot.index.v1.ManifestIndex/Unheard"), No);
    }
}
