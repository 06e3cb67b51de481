//! Frames arrive once, in order, whatever breaks on the way.

use super::harness::*;
use crate::client::{ClientError, ClientOptions, StreamClient, dial};
use crate::frame::{Reason, define, frame};
use std::time::Duration;
use tonic::transport::Endpoint;
use warpline_storage::Acknowledged;

#[tokio::test(flavor = "multi_thread")]
async fn ticks_become_rows_and_are_acknowledged() {
    let server = TestServer::start().await;
    let mut client = server.client("n1").await;
    let layout = layout();
    let number = client.define(layout.clone()).await.unwrap();
    for second in 0..100 {
        client.send(vec![(number, tick(&layout, second))]).await.unwrap();
    }
    let summary = client.finish().await.unwrap();
    assert_eq!((summary.frames, summary.acknowledged.durable), (100, 100));
    assert!(summary.refusals.is_empty());
    assert_eq!(server.storage.metrics().rows, 800);
    let counts = server.service.metrics().counts();
    assert_eq!((counts.frames, counts.rows, counts.values), (100, 800, 1_600));
    assert_eq!((counts.open, counts.streams, counts.failed), (0, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_loses_and_doubles_nothing() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address).await;
    let mut client =
        StreamClient::connect(url_of(proxy.address), producer("n1"), options()).await.unwrap();
    let layout = layout();
    let number = client.define(layout.clone()).await.unwrap();
    for second in 0..2_000 {
        client.send(vec![(number, tick(&layout, second))]).await.unwrap();
        if second % 300 == 150 {
            proxy.cut();
        }
    }
    let summary = client.finish().await.unwrap();
    assert!(summary.reconnects > 0, "the connection was cut");
    assert_eq!(summary.acknowledged.durable, 2_000);
    assert_eq!(server.storage.metrics().rows, 16_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_goes_on_where_it_stood() {
    let mut server = TestServer::start().await;
    let mut client = server.client("n1").await;
    let layout = layout();
    let number = client.define(layout.clone()).await.unwrap();
    for second in 0..300 {
        client.send(vec![(number, tick(&layout, second))]).await.unwrap();
        if second == 100 {
            server = server.restart().await;
        }
    }
    let summary = client.finish().await.unwrap();
    assert_eq!(summary.acknowledged.durable, 300);
    server.storage.flush().await.unwrap();
    let snapshot = server.storage.snapshot();
    let files = &snapshot.table("gpu").unwrap().files;
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 2_400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_producer_continues_its_sequence() {
    let server = TestServer::start().await;
    let layout = layout();
    for round in 0..3 {
        let mut client = server.client("n1").await;
        assert_eq!(client.next_sequence(), round * 10 + 1);
        let number = client.define(layout.clone()).await.unwrap();
        for second in 0..10 {
            let second = second + round as i64 * 10;
            client.send(vec![(number, tick(&layout, second))]).await.unwrap();
        }
        client.finish().await.unwrap();
    }
    assert_eq!(server.storage.metrics().rows, 240);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_with_its_own_numbers_resends_harmlessly() {
    let server = TestServer::start().await;
    let layout = layout();
    for _ in 0..2 {
        let own = ClientOptions { start: Some(1), ..options() };
        let mut client = StreamClient::connect(server.url(), producer("n1"), own).await.unwrap();
        let number = client.define(layout.clone()).await.unwrap();
        for second in 0..10 {
            client.send(vec![(number, tick(&layout, second))]).await.unwrap();
        }
        client.finish().await.unwrap();
    }
    assert_eq!(server.storage.metrics().rows, 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_is_told() {
    let server = TestServer::start().await;
    let mut client = server.client("n1").await;
    let layout = layout();
    let number = client.define(layout.clone()).await.unwrap();
    for second in 0..5 {
        client.send(vec![(number, tick(&layout, second))]).await.unwrap();
    }
    let mut acknowledged = client.acknowledged();
    acknowledged.wait_for(|now| now.durable == 5).await.unwrap();
    server.storage.flush().await.unwrap();
    let stored = acknowledged.wait_for(|now| now.stored == 5).await.map(|now| *now).unwrap();
    assert_eq!(stored, Acknowledged { durable: 5, stored: 5 });
    client.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_producers_share_one_connection() {
    let server = TestServer::start().await;
    let link = dial(server.url()).unwrap();
    let layout = layout();
    let streams = (0..300).map(|node| {
        let (link, layout) = (link.clone(), layout.clone());
        tokio::spawn(async move {
            let name = producer(&format!("node-{node}"));
            let mut client = StreamClient::connect_over(link, name, options()).await.unwrap();
            let number = client.define(layout.clone()).await.unwrap();
            for second in 0..10 {
                client.send(vec![(number, tick(&layout, second))]).await.unwrap();
            }
            client.finish().await.unwrap()
        })
    });
    for stream in streams.collect::<Vec<_>>() {
        assert_eq!(stream.await.unwrap().acknowledged.durable, 10);
    }
    assert_eq!(server.service.metrics().counts().rows, 24_000);
}

/// Its connection has room for one answer at a time, and it takes none out.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_does_not_listen_is_served_and_holds_up_nobody() {
    let server = TestServer::start().await;
    let endpoint = Endpoint::from_shared(server.url().to_string()).unwrap();
    let channel = endpoint.initial_stream_window_size(64).connect_lazy();
    let layout = layout();
    let deaf = RawStream::open(channel).await.unwrap().greeted("deaf").await;
    deaf.send(define(0, &layout)).await;
    let mut good = server.client("good").await;
    let number = good.define(layout.clone()).await.unwrap();
    let mut taken = server.storage.producer(&producer("deaf"));
    for second in 0..500 {
        let (tick, sequence) = (tick(&layout, second), second.cast_unsigned() + 1);
        deaf.send(frame(sequence, &[(0, tick.clone())])).await;
        good.send(vec![(number, tick)]).await.unwrap();
        // There is something to tell it each time.
        let durable = taken.wait_for(|now| now.durable == sequence);
        tokio::time::timeout(Duration::from_mins(1), durable).await.unwrap().unwrap();
    }
    assert_eq!(good.finish().await.unwrap().acknowledged.durable, 500);
    assert_eq!(deaf.finish().await.unwrap().acknowledged.durable, 500, "it is told at last");
    assert_eq!(server.storage.metrics().rows, 8_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_with_one_name_the_older_stops() {
    let server = TestServer::start().await;
    let mut older = server.client("n1").await;
    let layout = layout();
    let number = older.define(layout.clone()).await.unwrap();
    older.send(vec![(number, tick(&layout, 0))]).await.unwrap();
    older.acknowledged().wait_for(|now| now.durable == 1).await.unwrap();
    let newer = server.client("n1").await;
    assert_eq!(newer.next_sequence(), 2);
    let error = older.finish().await.unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    newer.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_sequences_another_took_meanwhile_stops() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address).await;
    let away =
        ClientOptions { backoff: (Duration::from_secs(5), Duration::from_secs(5)), ..options() };
    let mut older =
        StreamClient::connect(url_of(proxy.address), producer("n1"), away).await.unwrap();
    let layout = layout();
    let number = older.define(layout.clone()).await.unwrap();
    older.send(vec![(number, tick(&layout, 0))]).await.unwrap();
    older.acknowledged().wait_for(|now| now.durable == 1).await.unwrap();
    proxy.cut();
    while older.is_connected() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    older.send(vec![(number, tick(&layout, 1))]).await.unwrap();
    let mut newer = server.client("n1").await;
    let number = newer.define(layout.clone()).await.unwrap();
    for second in 2..5 {
        newer.send(vec![(number, tick(&layout, second))]).await.unwrap();
    }
    newer.finish().await.unwrap();
    let error = older.finish().await.unwrap_err();
    assert!(matches!(error, ClientError::Overtaken { durable: 4, claimed: 2 }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_waits_where_the_window_is_full() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address).await;
    let small = ClientOptions { window_frames: 4, ..options() };
    let mut client =
        StreamClient::connect(url_of(proxy.address), producer("n1"), small).await.unwrap();
    let layout = layout();
    let number = client.define(layout.clone()).await.unwrap();
    for second in 0..200 {
        client.send(vec![(number, tick(&layout, second))]).await.unwrap();
        let durable = client.acknowledged().borrow().durable;
        assert!(client.next_sequence() - 1 - durable <= 5, "at most the window is under way");
    }
    assert_eq!(client.finish().await.unwrap().acknowledged.durable, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_server_is_told_within_the_patience() {
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let options = ClientOptions { patience: Duration::from_millis(300), ..options() };
    let error = StreamClient::connect(url_of(address), producer("n1"), options).await.unwrap_err();
    let ClientError::Unreachable { reason, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("connect"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_beyond_the_limit_is_the_senders_error_alone() {
    let server = TestServer::start().await;
    let mut client = server.client("n1").await;
    let layout = layout();
    let number = client.define(layout.clone()).await.unwrap();
    let error = client.send(vec![(number, vec![0; 17 << 20].into())]).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit: 16_777_216, .. }), "{error}");
    client.send(vec![(number, tick(&layout, 0))]).await.unwrap();
    let summary = client.finish().await.unwrap();
    assert_eq!((summary.acknowledged.durable, summary.refusals.count(Reason::Block)), (1, 0));
}
