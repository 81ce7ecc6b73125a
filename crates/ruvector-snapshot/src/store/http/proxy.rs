//! The proxies of a store: that of the option `proxy_url`, or those of the environment variables that most programs
//! read. The HTTP client would leave out a proxy whose URL it cannot read, and connect directly. Here it is an error.

use reqwest::{NoProxy, Proxy};

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::options::Settings;
use crate::store::value::{ValueKind, with_scheme};

/// Makes a proxy for some kind of request from its URL.
type Rule = fn(String) -> reqwest::Result<Proxy>;

/// The proxies for requests, in the order in which they apply.
#[derive(Default)]
pub(super) struct Proxies {
    pub(super) rules: Vec<Proxy>,
    /// Their URLs, which may contain passwords.
    pub(super) urls: Vec<String>,
}

impl Proxies {
    /// Returns the proxies of a store. The environment applies only without the option `proxy_url`.
    pub(super) fn of(settings: &Settings) -> Result<Self> {
        let Some(url) = settings.get("proxy_url") else { return Self::of_environment() };
        let mut proxies = Self::default();
        let excluded = settings.get("proxy_excludes").and_then(NoProxy::from_string);
        match proxies.add(Proxy::all, url, excluded) {
            true => Ok(proxies),
            false => Err(settings.refused("proxy_url", NO_PROXY_URL)),
        }
    }

    /// Returns the proxies of the environment, by the rules of the HTTP client: upper case has precedence, and a CGI
    /// program uses none, because its client could set `HTTP_PROXY` with a header.
    fn of_environment() -> Result<Self> {
        let mut proxies = Self::default();
        if std::env::var_os("REQUEST_METHOD").is_some() {
            return Ok(proxies);
        }
        let excluded = first_of(["NO_PROXY", "no_proxy"]).and_then(|(_, hosts)| NoProxy::from_string(&hosts));
        let all = || first_of(["ALL_PROXY", "all_proxy"]);
        let http = first_of(["HTTP_PROXY", "http_proxy"]).or_else(all);
        let https = first_of(["HTTPS_PROXY", "https_proxy"]).or_else(all);
        let rules: [(Rule, _); 2] = [(Proxy::http, http), (Proxy::https, https)];
        for (rule, found) in rules {
            let Some((variable, url)) = found else { continue };
            let problem = ValueKind::Proxy.problem(&url);
            if problem.is_some() || !proxies.add(rule, &url, excluded.clone()) {
                let problem = problem.unwrap_or_else(|| NO_PROXY_URL.to_owned());
                let message = format!("the environment variable {variable} {problem}");
                return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
            }
        }
        Ok(proxies)
    }

    /// Adds a proxy. Returns whether its URL is one.
    fn add(&mut self, rule: Rule, url: &str, excluded: Option<NoProxy>) -> bool {
        let url = with_scheme(url);
        // The error may contain the password.
        let Ok(proxy) = rule(url.clone()) else { return false };
        self.rules.push(proxy.no_proxy(excluded));
        self.urls.push(url);
        true
    }
}

const NO_PROXY_URL: &str = "is not the URL of a proxy; write http://host:port";

/// Returns the name and the value of the first variable that is set, without white space around it; `None` if that one
/// is empty.
fn first_of(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    let (name, value) = names.into_iter().find_map(|name| Some((name, std::env::var_os(name)?)))?;
    let value = value.to_string_lossy().trim().to_owned();
    (!value.is_empty()).then_some((name, value))
}
