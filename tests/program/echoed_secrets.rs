//! A proxy or a server that repeats the request: the program prints no secret of it, neither as text nor in JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::sandbox::{RunResult, Sandbox};

/// `backup:pr0xy-passw0rd` and the secrets of the bucket, each as it is sent or encoded.
const FORMS: [&str; 7] = [
    "pr0xy-passw0rd",
    "YmFja3VwOnByMHh5LXBhc3N3MHJk",
    "pr0xy%2Dpassw0rd",
    "70723078792d7061737377307264",
    "ses%2Fsion-t0ken",
    "ses/sion-t0ken",
    "c2VjcmV0LWFjY2Vzcy1rZXk",
];

/// Starts a server that refuses every request and repeats it: as it is, and with `/` and `-` encoded for a URL. It ends with
/// the process.
fn start_echo(status: &'static str, code: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().flatten().for_each(|connection| drop(echo(connection, status, code))));
    address
}

fn echo(mut connection: TcpStream, status: &str, code: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        head.push_str(&line);
        line.clear();
    }
    let encoded = head.replace('-', "%2D").replace('/', "%2F");
    let body = format!("<Error><Code>{code}</Code><Message>you said {head} {encoded}</Message></Error>");
    let length = body.len();
    write!(connection, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn run(sandbox: &Sandbox, address: &str, args: &[&str]) -> RunResult {
    let mut command = sandbox.command(args);
    command
        .env("RUVECTOR_SNAPSHOT_STORE", "s3://bucket/prod")
        .env("HTTP_PROXY", format!("http://backup:pr0xy-passw0rd@{address}"))
        .env("AWS_ENDPOINT_URL", "http://store.invalid")
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "AKID")
        .env("AWS_SECRET_ACCESS_KEY", "secret-access-key")
        .env("AWS_SESSION_TOKEN", "ses/sion-t0ken");
    RunResult::from(command.output().unwrap())
}

#[test]
fn what_a_proxy_repeats_of_a_request_is_printed_without_secrets() {
    let sandbox = Sandbox::with_rows(10);
    for (status, code) in [("407 Proxy Authentication Required", "Odd"), ("403 Forbidden", "AccessDenied")] {
        let address = start_echo(status, code);
        for verb in [&["list"][..], &["create", "--db", "a.db"], &["store", "check"], &["verify", "--all", "--json"]] {
            let result = run(&sandbox, &address, verb);
            assert_eq!(result.exit_code, Some(1), "{result:?}");
            let printed = format!("{}{}", result.stdout, result.stderr);
            assert!(printed.contains("[hidden]"), "the request is not repeated: {printed}");
            for form in FORMS {
                assert!(!printed.contains(form), "{form} is in {printed}");
            }
            let signature = printed.split("Signature=").nth(1).unwrap_or("[hidden]");
            assert!(signature.starts_with("[hidden]"), "{printed}");
        }
    }
}
