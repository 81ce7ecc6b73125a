//! A server that gives one answer to everything: for answers that a real one gives rarely.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use ruvector_snapshot::store::{SnapshotStore, StoreConfig, StoreOptions, open};

/// The server, until it is dropped.
pub(crate) struct Canned {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Canned {
    /// `headers` are whole lines, each with its end.
    pub(crate) fn answering(status: &str, headers: &str, body: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = stopped.clone();
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that gave up is none of this server's business.
                let _either_way = connection.and_then(|connection| serve(connection, &answer));
            }
        });
        Self { address, stopped, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// A bucket of this server's.
    pub(crate) fn s3(&self, more: &[(&str, &str)]) -> Arc<dyn SnapshotStore> {
        let endpoint = format!("http://{}", self.address);
        let usual = [
            ("endpoint", endpoint.as_str()),
            ("allow_http", "true"),
            ("access_key_id", "AKID"),
            ("secret_access_key", "test-servers-secret"),
            ("shared_credentials_file", "/dev/null"),
            ("config_file", "/dev/null"),
            ("retry_timeout", "300ms"),
        ];
        let usual: StoreOptions = usual.into_iter().collect();
        let options = more.iter().copied().collect::<StoreOptions>().over(&usual);
        open(&"s3://bucket".parse().unwrap(), &StoreConfig { options, ..StoreConfig::default() }).unwrap()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Reads one request, in full so that the end of the connection is no reset, and answers it.
fn serve(mut connection: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut body_bytes = 0;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            body_bytes = length.trim().parse().unwrap();
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; body_bytes])?;
    connection.write_all(answer.as_bytes())
}
