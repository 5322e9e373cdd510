use std::{
    fmt, fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;

use super::files::TlsError;
use crate::telemetry::Chain;

/// What a look at the files found.
#[derive(Debug)]
pub enum Reload {
    /// The files hold what they held.
    Unchanged,
    /// New connections get the new certificate.
    Replaced,
    /// The files changed to something unusable; the old certificate stays.
    Kept(TlsError),
}

type Parse<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, TlsError> + Send + Sync>;

/// Something made of files, and made anew when they change.
pub(super) struct Reloading<T> {
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    current: ArcSwap<T>,
    /// Contents last looked at, so that bad files are reported once.
    seen: Mutex<Vec<Vec<u8>>>,
}

impl<T> Reloading<T> {
    pub(super) fn new(
        paths: Vec<PathBuf>,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let contents = read(&paths)?;
        let current = ArcSwap::from_pointee(parse(&contents)?);
        Ok(Self { paths, parse: Box::new(parse), current, seen: Mutex::new(contents) })
    }

    pub(super) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    pub(super) fn reload(&self) -> Reload {
        let contents = match read(&self.paths) {
            Ok(contents) => contents,
            Err(error) => return Reload::Kept(error),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == contents {
            return Reload::Unchanged;
        }
        let parsed = (self.parse)(&contents);
        *seen = contents;
        match parsed {
            Ok(made) => {
                self.current.store(Arc::new(made));
                Reload::Replaced
            }
            Err(error) => Reload::Kept(error),
        }
    }

    pub(super) async fn watch(&self, interval: Duration) {
        let shown = self.paths.first().map(|path| path.display().to_string()).unwrap_or_default();
        let mut tick = tokio::time::interval(interval);
        loop {
            tick.tick().await;
            match self.reload() {
                Reload::Unchanged => {}
                Reload::Replaced => tracing::info!("{shown} has changed and is in use"),
                Reload::Kept(error) => {
                    tracing::error!(error = %Chain(&error), "{shown} cannot be used, keeping the old certificate");
                }
            }
        }
    }
}

impl<T> fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reloading").field(&self.paths).finish()
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, TlsError> {
    let read = |path: &PathBuf| fs::read(path).map_err(|source| TlsError::Unreadable { path: path.clone(), source });
    paths.iter().map(read).collect()
}
