use std::time::Duration;

use crate::config::{ByteSize, Reader};

/// A request line with a name and a digest of full length, and a token of the registry's own.
const LEAST_HEAD: ByteSize = ByteSize::kib(4);

/// Limits of a [`super::Server`]; see the module for what each timeout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Connections served at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// From the first byte, or the connection's start, to the end of a request head.
    pub header_timeout: Duration,
    /// For the TLS handshake.
    pub handshake_timeout: Duration,
    /// How long a connection without a request is kept.
    pub keep_alive: Duration,
    /// Time spent waiting for a request body in which at least 1 KiB per second must have come.
    pub body_stall: Duration,
    /// Time a response may wait for the client to take more of it; over HTTP/2 at least 64 KiB.
    pub write_stall: Duration,
    /// Size of a request head.
    pub max_head: ByteSize,
    /// Largest chunk in which an HTTP/1.1 request body is read; grows to this only on a fast connection.
    pub read_buffer: ByteSize,
    /// HTTP/2 streams at once per connection.
    pub h2_streams: u32,
    /// Whether HTTP/2 clients are sent elsewhere as soon as the drain begins, and not only when listeners close: for clients
    /// that come through a balancer. A caller that asks each replica for its health knows, and may have no other.
    pub h2_leave_early: bool,
    /// HTTP/2 streams that a client may reset before they were looked at, and those that had to be reset for its errors,
    /// before its connection ends.
    pub h2_resets: usize,
    /// Bytes of one HTTP/2 request body that may be here and unread: for uploads the bandwidth-delay product of 1 Gbit/s
    /// over 16 ms.
    pub h2_stream_window: u32,
    /// Those of all requests of a connection together, at most 2^31-1. When they are unread, no body of the connection
    /// goes on, those that somebody reads included.
    pub h2_connection_window: u32,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            body_stall: Duration::from_secs(60),
            write_stall: Duration::from_secs(120),
            max_head: ByteSize::kib(32),
            read_buffer: ByteSize::kib(64),
            h2_streams: 100,
            h2_leave_early: false,
            h2_resets: 100,
            h2_stream_window: 2 << 20,
            h2_connection_window: 16 << 20,
        }
    }
}

impl ServeOptions {
    /// For a port where services call each other: everything that one says to another goes over one connection.
    ///
    /// A body that waits, for memory or for a slow store, must not stop the others, nor the small requests between them:
    /// so the windows of streams are all that bounds them. Those are smaller than for clients far away, for what they
    /// hold adds up, on both sides, and peers are near: 256 KiB are the bandwidth-delay product of 4 Gbit/s over 0.5 ms.
    pub fn between_services() -> Self {
        Self {
            h2_streams: 100_000,
            h2_stream_window: 256 << 10,
            h2_connection_window: (1 << 31) - 1,
            ..Self::default()
        }
    }

    /// Reads the options of a public port under `section`, such as `http`.
    pub fn read(reader: &mut Reader<'_>, section: &str) -> Self {
        let key = |name: &str| format!("{section}.{name}");
        let default = Self::default();
        let options = Self {
            max_connections: reader.field(
                &key("max_connections"),
                default.max_connections,
                "Connections served at once; more wait.",
            ),
            header_timeout: reader.field(
                &key("header_timeout"),
                default.header_timeout,
                "Time a client has to send a request head.",
            ),
            handshake_timeout: reader.field(
                &key("handshake_timeout"),
                default.handshake_timeout,
                "Time a client has for the TLS handshake.",
            ),
            keep_alive: reader.field(
                &key("keep_alive"),
                default.keep_alive,
                "How long a connection without a request is kept.",
            ),
            body_stall: reader.field(
                &key("body_stall"),
                default.body_stall,
                "Waiting time in which a request body must yield 1 KiB per second.",
            ),
            write_stall: reader.field(
                &key("write_stall"),
                default.write_stall,
                "How long a response waits for a client that takes none of it (over HTTP/2: less than 64 KiB).",
            ),
            max_head: reader.field(&key("max_head"), default.max_head, "Largest request head."),
            read_buffer: reader.field(
                &key("read_buffer"),
                default.read_buffer,
                "Largest chunk in which an upload is read from its connection.",
            ),
            h2_streams: reader.field(&key("h2_streams"), default.h2_streams, "HTTP/2 streams at once per connection."),
            h2_leave_early: true,
            h2_resets: reader.field(
                &key("h2_resets"),
                default.h2_resets,
                "HTTP/2 streams begun and reset at once, or reset for errors, before a connection ends.",
            ),
            h2_stream_window: default.h2_stream_window,
            h2_connection_window: default.h2_connection_window,
        };
        if options.max_connections == 0 {
            reader.reject(&key("max_connections"), "must be at least 1");
        }
        if options.max_head < LEAST_HEAD {
            reader.reject(&key("max_head"), format!("must be at least {LEAST_HEAD}, or no client's request fits"));
        }
        options
    }
}
