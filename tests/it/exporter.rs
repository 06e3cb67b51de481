//! A page that other people's scrapers read, for as long as a test wants it read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) struct Exporter {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Answers every request on a free port with the same page.
    pub(crate) fn start(page: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let ended = Arc::new(AtomicBool::new(false));
        let asked = ended.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if asked.load(SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    answer(stream, page);
                }
            }
        });
        Self { address, ended, thread: Some(thread) }
    }

    /// `host:port`, as scrapers are told it.
    pub(crate) fn target(&self) -> String {
        self.address.to_string()
    }

    /// Nobody answers any more.
    pub(crate) fn stop(&mut self) {
        self.ended.store(true, SeqCst);
        // Wakes the thread.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the exporter ends well");
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client that breaks off is its own affair.
fn answer(mut stream: TcpStream, page: &str) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut request = [0; 4096];
    if !stream.read(&mut request).is_ok_and(|len| len > 0) {
        return;
    }
    let len = page.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n{page}"
    );
}
