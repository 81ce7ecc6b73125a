//! A server, or a proxy, that repeats the whole request in every form and in every part of its response. No text that a
//! caller can see contains a secret in any form, whichever way it was sent.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ruvector_snapshot::store::StoreOptions;
use test_fixtures::TestDir;

use super::secrets::{SECRETS, every_provider, try_every_request};
use super::stub_server::{StubServer, response};

const PROXY_PASSWORD: &str = "pr0xy:pass@w/rd";
const PROXY_USER_INFO: &str = "backup%20user:pr0xy%3Apass%40w%2Frd";

// ---- what the server repeats

/// Returns a text in every form in which it can be repeated.
fn forms_of(text: &str) -> Vec<String> {
    let percent = |text: &str, is_kept: fn(u8) -> bool| {
        text.bytes().fold(String::new(), |mut encoded, byte| {
            let _ = if is_kept(byte) { write!(encoded, "{}", byte as char) } else { write!(encoded, "%{byte:02X}") };
            encoded
        })
    };
    let xml = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('+', "&#43;");
    let base64 = BASE64_STANDARD.encode(text);
    let wrapped: Vec<&str> = base64.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    vec![
        text.to_owned(),
        percent(text, |byte| byte.is_ascii_alphanumeric()),
        percent(text, |byte| byte.is_ascii_alphanumeric()).to_ascii_lowercase(),
        percent(text, |_| false),
        percent(&percent(text, |byte| byte.is_ascii_alphanumeric()), |byte| byte.is_ascii_alphanumeric()),
        xml,
        serde_json::to_string(text).unwrap().replace('/', "\\/"),
        wrapped.join("\r\n"),
        BASE64_URL_SAFE_NO_PAD.encode(text),
        BASE64_STANDARD.encode(&base64),
        base64,
        text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")),
    ]
}

/// Returns the parts of a request that may contain a secret: the first line, each header with and without its name, what
/// base64 in one stands for, and the body.
fn parts_of(request: &str) -> Vec<String> {
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
    let harmless = ["host", "accept", "date", "user-agent", "content-", "x-amz-date", "x-amz-content", "x-ms-v", "if-"];
    let is_harmless = |line: &&str| harmless.iter().any(|name| line.to_ascii_lowercase().starts_with(name));
    let lines = || head.lines().filter(|line| !is_harmless(line));
    let values = lines().filter_map(|line| Some(line.split_once(": ")?.1.to_owned()));
    let decoded = lines().filter_map(|line| {
        let bytes = BASE64_STANDARD.decode(line.rsplit_once(' ')?.1).ok()?;
        String::from_utf8(bytes).ok()
    });
    lines().map(str::to_owned).chain(values).chain(decoded).chain([body.chars().take(300).collect()]).collect()
}

/// A way to respond with what the request contains.
type Echo = fn(&str) -> String;

fn all_forms(request: &str) -> String {
    let forms = parts_of(request).iter().flat_map(|part| forms_of(part)).collect::<Vec<_>>().join(" | ");
    // A `<` would end the message.
    forms.replace('<', "(")
}

/// Returns header lines with what is secret in a request, one for each name.
fn in_headers(request: &str, names: &[&str]) -> String {
    let values: Vec<&str> = request.lines().filter_map(|line| Some(line.split_once(": ")?.1)).collect();
    let all: String = values.join(" ").chars().filter(|c| (' '..='~').contains(c)).collect();
    names.iter().fold(String::new(), |lines, name| format!("{lines}{name}: {all}\r\n"))
}

const ECHOES: [(&str, Echo); 11] = [
    ("an unknown code", |request| {
        response(
            "400 Bad Request",
            "",
            &format!("<Error><Code>Odd</Code><Message>{}</Message></Error>", all_forms(request)),
        )
    }),
    ("a known code", |request| {
        let body = format!("<Error><Code>AccessDenied</Code><Message>{}</Message></Error>", all_forms(request));
        response("403 Forbidden", "", &body)
    }),
    ("a server error", |request| {
        let body = format!("<Error><Code>InternalError</Code><Message>{}</Message></Error>", all_forms(request));
        response("500 Internal Server Error", "", &body)
    }),
    ("a code and a region", |request| {
        let region: String = request.lines().filter(|line| line.contains("uthorization")).collect();
        let body = format!("<Error><Code>AuthorizationHeaderMalformed</Code><Region>{region}</Region></Error>");
        response("400 Bad Request", "", &body)
    }),
    ("the refusal of a token service", |request| {
        let body = serde_json::json!({ "error": "invalid_grant", "error_description": all_forms(request) });
        response("400 Bad Request", "", &body.to_string())
    }),
    ("text", |request| response("400 Bad Request", "", request)),
    ("the refusal of a proxy", |request| response("407 Proxy Authentication Required", "", request)),
    ("a redirect", |request| {
        response("301 Moved Permanently", &in_headers(request, &["location", "x-amz-bucket-region"]), "")
    }),
    ("the line of the response", |request| {
        let value = in_headers(request, &["x"]);
        response(&format!("400 {}", value.trim()), "", "no")
    }),
    ("a success that is not what was asked for", |request| {
        let word: String = request.lines().filter(|line| line.contains("uthorization")).collect();
        let word: String = word.chars().filter(|c| c.is_ascii_alphanumeric() || ":/.-_+=".contains(*c)).collect();
        response("200 OK", "", &format!("<ListBucketResult><Contents></{word}></ListBucketResult>"))
    }),
    ("the headers of a success", |request| {
        let names = ["etag", "last-modified", "content-range", "content-type", "x-ms-request-id", "retry-after"];
        response("206 Partial Content", &in_headers(request, &names), request)
    }),
];

// ---- what no text may contain

/// Returns the secrets that a request contained, as they were sent.
fn sent_secrets(request: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        let name = name.to_ascii_lowercase();
        let is_secret =
            ["security-token", "customer-key", "customer-key-md5", "encryption-key", "encryption-key-sha256"];
        if name.ends_with("authorization") {
            secrets.extend(value.rsplit(['=', ' ', ':']).find(|part| !part.is_empty()).map(str::to_owned));
        } else if is_secret.iter().any(|secret| name.ends_with(secret)) {
            secrets.push(value.trim_end_matches('=').to_owned());
        }
    }
    let query = head.lines().next().unwrap_or_default().split([' ', '?', '&']);
    let parameters = query.chain(body.split('&')).filter_map(|pair| pair.split_once('='));
    secrets.extend(
        parameters.filter(|(name, _)| ["sig", "client_secret"].contains(name)).map(|(_, value)| value.to_owned()),
    );
    secrets
}

/// Returns a text in which everything that is escaped is as it was.
fn unescaped(text: &str) -> String {
    let text = text.replace("\\\"", "\"").replace("\\/", "/").replace("&amp;", "&").replace("&#43;", "+");
    let once = |text: &str| {
        let (mut plain, mut rest) = (Vec::new(), text.as_bytes());
        while let Some((&first, after)) = rest.split_first() {
            let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            match digits.filter(|_| first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                Some(byte) => (plain.push(byte), rest = &after[2..]).1,
                None => (plain.push(first), rest = after).1,
            }
        }
        String::from_utf8_lossy(&plain).into_owned()
    };
    once(&once(&text)).replace(['\r', '\n'], "").replace("\\r", "").replace("\\n", "")
}

#[track_caller]
fn assert_without(texts: &[String], secrets: &[String], what: &str) {
    for text in texts {
        let plain = unescaped(text);
        for secret in secrets.iter().filter(|secret| secret.len() >= 6) {
            let hex = secret.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            let in_base64 = (0..3).map(|skipped| {
                let whole = &secret.as_bytes()[skipped..];
                BASE64_STANDARD.encode(&whole[..whole.len() / 3 * 3])
            });
            let twice =
                in_base64.clone().filter(|part| part.len() > 12).map(|part| BASE64_STANDARD.encode(&part[..12]));
            for form in [secret.clone(), hex].into_iter().chain(in_base64).chain(twice).filter(|form| form.len() >= 6) {
                let shown = form.replace('+', "-").replace('/', "_");
                let is_shown = [text, &plain].iter().any(|text| text.contains(&form) || text.contains(&shown));
                assert!(!is_shown, "{what}: {secret} appears as {form} in: {text}");
            }
        }
    }
}

/// Fails every request with every echo, and checks all texts.
async fn assert_nothing_is_repeated(options: impl Fn(&str) -> Vec<(&'static str, StoreOptions)>) {
    for (what, echo) in ECHOES {
        let server = StubServer::answering(echo);
        for (location, options) in options(&server.address()) {
            let before = server.requests().len();
            let (texts, failed) = try_every_request(location, options).await;
            assert_ne!(failed, 0, "{what}: {location}");
            let requests = server.requests().split_off(before);
            assert!(!requests.is_empty(), "{what}: {location} sent no request");
            let known = SECRETS.iter().map(|secret| (*secret).to_owned()).chain([PROXY_PASSWORD.to_owned()]);
            let secrets: Vec<String> = requests.iter().flat_map(|request| sent_secrets(request)).chain(known).collect();
            assert_without(&texts.0, &secrets, &format!("{what} of {location}"));
        }
    }
}

fn quick() -> StoreOptions {
    [("retry_timeout", "1ms")].into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_appears_if_the_server_repeats_the_request_in_every_form() {
    assert_nothing_is_repeated(|server| {
        let all = every_provider(&format!("http://{server}")).into_iter();
        all.map(|(location, options)| (location, quick().over(&options))).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_appears_if_a_proxy_repeats_the_request_in_every_form() {
    assert_nothing_is_repeated(|server| {
        let mut with = quick();
        with.set("proxy_url", format!("http://{PROXY_USER_INFO}@{server}"));
        let all = every_provider("http://store.invalid").into_iter();
        all.map(|(location, options)| (location, with.over(&options))).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_appears_if_a_token_service_repeats_the_request_in_every_form() {
    let dir = TestDir::new();
    let token = dir.path("token");
    std::fs::write(&token, SECRETS[1]).unwrap();
    assert_nothing_is_repeated(|server| {
        let endpoint = format!("http://{server}");
        let azure = [
            ("endpoint", endpoint.as_str()),
            ("account_name", "account"),
            ("authority_host", &endpoint),
            ("client_id", "client"),
            ("client_secret", SECRETS[7]),
            ("tenant_id", "tenant"),
            ("allow_http", "true"),
        ];
        let s3 = [
            ("endpoint", endpoint.as_str()),
            ("container_credentials_full_uri", &endpoint),
            ("container_authorization_token_file", token.to_str().unwrap()),
            ("shared_credentials_file", "/dev/null"),
            ("config_file", "/dev/null"),
            ("allow_http", "true"),
        ];
        let azure: StoreOptions = azure.into_iter().collect();
        let s3: StoreOptions = s3.into_iter().collect();
        vec![("az://container/backups", quick().over(&azure)), ("s3://bucket/backups", quick().over(&s3))]
    })
    .await;
}
