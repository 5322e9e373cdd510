//! One pass over a body: received, hashed and written at the same time.
//!
//! The reactor fills a buffer while one blocking thread hashes those before it and another writes them, so a push
//! takes as long as the slowest of the three. A blocking thread stays as long as there is something to do and no
//! longer: a fast upload does not pay a change of threads per buffer, and slow clients cannot use the threads up.

use bytes::Bytes;
use entrepot_core::ports::blobs::BlobError;
use entrepot_object::ObjectWriter;
use futures_util::future::try_join3;
use tokio::sync::mpsc;

use crate::blobs::{failed, spawn};
use crate::buffers::{BUFFER, BUFFERS, Pool, SURE};
use crate::hasher::Hasher;
use crate::intake::Intake;

/// Buffers that are hashed, and that are written, in one go. While as many again wait for both, enough of [`BUFFERS`] are
/// left for what is received meanwhile; an upload with fewer goes one by one.
const HASHED: usize = 2;
const WRITTEN: usize = 4;

/// Size of buffers whose content the driver copies: enough for a change of threads to be lost in what it takes to hash it.
const COPIED: usize = BUFFER / 2;

/// Passes the whole body through `hasher` to `writer`.
pub(crate) async fn pump(
    intake: &mut Intake,
    writer: &mut dyn ObjectWriter,
    mut hasher: Hasher,
    pool: &Pool,
) -> Result<Hasher, BlobError> {
    if let Some(bytes) = intake.small().await? {
        hasher.update(&bytes);
        if !bytes.is_empty() {
            writer.write(vec![bytes]).await.map_err(failed)?;
        }
        return Ok(hasher);
    }
    // What a driver copies at once waits in its memory, and not here too.
    let (most, size) = if writer.copies() { (SURE, COPIED) } else { (BUFFERS, BUFFER) };
    let mut buffers = pool.enter(most, size).await?;
    // There is a place for every buffer, so sending never waits.
    let (to_hash, hashing) = mpsc::channel(BUFFERS);
    let (to_disk, writing) = mpsc::channel(BUFFERS);
    let past_boundary = writer.offset() % BUFFER as u64;
    let receive = async move {
        // After the first, every buffer begins at a multiple of its size, as suits a disk.
        let mut capacity = BUFFER - usize::try_from(past_boundary).unwrap_or(0);
        let mut next = [Batch::new(HASHED, to_hash), Batch::new(WRITTEN, to_disk)];
        loop {
            let mut buffer = match buffers.at_hand(capacity) {
                Some(buffer) => buffer,
                None => {
                    // None comes back before those that are held here have been used.
                    next.iter_mut().for_each(Batch::pass_on);
                    buffers.next(capacity).await
                }
            };
            capacity = BUFFER;
            intake.fill(&mut buffer).await?;
            let Some(bytes) = buffer.freeze() else {
                next.iter_mut().for_each(Batch::pass_on);
                return Ok(());
            };
            next.iter_mut().for_each(|batch| batch.add(bytes.clone()));
            if next.iter().any(Batch::is_over) {
                // The side that hung up says why.
                return Ok(());
            }
        }
    };
    let ((), hasher, ()) = try_join3(receive, hash(hasher, hashing), write(writer, writing)).await?;
    Ok(hasher)
}

/// Full buffers on their way to where they are used, a few at a time: each time somebody is woken costs as much as
/// hashing 50 KiB.
struct Batch {
    held: Vec<Bytes>,
    most: usize,
    to: mpsc::Sender<Bytes>,
}

impl Batch {
    fn new(most: usize, to: mpsc::Sender<Bytes>) -> Self {
        Self { held: Vec::with_capacity(most), most, to }
    }

    fn add(&mut self, bytes: Bytes) {
        self.held.push(bytes);
        if self.held.len() == self.most {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        for bytes in self.held.drain(..) {
            // Where it cannot be sent there is nobody left, which `is_over` tells.
            let _ = self.to.try_send(bytes);
        }
    }

    fn is_over(&self) -> bool {
        self.to.is_closed()
    }
}

async fn hash(mut hasher: Hasher, mut batches: mpsc::Receiver<Bytes>) -> Result<Hasher, BlobError> {
    while let Some(first) = batches.recv().await {
        (hasher, batches) = spawn(move || {
            let mut next = Some(first);
            while let Some(batch) = next {
                hasher.update(&batch);
                drop(batch);
                next = batches.try_recv().ok();
            }
            (hasher, batches)
        })
        .await?;
    }
    Ok(hasher)
}

async fn write(writer: &mut dyn ObjectWriter, mut batches: mpsc::Receiver<Bytes>) -> Result<(), BlobError> {
    loop {
        let mut waiting = Vec::with_capacity(WRITTEN);
        // More at once would leave the others nothing to fill meanwhile.
        if batches.recv_many(&mut waiting, WRITTEN).await == 0 {
            return Ok(());
        }
        writer.write(waiting).await.map_err(failed)?;
    }
}
