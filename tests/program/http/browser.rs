//! The status page in Chromium: as wide as a phone and as a large screen, light and dark. It is measured, not compared with a picture.
//!
//! The browser is the one that the variable `RUVECTOR_SNAPSHOT_TEST_CHROMIUM` names, which must work, or else the first in PATH. The test
//! prints that it is skipped if there is none. The browser is spoken to by its DevTools protocol over pipes: messages of JSON, each
//! with a zero at its end.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::{ARTICLES, FILE, HOURLY, Site};
use crate::daemon::Daemon;
use crate::sandbox::{DIMENSIONS, Sandbox, create_database};

const VARIABLE: &str = "RUVECTOR_SNAPSHOT_TEST_CHROMIUM";
const CHECKS: &str = include_str!("page_checks.js");

/// Returns the browser. `None` if there is none, and none must be there.
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
fn chromium() -> Option<String> {
    if let Ok(program) = std::env::var(VARIABLE) {
        return Some(program);
    }
    let mut names = ["chromium", "chromium-browser", "google-chrome"].into_iter();
    let found =
        names.find(|name| Command::new(name).arg("--version").output().is_ok_and(|found| found.status.success()));
    if found.is_none() {
        println!("skipped: there is no chromium, so the status page is not measured");
    }
    found.map(str::to_owned)
}

/// A browser with one page.
struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Value,
    last_id: u64,
    /// The events that came while an answer was waited for.
    events: Vec<Value>,
    profile: tempfile::TempDir,
}

impl Browser {
    fn start(program: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // It reads from the file 3 and writes to the file 4.
        let script = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>\"$LOG\"";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh", program])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--remote-debugging-pipe", "--no-proxy-server", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("LOG", profile.path().join("log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (session, events) = (Value::Null, Vec::new());
        let mut browser = Self { child, to, from, session, last_id: 0, events, profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].clone();
        for domain in ["Page", "Log", "Runtime"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    fn message(&mut self) -> Value {
        let mut text = Vec::new();
        self.from.read_until(0, &mut text).unwrap();
        assert_eq!(text.pop(), Some(0), "the browser has ended: {}", self.log());
        serde_json::from_slice(&text).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.profile.path().join("log")).unwrap_or_default()
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut request = json!({"id": self.last_id, "method": method, "params": params});
        if !self.session.is_null() {
            request["sessionId"] = self.session.clone();
        }
        self.to.write_all(&[request.to_string().as_bytes(), &[0]].concat()).unwrap_or_else(|error| {
            panic!("{error}: {}", self.log());
        });
        loop {
            let message = self.message();
            if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    /// Opens a page, waits until it is loaded, and returns what the checks have found.
    fn check(&mut self, url: &str, width: u64, scheme: &str) -> Value {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", media);
        self.events.clear();
        let navigated = self.call("Page.navigate", json!({"url": url}));
        assert!(navigated["errorText"].is_null(), "{navigated}");
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.message();
            self.events.push(event);
        }
        let result = self.call("Runtime.evaluate", json!({"expression": CHECKS, "returnByValue": true}));
        let found = result["result"]["value"].as_str().unwrap_or_else(|| panic!("{result}"));
        let logged = self.events.iter().filter(|event| event["method"] == "Log.entryAdded");
        let is_favicon = |event: &&Value| event["params"]["entry"].to_string().contains("favicon");
        let logged: Vec<_> = logged.filter(|event| !is_favicon(event)).collect();
        assert!(logged.is_empty(), "{logged:?}");
        serde_json::from_str(found).unwrap()
    }

    /// Writes a picture of the whole page.
    fn picture(&mut self, path: &Path) {
        let captured = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        fs::write(path, captured["data"].as_str().unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A daemon with databases whose snapshots have every form: full, incremental, pinned, corrupt, without a base, and with
/// long names.
fn site(sandbox: &Sandbox) -> Site {
    let long = "a-name-without-any-space-that-is-far-longer-than-a-phone-is-wide-".repeat(2);
    create_database(&sandbox.path("long.db"), 3, DIMENSIONS);
    let databases = format!("{ARTICLES}[databases.long]\npath = \"long.db\"\nsource = {long:?}\nname = {long:?}\n");
    let nightly =
        "retention = \"few\"\nverify_parts = 1\ncopies = [{ to = \"copied\" }]\n[retention.few]\nkeep_last = 30\n";
    let nightly = format!("{}{nightly}", HOURLY.replace("[\"@articles\"]", "[\"@articles\", \"@long\"]"));
    let failing = HOURLY.replace("nightly", "failing").replace("@articles", "absent.db");
    let file = format!("store = \"snapshots\"\n{databases}{failing}{nightly}");
    fs::write(sandbox.path(FILE), file).unwrap();
    let create = |args: &[&str]| {
        let (exit_code, document) = sandbox.json(&[&["create", "--db", "@articles"], args].concat());
        assert_eq!(exit_code, 0, "{document}");
        document["snapshot"]["id"].as_str().unwrap().to_owned()
    };
    let first = create(&["--name", "first"]);
    create(&["--base", &first]);
    create(&["--base", "latest"]);
    sandbox.ok(&["pin", &first]);
    let full = create(&["--name", "<b>corrupt</b>"]);
    create(&["--base", &full]);
    let path = sandbox.stored(&full, "vectors.bin.gz");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(sandbox.run(&["verify", &full]).exit_code, Some(3));
    let mut site = Site::of(Daemon::start(sandbox.command(&["schedule", "--listen", "0"])));
    site.wait("/", |answer| {
        answer.body.contains("absent.db: file not found") && answer.body.matches("<figure>").count() == 4
    });
    site
}

#[test]
fn the_page_is_readable_on_a_phone_and_on_a_large_screen_light_and_dark() {
    let Some(program) = chromium() else { return };
    let sandbox = Sandbox::with_rows(30);
    let site = site(&sandbox);
    let mut browser = Browser::start(&program);
    let mut backgrounds = Vec::new();
    for width in [360, 1400] {
        for scheme in ["light", "dark"] {
            let found = browser.check(&format!("http://{}/", site.address), width, scheme);
            assert_eq!(found["problems"], json!([]), "{width} pixels, {scheme}: {:#}", found["problems"]);
            backgrounds.push(found["background"].clone());
            if let Some(directory) = std::env::var_os("RUVECTOR_SNAPSHOT_TEST_PICTURES") {
                browser.picture(&Path::new(&directory).join(format!("{width}-{scheme}.png.base64")));
            }
        }
    }
    assert_ne!(backgrounds[0], backgrounds[1]);
    assert_eq!(site.daemon.stop().exit_code, Some(0));
}
