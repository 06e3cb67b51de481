//! The native stream end to end: real server, real store, real sockets.

mod delivery;
mod harness;
mod hostile;
mod refusing;
