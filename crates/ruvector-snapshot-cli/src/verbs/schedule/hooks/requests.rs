//! The requests of pings and webhooks. What they say, and when, is not decided here.
//!
//! An address can contain a key. No error has more of it than its server, and no response is shown: a server can repeat the request.

use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use url::Url;

use crate::config_file::origin;

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The waits before further attempts.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// What requests are sent with.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Made when it is needed: most jobs send nothing.
    client: OnceLock<Result<reqwest::Client, String>>,
}

/// A request, whose method is POST.
pub(super) struct Post {
    pub(super) url: Url,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

/// Why an attempt has failed.
struct Refusal {
    why: String,
    /// Whether the next attempt may succeed.
    passes: bool,
}

impl Requests {
    /// Sends a request, also again if the server cannot be reached or has an error of its own, until `end` says that it has to end.
    ///
    /// # Errors
    ///
    /// Returns the server, and why it did not take the request.
    pub(super) async fn send(&self, post: &Post, end: BoxFuture<'static, ()>) -> Result<(), String> {
        let failed = |why: String| format!("{}: {why}", origin(&post.url));
        tokio::select! {
            biased;
            answer = self.attempts(post) => answer.map_err(failed),
            () = end => Err(failed("it has not answered, and the program is ending".to_owned())),
        }
    }

    async fn attempts(&self, post: &Post) -> Result<(), String> {
        let client = self.client.get_or_init(client).as_ref().map_err(Clone::clone)?;
        for wait in WAITS {
            match attempt(client, post).await {
                Err(Refusal { passes: true, .. }) => pause(wait).await,
                answer => return answer.map_err(|refusal| refusal.why),
            }
        }
        attempt(client, post).await.map_err(|refusal| format!("{}, {} times", refusal.why, WAITS.len() + 1))
    }
}

#[expect(clippy::disallowed_methods, reason = "the wait before a further attempt")]
async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Returns a client that follows no redirect: another server would receive the body. The proxies are those of the environment.
fn client() -> Result<reqwest::Client, String> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("ruvector-snapshot/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .timeout(TIMEOUT);
    client.build().map_err(|error| format!("no request can be sent: {}", root_cause(&error)))
}

async fn attempt(client: &reqwest::Client, post: &Post) -> Result<(), Refusal> {
    let request = client.post(post.url.clone()).header(CONTENT_TYPE, post.content_type).body(post.body.clone());
    let status = match request.send().await {
        Ok(response) => response.status(),
        Err(error) if error.is_timeout() => {
            let why = format!("it has not answered within {} s", TIMEOUT.as_secs());
            return Err(Refusal { why, passes: false });
        }
        Err(error) => {
            let why = format!("it cannot be reached: {}", root_cause(&error.without_url()));
            return Err(Refusal { why, passes: true });
        }
    };
    let advice = match status {
        status if status.is_success() => return Ok(()),
        status if status.is_redirection() => "; redirects are not followed, so write the address that it leads to",
        status if status.is_client_error() => "; check the address",
        _ => "",
    };
    Err(Refusal { why: format!("it has answered {status}{advice}"), passes: status.is_server_error() })
}

/// Returns the last cause of an error. Those before it repeat what is known.
fn root_cause(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}
