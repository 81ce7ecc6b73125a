//! What lies beside a database and is not in its snapshots, and paths that are no database of Ruvector's.

use std::fs;
use std::path::Path;

use redb::{Database, TableDefinition};
use serde_json::{Value, json};
use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::{DIMENSIONS, Sandbox, create_database};

/// Returns the path of a file of the sandbox as a snapshot records it.
fn absolute(sandbox: &Sandbox, name: &str) -> String {
    sandbox.path("").canonicalize().unwrap().join(name).to_str().unwrap().to_owned()
}

/// Returns the paths in an array of sentences.
fn paths(not_captured: &Value) -> Vec<&str> {
    let sentences = not_captured.as_array().unwrap().iter();
    sentences.map(|what| what.as_str().unwrap().split_once(": ").unwrap().0).collect()
}

/// Makes a directory of collections as `CollectionManager` does, and returns the paths of what each collection has.
fn make_collections(sandbox: &Sandbox, names: &[&str]) {
    for name in names {
        fs::create_dir_all(sandbox.path(&format!("base/{name}"))).unwrap();
        create_database(&sandbox.path(&format!("base/{name}/vectors.db")), 5, DIMENSIONS);
        fs::write(sandbox.path(&format!("base/{name}/metadata.json")), "{}").unwrap();
    }
    fs::write(sandbox.path("base/aliases.json"), "{}").unwrap();
}

/// Makes a redb file with tables of this name whose values are bytes.
fn write_redb(path: &Path, tables: &[&str]) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    for name in tables {
        let table: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(name);
        transaction.open_table(table).unwrap().insert("key", [0].as_slice()).unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn create_show_compact_and_restore_name_what_lies_beside_the_database() {
    let sandbox = Sandbox::with_rows(20);
    for name in ["a.db.agentic", "a.db.meta.json", "a.db.bak"] {
        fs::write(sandbox.path(name), "x").unwrap();
    }
    let expected = ["a.db.agentic", "a.db.meta.json"].map(|name| absolute(&sandbox, name));
    let assert_named = |printed: &str, before: &str| {
        for path in &expected {
            let lines = printed.lines().filter(|line| line.starts_with(&format!("{before}{path}: "))).count();
            assert_eq!(lines, 1, "{path} in {printed}");
        }
        assert!(!printed.contains("a.db.bak"), "{printed}");
    };
    let create = ["create", "--db", "a.db", "--name"];
    for args in [&["full", "--dry-run"][..], &["full", "--quiet"], &["more", "--base", "latest"]] {
        let result = sandbox.run(&[&create[..], args].concat());
        result.assert_warns("not captured: ");
        assert_named(&result.stderr, "warning: not captured: ");
    }
    let allowed = sandbox.ok(&[&create[..], &["allowed", "--allow-not-captured"]].concat());
    assert_named(&allowed, "  not captured  ");
    let listed = sandbox.ok(&["list"]);
    assert!(
        listed.contains("\nnot captured: 3 snapshots without something that belongs to the database; "),
        "{listed}"
    );
    assert_named(&sandbox.ok(&["show", "more"]), "  not captured  ");
    assert_named(&sandbox.ok(&["compact", "more"]), "  not captured  ");
    for args in [&["restore", "more", "--to", "b.db"][..], &["drill", "more"]] {
        for dry in [&["--dry-run"][..], &[]] {
            let args = [args, dry].concat();
            let result = sandbox.run(&[&args[..], &["--quiet"]].concat());
            result.assert_warns("not captured: ");
            assert_named(&result.stderr, "warning: not captured: ");
            let _ = fs::remove_file(sandbox.path("b.db"));
            let allowed = sandbox.ok(&[&args[..], &["--allow-not-captured"]].concat());
            assert_named(&allowed, "  not captured  ");
            let _ = fs::remove_file(sandbox.path("b.db"));
        }
    }
    let part = ["restore", "more", "--id", "id-000001"];
    assert!(!sandbox.ok(&[&part[..], &["--to", "part.db"]].concat()).contains("not captured"));
    sandbox
        .run(&[&part[..], &["--to", "p.db", "--allow-not-captured"]].concat())
        .assert_fails(2, "cannot be used with");
    sandbox.ok(&["restore", "more", "--to", "b.db", "--allow-not-captured"]);

    let (_, created) = sandbox.json(&["create", "--db", "a.db"]);
    let shown = sandbox.json(&["show", "full"]).1["snapshots"][0].clone();
    let (_, restored) = sandbox.json(&["restore", "full", "--to", "c.db"]);
    let id = shown["id"].as_str().unwrap();
    let stored: Value = serde_json::from_slice(&fs::read(sandbox.stored(id, "metadata.json")).unwrap()).unwrap();
    for not_captured in [
        &created["snapshot"]["source"]["not_captured"],
        &shown["source"]["not_captured"],
        &restored["snapshot"]["source"]["not_captured"],
        &stored["source"]["not_captured"],
    ] {
        assert_eq!(paths(not_captured), expected);
    }
    // A database with nothing beside it.
    let printed = sandbox.ok(&["create", "--db", "b.db", "--strict"]);
    assert!(!printed.contains("not captured"), "{printed}");
    assert!(!sandbox.ok(&["restore", "b", "--to", "d.db"]).contains("not captured"));
}

#[test]
fn strict_fails_before_a_store_is_made() {
    let sandbox = Sandbox::with_rows(20);
    fs::write(sandbox.path("a.db.agentic"), "x").unwrap();
    let result = sandbox.run(&["create", "--db", "a.db", "--strict"]);
    result.assert_fails(1, "it would not hold everything");
    result.assert_fails(1, "hint: --strict refuses that; ");
    assert!(!result.stderr.contains("without strict"), "{result:?}");
    result.assert_fails(1, &absolute(&sandbox, "a.db.agentic"));
    let (exit_code, document) = sandbox.json(&["create", "--db", "a.db", "--strict"]);
    assert_eq!((exit_code, &document["error"]["kind"]), (1, &json!("not_captured")));
    assert_eq!(sandbox.names("."), ["a.db", "a.db.agentic"]);
    // What is accepted is no reason to fail.
    sandbox.ok(&["create", "--db", "a.db", "--strict", "--allow-not-captured"]);
    fs::remove_file(sandbox.path("a.db.agentic")).unwrap();
    sandbox.ok(&["create", "--db", "a.db", "--strict"]);
}

#[test]
fn strict_fails_for_a_multimap_table_too() {
    let sandbox = Sandbox::with_rows(20);
    let database = Database::open(sandbox.path("a.db")).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: redb::MultimapTableDefinition<'_, &str, u64> = redb::MultimapTableDefinition::new("many");
    transaction.open_multimap_table(table).unwrap().insert("key", 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    sandbox.run(&["create", "--db", "a.db", "--strict"]).assert_fails(1, "\"many\"");
    assert!(!sandbox.path("snapshots").exists() || sandbox.names("snapshots").is_empty());
    sandbox.run(&["create", "--db", "a.db"]).assert_warns("not captured: table \"many\"");
}

#[test]
fn a_collection_names_its_description_and_the_aliases() {
    let sandbox = Sandbox::empty();
    make_collections(&sandbox, &["articles", "users"]);
    let (_, document) = sandbox.json(&["create", "--db", "base/articles/vectors.db"]);
    assert_eq!(document["snapshot"]["name"], "articles");
    let expected = ["base/articles/metadata.json", "base/aliases.json"].map(|name| absolute(&sandbox, name));
    assert_eq!(paths(&document["snapshot"]["source"]["not_captured"]), expected);
}

#[test]
fn the_same_is_named_in_a_bucket() {
    let bucket = Bucket::s3(S3Server::start());
    fs::write(bucket.sandbox.path("a.db.agentic"), "x").unwrap();
    bucket.run(&["create", "--db", "a.db", "--strict"]).assert_fails(1, "a.db.agentic");
    assert_eq!(bucket.server.keys(), Vec::<String>::new());
    let (_, created) = bucket.json(&["create", "--db", "a.db", "--name", "full"]);
    let (_, restored) = bucket.json(&["restore", "full", "--to", "b.db"]);
    let expected = absolute(&bucket.sandbox, "a.db.agentic");
    for document in [created, restored] {
        assert_eq!(paths(&document["snapshot"]["source"]["not_captured"]), [&*expected]);
    }
}

#[test]
fn a_directory_is_refused_with_the_files_in_it() {
    let sandbox = Sandbox::empty();
    let on = |db: &str| sandbox.run(&["create", "--db", db]);
    make_collections(&sandbox, &["articles", "users"]);
    let [articles, users] = ["articles", "users"].map(|name| format!("base/{name}/vectors.db"));
    on("base").assert_fails(1, "this is a directory of 2 collections");
    on("base").assert_fails(1, &format!("pass one of them: {articles}, {users}\n"));
    on("base/articles")
        .assert_fails(1, &format!("the directory of a collection, and a database is a file; pass {articles}\n"));
    let many: Vec<String> = (0..30).map(|number| format!("c{number:02}")).collect();
    make_collections(&sandbox, &many.iter().map(String::as_str).collect::<Vec<_>>());
    on("base").assert_fails(1, "this is a directory of 32 collections");
    on("base").assert_fails(1, " and 24 more");

    fs::create_dir(sandbox.path("data")).unwrap();
    on("data").assert_fails(1, "there is no database file in it");
    create_database(&sandbox.path("data/one.db"), 5, DIMENSIONS);
    fs::write(sandbox.path("data/notes.txt"), "redb").unwrap();
    on("data").assert_fails(1, "pass one of its files: data/one.db\n");
    assert_eq!(sandbox.names("."), ["base", "data"]);
}

#[test]
fn files_of_other_programs_are_refused_by_name() {
    let sandbox = Sandbox::empty();
    let files: [(&str, &[u8], &str); 8] = [
        ("a.rvf", b"SFVR\x01\0\0\0", "an RVF file"),
        ("renamed.db", b"SFVR\x01\0\0\0", "an RVF file"),
        ("a.npy", b"\x93NUMPY\x01\0", "a numpy array"),
        ("a.rbpx", b"rbpx0001....", "the Python package ruvector"),
        ("x.snapshot.gz", b"\x1f\x8b\x08\0", "the older crate ruvector-snapshot"),
        ("vectors.bin.gz", b"\x1f\x8b\x08\0", "use restore"),
        ("a.sqlite", b"SQLite format 3\0", "SQLite"),
        ("aliases.json", b"{}", "pass the database file beside it"),
    ];
    for (name, bytes, text) in files {
        fs::write(sandbox.path(name), bytes).unwrap();
        let result = sandbox.run(&["create", "--db", name]);
        result.assert_fails(1, text);
        result.assert_fails(1, &format!("error: {name}: "));
    }
    let tables: [(&str, &[&str], &str); 3] = [
        ("a.agentic", &["reflexion_episodes", "skills_library", "causal_edges"], "pass the vector file a, and copy"),
        ("graph.db", &["nodes", "edges", "hyperedges"], "@ruvector/graph-node"),
        ("router.db", &["vectors", "metadata", "index"], "@ruvector/router"),
    ];
    for (name, tables, text) in tables {
        write_redb(&sandbox.path(name), tables);
        sandbox.run(&["create", "--db", name]).assert_fails(1, text);
    }
    write_redb(&sandbox.path("other.db"), &["mine"]);
    sandbox.run(&["create", "--db", "other.db"]).assert_fails(1, "pass the file that Ruvector calls its storage path");
    assert!(!sandbox.path("snapshots").exists());
}
