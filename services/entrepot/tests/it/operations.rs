//! What an operator gets to see: logs and metrics.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Command};

use entrepot::testing::http::{Call, Response};
use entrepot::testing::{TestRegistry, Topology, poll};
use entrepot_testkit::builders::content;

use crate::process::Process;
use crate::support::open_upload;

/// `entrepot serve` as a process of its own.
struct Served {
    process: Process,
    url: String,
    _stdout: BufReader<ChildStdout>,
}

fn entrepot(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entrepot"));
    command.current_dir(folder.path()).env("ENTREPOT__AUTH__MODE", "managed");
    command.env("ENTREPOT__HTTP__LISTEN", "127.0.0.1:0").env("ENTREPOT__ADMIN__LISTEN", "127.0.0.1:0");
    command
}

impl Served {
    fn start(folder: &tempfile::TempDir) -> Self {
        let mut process = Process::start(entrepot(folder).arg("serve"));
        let mut stdout = process.stdout();
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let url = ready.split([' ', ',']).find(|word| word.starts_with("http://")).unwrap_or_else(|| panic!("{ready}"));
        Self { process, url: url.to_owned(), _stdout: stdout }
    }

    fn call(&self, method: &str, target: &str) -> Call {
        Call::new(method, &format!("{}{target}", self.url))
    }

    /// The log line with the trace id of the answer's first error; its message has the id too.
    fn line_of(&self, answer: &Response) -> String {
        let error = &answer.json()["errors"][0];
        let trace = error["detail"]["traceId"].as_str().unwrap().to_owned();
        assert!(error["message"].as_str().unwrap().contains(&trace) || answer.status == 401, "{error}");
        poll("the log has the trace id", || self.process.lines_with(&trace).pop())
    }
}

#[test]
fn the_trace_id_of_a_denial_or_a_fault_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let robot = entrepot(&folder).args(["robot", "add", "ci"]).output().unwrap();
    let said = String::from_utf8(robot.stdout).unwrap();
    let secret = said.split_whitespace().last().unwrap();
    let granted = entrepot(&folder).args(["grant", "add", "ci", "team/*", "pull,push"]).status().unwrap();
    assert!(granted.success());
    let registry = Served::start(&folder);

    let denied = registry.call("GET", "/v2/other/app/manifests/v1").basic("ci", secret).send().expect(403);
    let line = registry.line_of(&denied);
    assert!(line.contains("INFO") && line.contains("other/app") && line.contains("ci"), "{line}");

    let wrong = registry.call("GET", "/v2/team/app/manifests/v1").basic("ci", "wrong").send().expect(401);
    assert!(registry.line_of(&wrong).contains("team/app"));

    let blob = content("bytes");
    let push = registry.call("POST", &format!("/v2/team/app/blobs/uploads/?digest={}", blob.digest));
    push.basic("ci", secret).body(blob.bytes.clone()).send().expect(201);
    for prefix in std::fs::read_dir(folder.path().join("entrepot-data/blobs/data")).unwrap() {
        for file in std::fs::read_dir(prefix.unwrap().path()).unwrap() {
            std::fs::write(file.unwrap().path(), "b").unwrap();
        }
    }
    let fault = registry.call("GET", &format!("/v2/team/app/blobs/{}", blob.digest)).basic("ci", secret).send();
    let line = registry.line_of(&fault.expect(500));
    assert!(line.contains("ERROR") && line.contains("has 1 bytes instead of 5"), "{line}");

    // Whoever has not logged in yet is only on the way to do so.
    let asked = registry.call("GET", "/v2/team/app/manifests/v1").send().expect(401);
    let trace = asked.json()["errors"][0]["detail"]["traceId"].as_str().unwrap().to_owned();
    registry.call("GET", "/v2/other/app/manifests/v2").basic("ci", secret).send().expect(403);
    registry.process.says("other/app", 2);
    assert!(registry.process.lines_with(&trace).is_empty());
}

/// Guesses are seen wherever they are made, and never what was guessed.
#[test]
fn a_refused_login_is_in_the_log() {
    let (long, guess) = ("x".repeat(5000), "guessed password");
    for target in ["/token?service=entrepot&scope=repository:team/app:pull", "/v2/team/app/manifests/v1"] {
        let folder = tempfile::tempdir().unwrap();
        let registry = Served::start(&folder);
        for account in ["alice", long.as_str()] {
            let refused = registry.call("GET", target).basic(account, guess).send().expect(401);
            let line = registry.line_of(&refused);
            assert!(line.contains("INFO") && line.contains(&account[..5]) && line.contains("127.0.0.1"), "{line}");
            assert!(line.len() < 1000, "{line}");
        }
        let guess_again = |_| registry.call("GET", target).basic("alice", guess).send();
        let locked = (0..30).map(guess_again).find(|answer| answer.status == 429).expect("a limit on guesses");
        let line = registry.line_of(&locked);
        assert!(line.contains("alice") && line.contains("127.0.0.1") && line.contains("429"), "{line}");

        registry.call("GET", "/token?service=entrepot").header("authorization", "Basic guess").send().expect(401);
        let form = "grant_type=refresh_token&service=entrepot&refresh_token=guess-a-token";
        let post = registry.call("POST", "/token").header("content-type", "application/x-www-form-urlencoded");
        let line = registry.line_of(&post.body(form).send().expect(401));
        assert!(line.contains("a token was refused") && line.contains("127.0.0.1"), "{line}");
        // Asking without any login is nothing to note, as the next line shows.
        let traced = |call: Call, trace: &str| call.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        let (asked, guessed) = ("4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4737");
        traced(registry.call("GET", "/token?service=entrepot"), asked).send().expect(200);
        traced(registry.call("GET", target).basic("alice", guess), guessed).send().expect(429);
        registry.process.says(guessed, 1);
        assert!(registry.process.lines_with(asked).is_empty());
        assert!(registry.process.lines_with("guess").is_empty());
    }
}

#[test]
fn metrics_are_described() {
    let registry = TestRegistry::builder(Topology::Local).set("gc.interval", "50ms").start();
    let location = open_upload(&registry, "team/app");
    let location = registry.call("PATCH", &location).body("abandoned").send().expect(202).location().to_owned();
    registry.delete(&location).expect(204);
    poll("a metric of gc-worker with its description", || {
        let text = entrepot_runtime::metrics::render();
        let described = text.contains("# HELP entrepot_gc_deleted") && text.contains("# TYPE entrepot_gc_deleted");
        described.then_some(())
    });
}
