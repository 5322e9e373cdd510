//! What a push costs beside hashing: `cargo bench -p blob-store`.
//!
//! Appends and seals 512 MiB from memory on a filesystem, and hashes the same bytes on one core. The figure that
//! counts is the ratio of the two in one run.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use blob_store::Blobs;
use bytes::Bytes;
use entrepot_core::ports::blobs::{BlobStore, ByteStream, WriterPosition};
use entrepot_core::{Algorithm, Digest, StorageKey};
use entrepot_object::{FsOptions, FsStore};
use futures_util::{StreamExt, stream};

const SIZE: usize = 512 << 20;
const BUFFER: usize = 8 << 20;
const ROUNDS: usize = 5;

fn body(buffer: &Bytes, chunk: usize) -> ByteStream {
    let buffer = buffer.clone();
    let chunks = (0..SIZE / chunk).map(move |n| {
        let start = n * chunk % BUFFER;
        Ok(buffer.slice(start..start + chunk))
    });
    stream::iter(chunks).boxed()
}

/// CPU time of this process, user and system.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // utime and stime of proc(5), counted from behind the name, which may hold spaces; 100 ticks a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Runs `work`; returns its wall time and the CPU time it took.
async fn timed<T>(work: impl Future<Output = T>) -> (Duration, Duration, T) {
    let (started, before) = (Instant::now(), cpu());
    let value = work.await;
    (started.elapsed(), cpu() - before, value)
}

fn hash_alone(buffer: &Bytes) -> Digest {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    for _ in 0..SIZE / BUFFER {
        hash.update(buffer);
    }
    Digest::from_raw(Algorithm::Sha256, &hash.finalize()).unwrap()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let buffer: Bytes = (0..BUFFER).map(|n| u8::try_from((n * 7 + n / 251) & 0xff).unwrap()).collect();
    let dir = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| ".".into())).unwrap();
    let blobs = Blobs::new(Arc::new(FsStore::open(dir.path(), FsOptions::default()).unwrap()));
    println!("512 MiB        sha256 MB/s   push MB/s   ratio   CPU-s/GB (of it hashing)");
    for chunk in [16 << 10, 256 << 10] {
        for _ in 0..ROUNDS {
            let (alone, alone_cpu, digest) = timed(async { hash_alone(&buffer) }).await;
            let position = WriterPosition {
                key: StorageKey::random(),
                algorithm: Algorithm::Sha256,
                epoch: 1,
                offset: 0,
                state: Bytes::new(),
            };
            let (took, used, sealed) = timed(blobs.seal(position.clone(), body(&buffer, chunk), digest)).await;
            sealed.unwrap();
            blobs.delete(position.key).await.unwrap();
            let rate = |time: Duration| SIZE as f64 / time.as_secs_f64() / 1e6;
            let per_gb = |time: Duration| time.as_secs_f64() / (SIZE as f64 / 1e9);
            println!(
                "{:>4} KiB chunks {:>10.0} {:>11.0} {:>7.2} {:>9.2} ({:.2})",
                chunk >> 10,
                rate(alone),
                rate(took),
                alone.as_secs_f64() / took.as_secs_f64(),
                per_gb(used),
                per_gb(alone_cpu)
            );
        }
    }
}
