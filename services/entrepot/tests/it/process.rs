//! The program as a process of its own, with what it logs.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use entrepot::testing::poll;

/// A running process; it is killed when this is dropped, also by a test that fails.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts it and reads its standard error.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (errors, lines) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, log }
    }

    /// Its standard output, which ends when that is dropped.
    pub(crate) fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }

    /// The lines so far that contain `what`.
    pub(crate) fn lines_with(&self, what: &str) -> Vec<String> {
        self.log.lock().unwrap().iter().filter(|line| line.contains(what)).cloned().collect()
    }

    /// Waits until `count` lines contain `what`.
    pub(crate) fn says(&self, what: &str, count: usize) {
        poll(&format!("line {count} with {what:?}"), || (self.lines_with(what).len() >= count).then_some(()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
        if std::thread::panicking() {
            let log = self.log.lock().map(|log| log.join("\n"));
            log.into_iter().for_each(|log| eprintln!("--- log of process {}\n{log}", self.child.id()));
        }
    }
}
