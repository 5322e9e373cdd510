use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

fn pipe(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {args:?}");
    output.stdout
}

#[test]
fn the_real_tar_lists_what_was_added() {
    let archive =
        Archive::default().folder("bin/").file("bin/tool", 0o755, b"#!/bin/sh\n").link("bin/sh", "tool").finish();
    let list = String::from_utf8(pipe("tar", &["-tf", "-"], &archive)).unwrap();
    assert_eq!(list, "bin/\nbin/tool\nbin/sh\n");
    assert_eq!(pipe("tar", &["-xOf", "-", "bin/tool"], &archive), b"#!/bin/sh\n");
}

#[test]
fn the_real_gzip_gives_the_content_back() {
    for len in [0, 1, 0xffff, 0x1_0000, 200_000] {
        let content: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        assert_eq!(pipe("gzip", &["-dc"], &gzip(&content)), content, "{len} bytes");
    }
}
