//! Bytes that are no message end their own stream with a reason, and nothing else.

use super::harness::*;
use crate::frame::{Hello, acknowledge, define, frame, hello};
use bytes::Bytes;
use tonic::Code;
use warpline_storage::Acknowledged;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_hello_is_refused() {
    let server = TestServer::start().await;
    let cases = [
        (Bytes::new(), Code::InvalidArgument, "WPL1"),
        (Bytes::from_static(b"GET / HTTP/1.1\r\n"), Code::InvalidArgument, "WPL1"),
        (frame(1, &[]), Code::InvalidArgument, "must be Hello"),
        (hello("", 1), Code::InvalidArgument, "1 to 128 bytes"),
        (hello(&"n".repeat(129), 1), Code::InvalidArgument, "1 to 128 bytes"),
        (hello("warpline-server/write", 1), Code::InvalidArgument, "the server's own"),
        (
            Hello { version: 2, producer: "n1".into(), session: 1 }.encode(),
            Code::FailedPrecondition,
            "protocol version 2",
        ),
    ];
    for (message, code, reason) in cases {
        let stream = server.raw().await;
        stream.send(message).await;
        let status = stream.failure().await;
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(reason), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_message_ends_its_stream_alone() {
    let server = TestServer::start().await;
    let channel = server.channel();
    let layout = layout();
    let good = RawStream::open(channel.clone()).await.unwrap().greeted("good").await;
    good.send(define(0, &layout)).await;
    let message = frame(1, &[(0, tick(&layout, 0))]);
    let mut wild = message.to_vec();
    wild[0x1c..0x20].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
    let cases = [
        (message.slice(..message.len() / 2), "malformed"),
        (Bytes::from(wild), "malformed"),
        (hello("again", 1), "after Hello"),
        (acknowledge(Acknowledged::default()), "after Hello"),
        (frame(0, &[]), "sequence 0"),
        (frame(u64::MAX, &[]), "sequence"),
    ];
    for (bad, reason) in cases {
        let stream = RawStream::open(channel.clone()).await.unwrap().greeted("bad").await;
        stream.send(bad).await;
        let status = stream.failure().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(reason), "{status}");
    }
    good.send(message).await;
    assert_eq!(good.finish().await.unwrap().acknowledged.durable, 1);
    assert_eq!(server.storage.metrics().rows, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_100_megabytes_is_refused_by_its_length() {
    let server = TestServer::start().await;
    let channel = server.channel();
    let layout = layout();
    let good = RawStream::open(channel.clone()).await.unwrap().greeted("good").await;
    good.send(define(0, &layout)).await;
    let stream = RawStream::open(channel).await.unwrap().greeted("bad").await;
    stream.send(Bytes::from(vec![0; 100_000_000])).await;
    let status = stream.failure().await;
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert!(status.message().contains("16777216"), "{status}");
    good.send(frame(1, &[(0, tick(&layout, 0))])).await;
    assert_eq!(good.finish().await.unwrap().acknowledged.durable, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_path_is_not_served() {
    use crate::frame::BytesCodec;
    use tonic::codegen::http::uri::PathAndQuery;
    let server = TestServer::start().await;
    let mut grpc = tonic::client::Grpc::new(server.channel());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/warpline.v1.Ingest/Other");
    let request = tonic::Request::new(Bytes::new());
    let status = grpc.unary(request, path, BytesCodec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
