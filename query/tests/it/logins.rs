//! Who is let in over the PostgreSQL wire, and what somebody who is not can do: nothing.

use crate::clients::guarded;
use crate::fixture::{FileRows, engine};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls};
use warpline_query::{Logins, PasswordVerifier, PostgresAccess};

struct One(PasswordVerifier);

impl Logins for One {
    fn verifier(&self, name: &str) -> Option<PasswordVerifier> {
        (name == "grafana").then(|| self.0.clone())
    }
}

async fn server() -> u16 {
    let logins = Arc::new(One(PasswordVerifier::of("secret")));
    let access = PostgresAccess { logins: Some(logins), tls: None };
    guarded(engine(&[FileRows::monotone(1, Vec::new())]).await, access).await
}

async fn connect(port: u16, user: &str, password: &str) -> Result<Client, Error> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(user).dbname("postgres").password(password);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_is_let_in_and_no_other() {
    let port = server().await;
    let client = connect(port, "grafana", "secret").await.unwrap();
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i64>(0), 1);
    for (user, password) in [("grafana", "Secret"), ("grafana", ""), ("nobody", "secret")] {
        let error = connect(port, user, password).await.unwrap_err();
        let told = error.as_db_error().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(told.code(), &SqlState::INVALID_PASSWORD, "{told}");
        assert_eq!(told.severity(), "FATAL");
        assert!(told.message().contains(user) && !told.message().contains("ecret"), "{told}");
    }
    assert_eq!(client.query_one("SELECT 2", &[]).await.unwrap().get::<_, i64>(0), 2);
}

/// A message of the protocol.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (4 + body.len() as u32).to_be_bytes();
    [&[kind][..], &length, body].concat()
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0grafana\0database\0postgres\0\0";
    [&(4 + body.len() as u32).to_be_bytes()[..], body].concat()
}

/// Sends all that at once, and reads what comes until the server closes.
async fn answer(port: u16, sent: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    // A server that closes with something unread resets the connection.
    let _ = socket.read_to_end(&mut answer).await;
    answer
}

/// Whether the server has ended a connection: then writing to it fails before long.
async fn is_over(socket: &mut TcpStream) -> bool {
    for _ in 0..100 {
        if socket.write_all(&[0; 64]).await.is_err() {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_over() {
    let port = server().await;
    let gigabyte = [&b"p"[..], &0x3fff_fff0_u32.to_be_bytes(), b"SCRAM-SHA-256\0"].concat();
    for sent in [gigabyte, message(b'Q', b"SELECT 1\0"), message(b'd', b"x")] {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.write_all(&[startup(), sent].concat()).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(has(&answer, "FATAL"), "{answer:?}");
        assert!(is_over(&mut socket).await, "it reads on");
    }
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(&[&0x3fff_fff0_u32.to_be_bytes()[..], &[0, 3, 0, 0]].concat()).await.unwrap();
    assert!(is_over(&mut socket).await, "it waits for a gigabyte");
}

fn has(answer: &[u8], text: &str) -> bool {
    answer.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_before_being_let_in() {
    let port = server().await;
    let query = message(b'Q', b"SELECT 4711 AS told\0");
    let parse = message(b'P', b"\0SELECT 4711 AS told\0\0\0");
    let bind = message(b'B', b"\0\0\0\0\0\0\0\0");
    let execute = message(b'E', b"\0\0\0\0\0");
    let sync = message(b'S', b"");
    let extended = [&parse[..], &bind, &execute, &sync].concat();
    let wrong = message(b'p', b"SCRAM-SHA-256\0\0\0\0\x02ab");
    let other = message(b'p', b"PLAIN\0\0\0\0\x02ab");
    let cut = message(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff");
    for tried in [
        query.clone(),
        extended.clone(),
        [&wrong[..], &query].concat(),
        [&wrong[..], &extended].concat(),
        [&other[..], &query].concat(),
        [&cut[..], &query].concat(),
        [&startup()[..], &query].concat(),
    ] {
        let answer = answer(port, &[startup(), tried.clone()].concat()).await;
        assert!(has(&answer, "SCRAM-SHA-256"), "{tried:?}: {answer:?}");
        let a_password = tried[0] == b'p';
        assert!(!a_password || has(&answer, "FATAL"), "{tried:?}: {answer:?}");
        assert!(!has(&answer, "told") && !has(&answer, "4711"), "{tried:?}: {answer:?}");
    }
}
