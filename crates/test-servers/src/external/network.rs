//! Ports on 127.0.0.1, and the HTTP requests that show whether a server is ready.
#![expect(clippy::disallowed_methods, reason = "several processes may choose a port at the same time")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use super::{ServerError, failed};

/// The ports to choose from. They are below those that Linux gives to outgoing connections, so that a port stays free
/// while its server is stopped.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const ATTEMPTS_MAX: usize = 1_000;

pub(crate) fn free_port() -> Result<u16, ServerError> {
    for _ in 0..ATTEMPTS_MAX {
        let random = getrandom::u32().map_err(|error| failed(format!("cannot get random bytes: {error}")))?;
        let port = PORTS.start + (random % u32::from(PORTS.end - PORTS.start)) as u16;
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(failed(format!("no free port was found between {} and {}", PORTS.start, PORTS.end)))
}

pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Returns the status of a GET request, or `None` if there is no response.
pub(crate) fn http_status(port: u16, path: &str) -> Option<u16> {
    let request = || -> io::Result<[u8; 12]> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(start)
    };
    let start = request().ok()?;
    str::from_utf8(&start).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok()
}
