//! Compiles `proto/` in pure Rust: neither `protoc` nor a system package is needed.

use std::error::Error;
use std::path::Path;

use prost::Message;

const FILES: [&str; 8] = [
    "entrepot/auth/v1/token_service.proto",
    "entrepot/blob/v1/blob_store.proto",
    "entrepot/core/v1/types.proto",
    "entrepot/error/v1/error.proto",
    "entrepot/gc/v1/garbage_queue.proto",
    "entrepot/index/v1/blob_links.proto",
    "entrepot/index/v1/manifest_index.proto",
    "entrepot/index/v1/upload_index.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    // As it is now and not when this was compiled: clones may share a target folder.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets CARGO_MANIFEST_DIR")?;
    let root = Path::new(&package).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    // For the test that no method is forgotten in the table of what may be repeated.
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(Path::new(&out).join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .include_file("entrepot.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
