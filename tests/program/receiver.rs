//! A server that keeps the requests that it receives, and answers as a test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

/// A request that was received.
#[derive(Debug)]
pub(crate) struct Received {
    /// The method and the target, such as `POST /key/start`.
    pub(crate) line: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

/// What a server does with a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// Answers with a status, such as `200 OK`, and the request as the body.
    Status(&'static str),
    /// Does not answer.
    Hang,
}

/// The server. It ends with the process.
pub(crate) struct Receiver {
    address: String,
    requests: mpsc::Receiver<Received>,
}

impl Receiver {
    /// Starts a server that takes every request.
    pub(crate) fn start() -> Self {
        Self::answering(|_| Reply::Status("200 OK"))
    }

    pub(crate) fn answering(reply: impl Fn(&Received) -> Reply + Send + Sync + Clone + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (sender, reply) = (sender.clone(), reply.clone());
                thread::spawn(move || drop(serve(connection, &sender, &reply)));
            }
        });
        Self { address, requests }
    }

    /// Returns an address of this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Waits for the next request.
    pub(crate) fn next(&self) -> Received {
        self.requests.recv().unwrap()
    }

    /// Returns the requests that were received and not taken.
    pub(crate) fn rest(&self) -> Vec<Received> {
        self.requests.try_iter().collect()
    }
}

fn serve(
    mut connection: TcpStream,
    sender: &mpsc::Sender<Received>,
    reply: &impl Fn(&Received) -> Reply,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let value = |line: &String| line.to_lowercase().strip_prefix(name).map(|value| value.trim().to_owned());
        lines.iter().find_map(value).unwrap_or_default()
    };
    let mut body = vec![0; header("content-length:").parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let line = lines.first().map_or("", |line| line.trim_end_matches(" HTTP/1.1")).to_owned();
    let received =
        Received { line, content_type: header("content-type:"), body: String::from_utf8_lossy(&body).into_owned() };
    let (reply, echo) = (reply(&received), format!("{received:?}"));
    let _test_has_ended = sender.send(received);
    match reply {
        Reply::Status(status) => {
            let length = echo.len();
            write!(
                connection,
                "HTTP/1.1 {status}\r\nlocation: /elsewhere\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{echo}"
            )
        }
        // Until the client closes the connection.
        Reply::Hang => reader.read(&mut [0]).map(drop),
    }
}
