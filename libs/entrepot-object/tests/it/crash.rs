//! What the next process finds.

use std::os::unix::fs::PermissionsExt;

use entrepot_object::{Durability, FsOptions, FsStore, ObjectError, ObjectStore, OpenError, WriterState, contract};

use crate::support::{chunk, key, open, uploads};

#[tokio::test]
async fn an_upload_goes_on_at_the_acknowledged_offset() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("resumed");
    let state = {
        let store = open(dir.path());
        let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
        writer.write(chunk("acknowledged, ")).await.unwrap();
        let state = writer.checkpoint(Durability::Durable).await.unwrap();
        writer.write(chunk("written but never acknowledged, and longer than what follows")).await.unwrap();
        state
    };
    assert!(uploads(dir.path())[0].1 > state.offset, "the crash should leave a tail");
    let store = open(dir.path());
    let mut writer = store.open_writer(&key, 2, &state).await.unwrap();
    assert_eq!(uploads(dir.path())[0].1, state.offset);
    writer.write(chunk("continued")).await.unwrap();
    let state = writer.checkpoint(Durability::Durable).await.unwrap();
    store.seal(&key, 2, &state).await.unwrap();
    assert_eq!(contract::contents(&store.open(&key).await.unwrap()), b"acknowledged, continued");
    assert_eq!(uploads(dir.path()), []);
}

#[tokio::test]
async fn a_request_older_than_the_crash_is_refused_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("late");
    let state = {
        let store = open(dir.path());
        drop(store.open_writer(&key, 1, &WriterState::start()).await.unwrap());
        let mut writer = store.open_writer(&key, 5, &WriterState::start()).await.unwrap();
        writer.write(chunk("of epoch 5")).await.unwrap();
        writer.checkpoint(Durability::Durable).await.unwrap()
    };
    let store = open(dir.path());
    let late = store.open_writer(&key, 4, &WriterState::start()).await;
    assert!(matches!(late, Err(ObjectError::Fenced { epoch: 4, .. })), "{late:?}");
    store.seal(&key, 5, &state).await.unwrap();
    assert_eq!(contract::contents(&store.open(&key).await.unwrap()), b"of epoch 5");
}

#[tokio::test]
async fn a_seal_that_was_not_answered_can_be_repeated_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("sealed");
    let state = {
        let store = open(dir.path());
        let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
        writer.write(chunk("whole")).await.unwrap();
        let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
        store.seal(&key, 1, &state).await.unwrap();
        state
    };
    // A filesystem without atomic renames may bring the old name back.
    std::fs::hard_link(dir.path().join(key.as_str()), dir.path().join(".uploads/data+00+sealed@1")).unwrap();
    let store = open(dir.path());
    assert_eq!(uploads(dir.path()), []);
    store.seal(&key, 1, &state).await.unwrap();
    let again = store.open_writer(&key, 2, &WriterState::start()).await;
    assert!(matches!(again, Err(ObjectError::AlreadySealed { .. })), "{again:?}");
    assert_eq!(contract::contents(&store.open(&key).await.unwrap()), b"whole");
}

#[tokio::test]
async fn one_process_holds_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let second = FsStore::open(dir.path(), FsOptions::default());
    assert!(matches!(&second, Err(OpenError::InUse { dir: named }) if named == dir.path()), "{second:?}");
    assert!(second.unwrap_err().to_string().contains(dir.path().to_str().unwrap()));
    drop(store);
    open(dir.path());
}

#[tokio::test]
async fn nobody_else_can_read_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let store = open(&root);
    let (sealed, unsealed) = (key("sealed"), key("unsealed"));
    store.seal(&sealed, 1, &WriterState::start()).await.unwrap();
    let _writer = store.open_writer(&unsealed, 1, &WriterState::start()).await.unwrap();
    let mode = |path: &str| std::fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
    for directory in ["", ".uploads", "data", "data/00"] {
        assert_eq!(mode(directory), 0o700, "{directory}");
    }
    for file in [".lock", sealed.as_str(), ".uploads/data+00+unsealed@1"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[tokio::test]
async fn strangers_in_the_directory_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join(".uploads")).unwrap();
    std::fs::create_dir_all(dir.path().join("lost+found")).unwrap();
    for stray in [".uploads/notes.txt", ".uploads/..@1", ".uploads/A@x", "lost+found/x", "README"] {
        std::fs::write(dir.path().join(stray), "stray").unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
    let store = open(dir.path());
    contract::listings_page_in_key_order(&store).await;
    assert!(store.open(&"link".parse().unwrap()).await.is_err(), "followed a symbolic link");
    assert_eq!(std::fs::read_to_string(dir.path().join(".uploads/notes.txt")).unwrap(), "stray");
}
