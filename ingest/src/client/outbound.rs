//! The stream of messages that gRPC sends on one connection.

use super::state::{Backlog, Shared};
use bytes::Bytes;
use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

#[derive(Debug)]
pub(super) struct Outbound<B> {
    pub(super) shared: Arc<Shared<B>>,
    pub(super) connection: u64,
}

impl<B: Backlog> Stream for Outbound<B> {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.shared.poll_message(self.connection, context.waker())
    }
}
