use std::time::Duration;

/// When and how much a worker works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Pause between two rounds that found nothing left to do.
    pub interval: Duration,
    /// An upload session without a byte for so long is abandoned. Longer than any pause a client
    /// makes in a push it goes on with.
    pub upload_idle: Duration,
    /// How long leased items belong to this worker. Must be enough to delete `batch` keys; should
    /// this worker die, they wait that long.
    pub hold: Duration,
    /// Items leased at once.
    pub batch: u32,
}

impl Default for WorkerConfig {
    /// A round each minute, sessions abandoned after a day, 100 items for 5 minutes.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            upload_idle: Duration::from_secs(24 * 3600),
            hold: Duration::from_secs(300),
            batch: 100,
        }
    }
}
