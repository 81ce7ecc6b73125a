//! Names and labels in the composed and the decomposed form of Unicode, NFC and NFD: they look alike, and are the same. The
//! file systems of some machines make one from the other. Snapshots of earlier programs have any form.

use std::fs;

use serde_json::{Value, json};
use test_fixtures::{StoredSnapshot, edit_metadata};

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

/// `Büro` with one character for the ü, and with a u and two dots.
const COMPOSED: &str = "B\u{fc}ro";
const DECOMPOSED: &str = "Bu\u{308}ro";

/// Creates snapshots with one form and asks for them with the other.
fn assert_forms_are_the_same(run: &dyn Fn(&[&str]) -> RunResult, [given, other]: [&str; 2]) {
    let ok = |args: &[&str]| -> Value {
        let (exit_code, document) = run(&[args, &["--json"]].concat()).into_json();
        assert_eq!(exit_code, 0, "{args:?}: {document}");
        document
    };
    let label = format!("{given}={given}");
    let created = ok(&["create", "--db", "a.db", "--name", given, "--source", given, "--label", &label]);
    let snapshot = &created["snapshot"];
    // What is stored is composed.
    assert_eq!((&snapshot["name"], &snapshot["source"]["name"]), (&json!(COMPOSED), &json!(COMPOSED)));
    assert_eq!(snapshot["labels"], json!({ COMPOSED: COMPOSED }));
    for form in [given, other] {
        assert_eq!(ok(&["show", form])["snapshots"][0]["id"], snapshot["id"]);
    }
    for base in [other, "latest"] {
        ok(&["create", "--db", "a.db", "--name", other, "--source", other, "--base", base]);
    }
    let pattern = format!("{other}={other}");
    let kept = ok(&["prune", "--keep-label", &pattern, "--dry-run"]);
    assert_eq!((kept["keep"].as_array().unwrap().len(), &kept["keep"][0]["id"]), (1, &snapshot["id"]), "{kept}");
    let groups = ok(&["prune", "--keep-last", "1", "--group-by", "name", "--dry-run"]);
    assert_eq!(groups["groups"].as_array().unwrap().len(), 1, "{groups}");
    ok(&["delete", "latest"]);
    ok(&["delete", "latest"]);
    assert_eq!(run(&["delete", other]).exit_code, Some(5));
}

#[test]
fn both_forms_of_a_name_are_one_name() {
    let sandbox = Sandbox::with_rows(300);
    for forms in [[COMPOSED, DECOMPOSED], [DECOMPOSED, COMPOSED]] {
        assert_forms_are_the_same(&|args| sandbox.run(args), forms);
        for bucket in Bucket::both() {
            assert_forms_are_the_same(&|args| bucket.run(args), forms);
        }
    }
}

#[test]
fn a_name_that_comes_from_a_file_is_composed() {
    let sandbox = Sandbox::with_rows(300);
    let file = format!("{DECOMPOSED}.db");
    fs::rename(sandbox.path("a.db"), sandbox.path(&file)).unwrap();
    let (exit_code, created) = sandbox.json(&["create", "--db", &file]);
    assert_eq!((exit_code, &created["snapshot"]["name"]), (0, &json!(COMPOSED)));
    // A path is kept as it is: a file system can have both.
    assert!(created["snapshot"]["source"]["path"].as_str().unwrap().ends_with(&file), "{created}");
}

/// Earlier programs stored what was typed.
#[test]
fn decomposed_names_of_earlier_programs_are_found_by_both_forms() {
    let sandbox = Sandbox::with_rows(300);
    let label = format!("{COMPOSED}={COMPOSED}");
    let create = ["create", "--db", "a.db", "--name", COMPOSED, "--source", COMPOSED, "--label", &label];
    let mut ids = Vec::new();
    for decomposes in [true, false] {
        let (exit_code, created) = sandbox.json(&create);
        assert_eq!(exit_code, 0, "{created}");
        let id = created["snapshot"]["id"].as_str().unwrap().to_owned();
        if decomposes {
            let stored = StoredSnapshot::read(&sandbox.path("snapshots"), &id);
            let metadata = edit_metadata(stored.file("metadata.json"), |metadata| {
                metadata["name"] = json!(DECOMPOSED);
                metadata["source"]["name"] = json!(DECOMPOSED);
                metadata["labels"] = json!({ DECOMPOSED: DECOMPOSED });
            });
            stored.put("metadata.json", &metadata);
        }
        ids.push(id);
    }
    sandbox.ok(&["delete", &ids[1]]);
    for form in [COMPOSED, DECOMPOSED] {
        assert_eq!(sandbox.json(&["show", form]).1["snapshots"][0]["id"], json!(ids[0]));
        let increment = ["create", "--db", "a.db", "--name", "increment", "--source", form, "--base", form];
        assert_eq!(sandbox.json(&increment).0, 0, "{form:?}");
        sandbox.ok(&["delete", "increment"]);
        let (exit_code, plan) = sandbox.json(&["prune", "--keep-label", &format!("{form}={form}"), "--dry-run"]);
        assert_eq!((exit_code, plan["keep"].as_array().unwrap().len()), (0, 1), "{plan}");
    }
    sandbox.ok(&create);
    for group in ["source", "name", &format!("label:{COMPOSED}"), &format!("label:{DECOMPOSED}")] {
        let (exit_code, plan) = sandbox.json(&["prune", "--keep-last", "1", "--group-by", group, "--dry-run"]);
        assert_eq!((exit_code, plan["groups"].as_array().unwrap().len()), (0, 1), "{group}: {plan}");
    }
}

#[test]
fn two_forms_of_one_label_are_refused() {
    let sandbox = Sandbox::with_rows(300);
    let [one, other] = [format!("{COMPOSED}=1"), format!("{DECOMPOSED}=2")];
    let result = sandbox.run(&["create", "--db", "a.db", "--label", &one, "--label", &other]);
    result.assert_fails(1, "in two spellings");
    assert!(!sandbox.path("snapshots").exists() || sandbox.names("snapshots").is_empty());
}

/// A script with the line ends of Windows passes on a carriage return.
#[test]
fn a_new_path_with_a_control_character_is_refused_unless_it_exists() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    for path in ["new.db\r", "new\n.db"] {
        sandbox.run(&["restore", "one", "--to", path]).assert_fails(2, "the path contains a control character");
        sandbox.run(&["demo", path]).assert_fails(2, "the path contains a control character");
    }
    assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
    fs::copy(sandbox.path("a.db"), sandbox.path("old\r")).unwrap();
    sandbox.ok(&["restore", "one", "--to", "old\r", "--force"]);
}
