//! HTTP/1.1 to a server on this machine, one request at a time: all that a benchmark needs.
//!
//! Promises: a body is whole or an error; a connection that answered can be asked again.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 256 << 10;
const STATUS_OK: u16 = 200;
const STATUS_NO_CONTENT: u16 = 204;

/// A connection that is kept open between requests.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

/// Where an answer's body ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Length {
    Known(u64),
    Chunked,
    /// With the connection.
    Open,
}

impl Connection {
    /// Connects; an answer may keep its reader waiting for `patience`.
    pub(crate) fn open(address: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(BUFFER_BYTES, stream), address })
    }

    /// Sends a request, puts the answer's body into `body` in place of what was there, and
    /// returns the status.
    pub(crate) fn request(
        &mut self,
        line: &str,
        accept: &str,
        content: &str,
        body: &mut Vec<u8>,
    ) -> Result<u16> {
        self.send(line, &[("Accept", accept)], content.as_bytes(), body)
    }

    /// The same with any headers and content.
    pub(crate) fn send(
        &mut self,
        line: &str,
        headers: &[(&str, &str)],
        content: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<u16> {
        let (address, length) = (self.address, content.len());
        let mut request =
            format!("{line} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n");
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("\r\n");
        // In one piece: a server may answer and close after the first it reads.
        let request = [request.as_bytes(), content].concat();
        self.stream.get_mut().write_all(&request)?;
        let (status, length) = read_head(&mut self.stream)?;
        body.clear();
        match length {
            Length::Known(length) => read_exactly(&mut self.stream, length, body)?,
            Length::Chunked => read_chunks(&mut self.stream, body)?,
            Length::Open => {
                self.stream.read_to_end(body)?;
            }
        }
        Ok(status)
    }
}

/// The body of a `GET` that was answered 200.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut body = Vec::new();
    let mut connection = Connection::open(address, TIMEOUT)?;
    let status = connection.request(&format!("GET {path}"), "*/*", "", &mut body)?;
    if status == STATUS_OK {
        return String::from_utf8(body).map_err(|error| Error::new(ErrorKind::InvalidData, error));
    }
    Err(Error::other(format!("GET {path} was answered {status}")))
}

fn read_head(stream: &mut impl BufRead) -> Result<(u16, Length)> {
    let first = read_line(stream)?;
    let status = first.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| malformed("an answer without a status"))?;
    let mut length = if status == STATUS_NO_CONTENT { Length::Known(0) } else { Length::Open };
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok((status, length));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("a line of a head"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let known = value.parse().map_err(|_| malformed("a length"))?;
            length = Length::Known(known);
        } else if name.eq_ignore_ascii_case("transfer-encoding")
            && value.eq_ignore_ascii_case("chunked")
        {
            length = Length::Chunked;
        }
    }
}

fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let line = read_line(stream)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| malformed("a chunk's size"))?;
        read_exactly(stream, size, body)?;
        if !read_line(stream)?.is_empty() {
            return Err(malformed("the end of a chunk"));
        }
        if size == 0 {
            return Ok(());
        }
    }
}

fn read_exactly(stream: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> Result<()> {
    if stream.by_ref().take(length).read_to_end(body)? as u64 == length {
        return Ok(());
    }
    Err(Error::new(ErrorKind::UnexpectedEof, "the answer was broken off"))
}

/// A line without its end; the end of the connection is an error.
fn read_line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(Error::new(ErrorKind::UnexpectedEof, "the answer was broken off"));
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("{what} that cannot be read"))
}

/// A sample without labels on a page of Prometheus text.
pub(crate) fn sample(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Connection, TIMEOUT, get, sample};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::JoinHandle;

    /// A server that gives each answer to one request, `per_connection` on a connection.
    fn server(
        answers: &'static [&'static str],
        per_connection: usize,
    ) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let serve = move || {
            for answers in answers.chunks(per_connection) {
                let (mut stream, _) = listener.accept().expect("a client");
                for answer in answers {
                    let mut request = [0; 256];
                    let _ = stream.read(&mut request).expect("a request");
                    stream.write_all(answer.as_bytes()).expect("an answer");
                }
            }
        };
        (address, std::thread::spawn(serve))
    }

    #[test]
    fn a_sample_is_found_by_its_whole_name() {
        let page = "# TYPE rows_total counter\nrows_total_more 7\nrows_total 41\n";
        assert_eq!(sample(page, "rows_total"), Some(41.0));
        assert_eq!(sample(page, "rows"), None);
    }

    #[test]
    fn only_an_answer_of_200_has_a_body() {
        let answers = &[
            "HTTP/1.0 200 OK\r\nX: y\r\n\r\nready\n",
            "HTTP/1.0 503 Service Unavailable\r\n\r\nstarting\n",
        ];
        let (address, server) = server(answers, 1);
        assert_eq!(get(address, "/health").expect("a body"), "ready\n");
        assert!(get(address, "/health").is_err());
        server.join().expect("the server ended");
    }

    #[test]
    fn a_connection_answers_again_and_tells_a_broken_answer() {
        let answers = &[
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc",
        ];
        let (address, server) = server(answers, 3);
        let mut connection = Connection::open(address, TIMEOUT).expect("a connection");
        let mut body = Vec::new();
        let mut ask = |body: &mut Vec<u8>| connection.request("POST /sql", "x/y", "SELECT 1", body);
        assert_eq!(ask(&mut body).expect("an answer"), 200);
        assert_eq!(body, b"abcd0123456789");
        assert_eq!(ask(&mut body).expect("an answer"), 400);
        assert_eq!(body, b"no");
        assert!(ask(&mut body).is_err());
        server.join().expect("the server ended");
    }
}
