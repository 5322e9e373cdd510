//! Files sent from the page cache to the socket without passing through this process, under an unmodified hyper.
//!
//! hyper hands the slices of a response body to the connection's `poll_write_vectored` as they are. A body made by
//! [`FileSender::bytes`] is a mapping of the file that nobody ever reads: the connection recognises its address and calls
//! `sendfile(2)` with the file and offset behind it. Whoever does read the bytes gets the file's content all the same,
//! so a middleware, HTTP/2 or TLS is slower but never wrong. Such connections offer no [`FileSender`]; they use
//! [`PreadStream`]. [`FileBody`] chooses.
//!
//! Files must not be changed or truncated while they are served. A truncated one ends the connection before the response
//! is complete; it never completes a response with other bytes.

mod body;
mod regions;
mod socket;
mod stream;

pub use body::FileBody;
pub use regions::{FileSender, bytes_sent};
pub(crate) use socket::FileSocket;
pub use stream::{PreadStream, pread_stream};
