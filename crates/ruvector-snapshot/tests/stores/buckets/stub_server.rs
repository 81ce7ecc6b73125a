//! A server that returns the same response to every request, for responses that a real server rarely returns.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use ruvector_snapshot::store::{SnapshotStore, StoreConfig, StoreOptions, open};

/// The server. It stops when this is dropped.
pub(crate) struct StubServer {
    address: SocketAddr,
    /// The requests as text.
    requests: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StubServer {
    /// Starts a server that returns the same response to every request. `headers` are complete lines with their line
    /// ends.
    pub(crate) fn responding(status: &str, headers: &str, body: &str) -> Self {
        let response = response(status, headers, body);
        Self::answering(move |_| response.clone())
    }

    /// Starts a server that makes the response to a request of the request: of its line and headers, and of its body.
    pub(crate) fn answering(respond: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = stopped.clone();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client may close the connection early.
                let _result = connection.and_then(|connection| serve(connection, &respond, &seen));
            }
        });
        Self { address, requests, stopped, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns the requests so far, as text.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Opens a bucket of this server.
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
        open(&"s3://bucket".parse().unwrap(), &StoreConfig::default().options(options)).unwrap()
    }
}

impl Drop for StubServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Returns a response as it is sent.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

/// Reads one request completely, so that closing the connection is not a reset, and responds.
fn serve(
    mut connection: TcpStream,
    respond: impl Fn(&str) -> String,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut body_bytes = 0;
    let mut line = String::new();
    let mut request = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            body_bytes = length.trim().parse().unwrap();
        }
        request.push_str(&line);
        line.clear();
    }
    let mut body = vec![0; body_bytes];
    reader.read_exact(&mut body)?;
    request.push_str(&format!("\r\n{}", String::from_utf8_lossy(&body)));
    seen.lock().unwrap().push(request.clone());
    connection.write_all(respond(&request).as_bytes())
}
