//! A throw-away Redis, and the tests that need one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

/// A server on a free port that keeps nothing; it ends with this value.
pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        let program = process::find("redis-server")
            .context("there is no redis-server; install it with: apt-get install redis-server")?;
        // Free a moment ago; should another program take it meanwhile, Redis says so and ends.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(&program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut redis = Self { child, port };
        redis.wait()?;
        Ok(redis)
    }

    /// How clients reach it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.answers() {
            if let Some(status) = self.child.try_wait()? {
                bail!("redis-server ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("redis-server does not answer on port {}", self.port);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let ask = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer)?;
            std::io::Result::Ok(answer == *b"+PONG\r\n")
        };
        ask().unwrap_or(false)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It keeps nothing, so nothing is lost by not asking it to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `cargo xtask redis-tests`: what the feature `redis-tests` adds, on a Redis of its own.
pub(crate) fn test(args: &[String]) -> Result<()> {
    let redis = Redis::start()?;
    let mut command = process::cargo();
    command.args(["test", "--package", "entrepot-redis", "--package", "entrepot", "--features", "redis-tests"]);
    command.args(["--test", "it", "--no-fail-fast", "--", "redis::"]).args(args);
    process::run(command.env("ENTREPOT_TEST_REDIS", redis.url()))
}
