//! A bucket on a server in this process, and a sandbox whose runs keep their snapshots in it.

use std::process::Command;

use serde_json::{Value, json};
use test_servers::{GcsServer, S3Server, Wire};

use super::sandbox::{RunResult, Sandbox, ids_of};

/// The rows of the database `a.db`.
pub(crate) const ROWS: usize = 300;

/// A server, and a sandbox whose runs find it through their environment.
pub(crate) struct Bucket {
    pub(crate) sandbox: Sandbox,
    pub(crate) server: Server,
    /// The location of the snapshots.
    pub(crate) store: String,
    /// The variables with the address of the server and the keys.
    pub(crate) environment: Vec<(&'static str, String)>,
}

pub(crate) enum Server {
    S3(S3Server),
    Gcs(GcsServer),
}

impl Server {
    pub(crate) fn wire(&self) -> &Wire {
        match self {
            Self::S3(server) => server.wire(),
            Self::Gcs(server) => server.wire(),
        }
    }

    pub(crate) fn open_uploads(&self) -> usize {
        match self {
            Self::S3(server) => server.open_uploads(),
            Self::Gcs(server) => server.open_uploads(),
        }
    }

    /// Returns the keys of all objects, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        match self {
            Self::S3(server) => server.objects().into_keys().collect(),
            Self::Gcs(server) => server.objects().into_keys().collect(),
        }
    }
}

impl Bucket {
    pub(crate) fn s3(server: S3Server) -> Self {
        let environment = vec![
            ("AWS_ENDPOINT_URL", server.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY.to_owned()),
        ];
        let store = format!("s3://{}/backups/prod", S3Server::BUCKET);
        Self { sandbox: Sandbox::with_rows(ROWS), server: Server::S3(server), store, environment }
    }

    pub(crate) fn gcs(server: GcsServer) -> Self {
        let environment = vec![
            ("GOOGLE_BASE_URL", server.endpoint()),
            ("GOOGLE_ALLOW_HTTP", "true".to_owned()),
            ("GOOGLE_BEARER_TOKEN", GcsServer::TOKEN.to_owned()),
        ];
        let store = format!("gs://{}/backups/prod", GcsServer::BUCKET);
        Self { sandbox: Sandbox::with_rows(ROWS), server: Server::Gcs(server), store, environment }
    }

    /// Returns a bucket of each provider.
    pub(crate) fn both() -> [Self; 2] {
        [Self::s3(S3Server::start()), Self::gcs(GcsServer::start())]
    }

    /// Returns a command that runs the program with the store and the keys in its environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(args);
        command.env("RUVECTOR_SNAPSHOT_STORE", &self.store).envs(self.environment.iter().cloned());
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> RunResult {
        RunResult::from(self.command(args).output().unwrap()).without_secrets()
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let result = self.run(args);
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        result.stdout
    }

    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> (i32, Value) {
        self.run(&[args, &["--json"]].concat()).into_json()
    }

    #[track_caller]
    pub(crate) fn create(&self, name: &str) -> String {
        let (exit_code, document) = self.json(&["create", "--db", "a.db", "--name", name]);
        assert_eq!((exit_code, document["store"].as_str()), (0, Some(&*self.store)), "{document}");
        document["snapshot"]["id"].as_str().unwrap().to_owned()
    }

    /// Returns the ids that `list` prints, newest first. Asserts that there is nothing else in the bucket.
    #[track_caller]
    pub(crate) fn ids(&self) -> Vec<String> {
        let (exit_code, document) = self.json(&["list"]);
        let ids = ids_of(&document);
        let expected = (if ids.is_empty() { 4 } else { 0 }, &json!([]), &json!([]));
        assert_eq!((exit_code, &document["pending_uploads"], &document["unusable"]), expected);
        ids
    }
}

impl RunResult {
    /// Asserts that the program printed no key of a server.
    #[track_caller]
    pub(crate) fn without_secrets(self) -> Self {
        for secret in [S3Server::SECRET_KEY, GcsServer::TOKEN] {
            assert!(!self.stdout.contains(secret) && !self.stderr.contains(secret), "a secret was printed: {self:?}");
        }
        self
    }
}
