//! One HTTP request at a time to a server on this machine: all that a benchmark needs.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// The body of a `GET` that was answered 200.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // In one piece: a server may answer and close after the first it reads.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| Error::new(ErrorKind::InvalidData, "an answer without a head"))?;
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) == Some("200") {
        return Ok(body.to_owned());
    }
    Err(Error::other(format!("GET {path} was answered {status}")))
}

/// A sample without labels on a page of Prometheus text.
pub(crate) fn sample(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{get, sample};
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn a_sample_is_found_by_its_whole_name() {
        let page = "# TYPE rows_total counter\nrows_total_more 7\nrows_total 41\n";
        assert_eq!(sample(page, "rows_total"), Some(41.0));
        assert_eq!(sample(page, "rows"), None);
    }

    #[test]
    fn only_an_answer_of_200_has_a_body() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut request = [0; 256];
                let _ = stream.read(&mut request).expect("a request");
                write!(stream, "HTTP/1.0 {status}\r\nX: y\r\n\r\nready\n").expect("an answer");
            }
        });
        assert_eq!(get(address, "/health").expect("a body"), "ready\n");
        assert!(get(address, "/health").is_err());
        server.join().expect("the server ended");
    }
}
