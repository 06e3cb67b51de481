//! Messages come back as they were; any other bytes are refused without a panic.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use warpline_storage::Acknowledged;
use warpline_storage::model::{Column, Layout, Series};

fn layout() -> Layout {
    let columns = [
        ("gpu_util", FieldType::Int8),
        ("power_usage", FieldType::decimal(9, 3).unwrap()),
        ("ratio", FieldType::Float64),
    ];
    let columns = columns.map(|(name, field_type)| Column { name: name.into(), field_type });
    let series = (0..8).map(|gpu| Series {
        identity: vec!["c1".into(), "n1".into(), gpu.to_string().into()],
        attributes: vec!["H100".into()],
    });
    Layout::new(
        "gpu",
        vec!["cluster".into(), "node".into(), "gpu".into()],
        vec!["model".into()],
        columns.to_vec(),
        series.collect(),
    )
    .unwrap()
}

fn every_message() -> Vec<Bytes> {
    let blocks = [(0, Bytes::from(vec![7; 100])), (3, Bytes::new())];
    let told = Refusal {
        reason: Reason::Value,
        sequence: 9,
        layout: 3,
        column: "power_usage".into(),
        count: 2,
        message: "1e99 does not fit".into(),
    };
    vec![
        hello("node-1", 42),
        define(3, &layout()),
        frame(9, &blocks),
        welcome(&Welcome { version: 1, durable: 5, stored: 4, max_message: 1 << 24 }),
        acknowledge(Acknowledged { durable: 7, stored: 6 }),
        refusal(&told),
    ]
}

#[test]
fn messages_come_back_as_they_were() {
    let messages = every_message();
    let Ok(Message::Hello(hello)) = decode(&messages[0]) else { panic!("hello") };
    assert_eq!(hello, Hello { version: 1, producer: "node-1".into(), session: 42 });
    let Ok(Message::Define(define)) = decode(&messages[1]) else { panic!("define") };
    assert_eq!((define.number(), define.series()), (3, 8));
    assert_eq!(define.layout().unwrap(), layout());
    let Ok(Message::Frame(frame)) = decode(&messages[2]) else { panic!("frame") };
    let blocks: Vec<_> = frame.blocks().collect();
    assert_eq!(frame.sequence(), 9);
    assert_eq!(blocks, [(0, Bytes::from(vec![7; 100])), (3, Bytes::new())]);
    let Ok(Message::Welcome(welcome)) = decode(&messages[3]) else { panic!("welcome") };
    assert_eq!(welcome, Welcome { version: 1, durable: 5, stored: 4, max_message: 1 << 24 });
    let Ok(Message::Acknowledge(ack)) = decode(&messages[4]) else { panic!("acknowledge") };
    assert_eq!(ack, Acknowledged { durable: 7, stored: 6 });
    let Ok(Message::Refusal(refusal)) = decode(&messages[5]) else { panic!("refusal") };
    assert_eq!((refusal.reason, refusal.count), (Reason::Value, 2));
    assert_eq!((refusal.column.as_str(), refusal.layout), ("power_usage", 3));
}

#[test]
fn blocks_share_the_messages_buffer() {
    let message = frame(1, &[(0, Bytes::from(vec![7; 100]))]);
    let Ok(Message::Frame(frame)) = decode(&message) else { panic!("frame") };
    let (_, data) = frame.blocks().next().unwrap();
    assert!(message.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn repeated_tag_values_are_written_once() {
    let many: Vec<_> = (0..1_000)
        .map(|gpu: u32| Series {
            identity: vec!["a-rather-long-cluster-name".into(), "n".into(), gpu.to_string().into()],
            attributes: vec!["NVIDIA H100 80GB HBM3".into()],
        })
        .collect();
    let one = layout();
    let tags = (one.identity_tags().to_vec(), one.attribute_tags().to_vec());
    let layout = Layout::new("gpu", tags.0, tags.1, one.columns().to_vec(), many).unwrap();
    let message = define(0, &layout);
    assert!(message.len() < 32_000, "{} bytes", message.len());
}

#[test]
fn a_frame_fits_the_size_foretold() {
    for count in [0, 1, 7, 300] {
        let blocks: Vec<_> = (0..count).map(|n| (n, Bytes::from(vec![1; n as usize]))).collect();
        assert!(frame(u64::MAX, &blocks).len() <= frame_bytes(&blocks));
    }
}

#[test]
fn other_bytes_are_named() {
    assert_eq!(decode(&Bytes::new()).unwrap_err(), FrameError::Identifier);
    assert_eq!(decode(&Bytes::from_static(b"GET / HTTP/1.1")).unwrap_err(), FrameError::Identifier);
    let mut wild = every_message()[2].to_vec();
    wild[0] = 0xf0;
    let error = decode(&Bytes::from(wild)).unwrap_err().to_string();
    assert!(error.starts_with("a malformed message: "), "{error}");
    assert!(!error.contains('\n'));
}

#[test]
fn the_worked_example_of_the_documentation_holds() {
    let message = frame(7, &[(2, Bytes::from_static(&[0x11, 0x22, 0x33, 0x44]))]);
    let shown = include_str!("../../../docs/formats/frame.md");
    let dump: Vec<_> = message
        .chunks(16)
        .map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" "))
        .collect();
    for line in &dump {
        assert!(shown.contains(line.as_str()), "docs/formats/frame.md lacks {dump:#?}");
    }
}

/// Reads everything a message offers, as the server and the client do.
fn read_all(bytes: &Bytes) {
    match decode(bytes) {
        Ok(Message::Define(define)) => drop(define.layout()),
        Ok(Message::Frame(frame)) => drop(frame.blocks().collect::<Vec<_>>()),
        _ => {}
    }
}

#[test]
fn every_truncation_is_read_or_refused() {
    for message in every_message() {
        for end in 0..message.len() {
            read_all(&message.slice(..end));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_messages_never_panic(
        kind in 0_usize..6,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = every_message()[kind].to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_all(&Bytes::from(bytes));
    }

    #[test]
    fn wild_offsets_never_panic(
        kind in 0_usize..6,
        at in any::<prop::sample::Index>(),
        offset in prop_oneof![Just(u32::MAX), Just(i32::MAX.cast_unsigned()), Just(1 << 31), any::<u32>()],
    ) {
        let mut bytes = every_message()[kind].to_vec();
        let at = at.index(bytes.len() / 4) * 4;
        bytes[at..at + 4].copy_from_slice(&offset.to_le_bytes());
        read_all(&Bytes::from(bytes));
    }

    #[test]
    fn any_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 8..200)) {
        bytes[4..8].copy_from_slice(b"WPL1");
        read_all(&Bytes::from(bytes));
    }
}
