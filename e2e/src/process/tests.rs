use super::*;

#[test]
fn memory_is_read_in_bytes_without_pages_of_files() {
    let status = "Name:\tentrepot\nVmRSS:\t   12345 kB\nRssAnon:\t 300 kB\nRssFile:\t 12041 kB\nRssShmem:\t 4 kB\n";
    assert_eq!(resident_bytes(status), Some(304 * 1024));
    assert_eq!(resident_bytes("Name:\tgone\n"), None);
}

#[test]
fn a_daemon_that_ends_early_is_reported_with_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo the reason; exit 3"]);
    let mut daemon = Daemon::start("shell", folder.path(), &mut shell).unwrap();
    let (error, _) =
        poll::until("the end", Duration::from_secs(10), || daemon.check_alive().err().context("alive")).unwrap();
    assert!(error.to_string().contains("the reason"), "{error}");
    assert!(error.to_string().contains("exit status: 3"), "{error}");
}

#[test]
fn a_failed_command_is_reported_with_its_output() {
    let error = run(Command::new("sh").args(["-c", "echo broken >&2; exit 1"])).unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
}
