//! Plays a fleet into a server, one frame per tick: the whole fleet's second, or nothing of it.

use super::TICK;
use crate::Failure;
use crate::fleet::{Fleet, Node};
use bytes::Bytes;
use std::sync::Arc;
use url::Url;
use warpline_ingest::{ClientOptions, StreamClient};
use warpline_storage::model::{Layout, ProducerId, Timestamp};

#[derive(Debug)]
pub(super) struct Player {
    client: StreamClient,
    first: u64,
    nodes: Vec<Placed>,
    played: Played,
}

/// A node and the layout that the server knows of it.
#[derive(Debug)]
struct Placed {
    node: Node,
    defined: Option<(Arc<Layout>, u32)>,
}

/// What has been sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Played {
    pub(super) rows: u64,
    pub(super) values: u64,
}

impl Player {
    /// A player whose next tick is number `first`; ticks are numbered in seconds since 1970.
    pub(super) async fn connect(
        server: &Url,
        producer: ProducerId,
        fleet: Fleet,
        first: u64,
    ) -> Result<Self, Failure> {
        let options = ClientOptions { start: Some(first), ..ClientOptions::default() };
        let client = StreamClient::connect(server.clone(), producer, options).await?;
        let nodes = (0..fleet.nodes()).map(|n| Placed { node: fleet.node(n), defined: None });
        Ok(Self { client, first, nodes: nodes.collect(), played: Played::default() })
    }

    pub(super) fn next_tick(&self) -> u64 {
        self.client.next_sequence()
    }

    pub(super) fn played(&self) -> Played {
        self.played
    }

    /// Sends the next tick.
    pub(super) async fn play(&mut self) -> Result<(), Failure> {
        let time = self.next_tick().cast_signed() * TICK;
        let mut blocks = Vec::with_capacity(self.nodes.len());
        for placed in &mut self.nodes {
            let mut bytes = Vec::new();
            let Some(scrape) = placed.node.tick(time, &mut bytes) else { continue };
            let number = placed.number(time, &mut self.client).await?;
            self.played.rows += scrape.rows;
            self.played.values += scrape.values;
            blocks.push((number, Bytes::from(bytes)));
        }
        self.client.send(blocks).await?;
        Ok(())
    }

    /// Waits until everything played is on the server's disk.
    pub(super) async fn settled(&self) -> Result<(), Failure> {
        if self.next_tick() == self.first {
            return Ok(());
        }
        let last = self.next_tick() - 1;
        let mut acknowledged = self.client.acknowledged();
        acknowledged.wait_for(|acknowledged| acknowledged.durable >= last).await?;
        Ok(())
    }

    /// Ends the stream once everything played is on the server's disk.
    pub(super) async fn finish(self) -> Result<(), Failure> {
        self.client.finish().await?;
        Ok(())
    }
}

impl Placed {
    /// The number of the layout that the tick at `time` is under.
    async fn number(&mut self, time: Timestamp, client: &mut StreamClient) -> Result<u32, Failure> {
        let layout = self.node.layout(time);
        match &self.defined {
            Some((known, number)) if Arc::ptr_eq(known, &layout) => Ok(*number),
            _ => {
                let number = client.define(layout.clone()).await?;
                self.defined = Some((layout, number));
                Ok(number)
            }
        }
    }
}
