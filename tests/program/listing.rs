//! Which snapshots `list` prints, in which order and with which columns, and what `stats` adds up.

use std::fs;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use test_fixtures::local_store;

use super::bucket::Bucket;
use super::clocks::take_at;
use super::sandbox::{Sandbox, ids_of};

/// Returns a sandbox with two full snapshots of `a.db` and an increment, and their ids, oldest first.
fn three_snapshots() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::with_rows(50);
    let create = |args: &[&str]| {
        let (exit_code, document) = sandbox.json(&[&["create", "--db", "a.db"], args].concat());
        assert_eq!(exit_code, 0, "{document}");
    };
    create(&["--name", "nightly", "--label", "host=db1", "--label", "why=test", "--source", "team/articles"]);
    create(&["--name", "hourly", "--base", "latest", "--label", "host=db1", "--source", "team/articles"]);
    create(&["--name", "nightly", "--label", "host=db2"]);
    let mut ids = sandbox.ids();
    ids.reverse();
    (sandbox, ids)
}

#[test]
fn list_selects_by_each_of_its_options_and_by_several() {
    let (sandbox, ids) = three_snapshots();
    let path = fs::canonicalize(sandbox.path("a.db")).unwrap();
    for (args, expected) in [
        (&["--name", "nightly"][..], &[2, 0][..]),
        (&["--label", "host=db1"], &[1, 0]),
        (&["--label", "why"], &[0]),
        (&["--label", "host=db1", "--label", "why=test"], &[0]),
        (&["--source", "team/articles"], &[1, 0]),
        (&["--source", path.to_str().unwrap()], &[2, 1, 0]),
        (&["--type", "incremental"], &[1]),
        (&["--type", "full", "--name", "nightly", "--label", "host=db2"], &[2]),
        (&["--last", "2"], &[2, 1]),
        (&["--last", "1", "--name", "hourly"], &[1]),
        (&["--since", "1h"], &[2, 1, 0]),
        (&["--since", "2020-01-31"], &[2, 1, 0]),
        (&["--reverse"], &[0, 1, 2]),
        (&["--last", "2", "--reverse"], &[1, 2]),
        (&["--sort", "name"], &[1, 2, 0]),
        (&["--sort", "stored", "--reverse", "--last", "1"], &[2]),
    ] {
        let (exit_code, document) = sandbox.json(&[&["list"], args].concat());
        let expected: Vec<_> = expected.iter().map(|at: &usize| ids[*at].clone()).collect();
        assert_eq!((exit_code, ids_of(&document)), (0, expected), "{args:?}");
    }
    let printed = sandbox.ok(&["list", "--name", "hourly"]);
    assert!(printed.contains("\n1 of 3 snapshots, ") && !printed.contains(&ids[0]), "{printed}");
}

#[test]
fn a_list_of_nothing_has_an_exit_code_of_its_own() {
    let (sandbox, _) = three_snapshots();
    for args in [["--name", "nothing"], ["--label", "host=db3"], ["--source", "b.db"], ["--since", "2999-01-31"]] {
        let result = sandbox.run(&["list", args[0], args[1]]);
        let hint = match args[0] {
            "--source" => "hint: the sources of the snapshots are: team/articles, ",
            "--name" => "hint: the names of the snapshots are: hourly, nightly\n",
            "--label" => "hint: did you mean host=db1?\n",
            _ => "",
        };
        assert!(result.exit_code == Some(4) && result.stderr.starts_with(hint), "{result:?}");
        assert_eq!(result.stderr.lines().count(), usize::from(!hint.is_empty()), "{result:?}");
        assert!(result.stdout.starts_with("no snapshot fits the options; the store has 3 snapshots\n"), "{result:?}");
        assert_eq!(sandbox.json(&["list", args[0], args[1]]).0, 4);
        assert_eq!(sandbox.json(&["stats", "--name", "nothing"]).0, 4);
    }
    for (verb, args, meant) in [
        ("list", ["--name", "nigthly"], "nightly"),
        ("stats", ["--name", "hourl"], "hourly"),
        ("list", ["--source", "team/article"], "team/articles"),
        ("list", ["--label", "hots"], "host"),
    ] {
        let result = sandbox.run(&[verb, args[0], args[1]]);
        assert_eq!((result.exit_code, result.stderr), (Some(4), format!("hint: did you mean {meant}?\n")));
        assert_eq!(sandbox.run(&[verb, args[0], args[1], "--quiet"]).stderr, "");
    }
    // Each of the two has snapshots, and no snapshot has both.
    assert_eq!(sandbox.run(&["list", "--name", "hourly", "--label", "why"]).stderr, "");
    for (args, said) in [
        (["--since", "yesterday"], "neither a length of time"),
        (["--sort", "size"], "none of taken, name"),
        (["--type", "half"], "possible values: full, incremental"),
        (["--last", "0"], "at least 1"),
        (["--label", "=x"], "KEY=VALUE"),
        (["--columns", "id,size"], "the columns are id, name"),
    ] {
        sandbox.run(&["list", args[0], args[1]]).assert_fails(2, said);
    }
}

#[test]
fn list_prints_the_columns_that_are_asked_for() {
    let (sandbox, ids) = three_snapshots();
    let head = |args: &[&str]| {
        let printed = sandbox.ok(&[&["list"], args].concat());
        printed
            .lines()
            .next()
            .unwrap()
            .split("  ")
            .map(str::trim)
            .filter(|title| !title.is_empty())
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(head(&[]), "ID,NAME,TAKEN (UTC),RECORDS,DIMENSIONS,STORED,VERIFIED,TYPE,SOURCE");
    assert_eq!(head(&["--columns", "name,id,labels"]), "NAME,ID,LABELS");
    let one = Sandbox::with_snapshots(1).0.ok(&["list"]);
    assert!(one.lines().next().unwrap().trim_end().ends_with("TYPE"), "{one}");
    let all = "ID,NAME,TAKEN (UTC),AGE,RECORDS,DIMENSIONS,STORED,LOGICAL,VERIFIED,DRILLED,TYPE,BASE,PINNED,SOURCE,LABELS,NOTE";
    assert_eq!(head(&["--wide"]), all);
    sandbox.ok(&["pin", &ids[0]]);
    let printed = sandbox.ok(&["list", "--columns", "id,source,labels,pinned"]);
    assert!(printed.contains(&format!("{}  team/articles", ids[0])), "{printed}");
    assert!(printed.contains("host=db1 why=test  pinned"), "{printed}");
}

#[test]
fn stats_add_up_each_database_and_type_on_a_disk_and_in_a_bucket() {
    let (sandbox, ids) = three_snapshots();
    let (exit_code, document) = sandbox.json(&["stats"]);
    assert_eq!((exit_code, &document["totals"]["snapshots"]), (0, &json!(3)), "{document}");
    let listed = sandbox.json(&["list"]).1;
    let stored: u64 =
        listed["snapshots"].as_array().unwrap().iter().map(|one| one["stored_bytes"].as_u64().unwrap()).sum();
    assert_eq!(document["totals"]["stored_bytes"], stored);
    assert_eq!((&document["full"]["snapshots"], &document["incremental"]["snapshots"]), (&json!(2), &json!(1)));
    let sources = document["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 2, "{document}");
    let named = sources.iter().find(|source| source["source"] == "team/articles").unwrap();
    assert_eq!((&named["full"], &named["incremental"], &named["records"]), (&json!(1), &json!(1), &json!(50)));
    let days = document["days"].as_array().unwrap();
    assert_eq!(days.iter().map(|day| day["snapshots"].as_u64().unwrap()).sum::<u64>(), 3);
    assert_eq!(document["stored_bytes_per_day"], json!(null));
    assert_eq!(sandbox.json(&["stats", "--source", "team/articles"]).1["totals"]["snapshots"], 2);

    let printed = sandbox.ok(&["stats"]);
    assert!(printed.contains("team/articles") && printed.contains("\nTYPE ") && printed.contains("####"), "{printed}");
    let mut unicode = sandbox.command(&["stats"]);
    let unicode = unicode.env("LC_ALL", "C.UTF-8").output().unwrap().stdout;
    assert!(String::from_utf8(unicode).unwrap().contains("████"));

    fs::remove_file(sandbox.stored(&ids[0], "index.bin.gz")).unwrap();
    let (exit_code, document) = sandbox.json(&["stats"]);
    // The increment cannot be restored without its base.
    assert_eq!((exit_code, &document["unusable"], &document["corrupt"]["snapshots"]), (5, &json!(1), &json!(1)));
    assert_eq!(document["totals"]["snapshots"], 1);
    let result = sandbox.run(&["stats"]);
    result.assert_warns("corrupt or damaged: 1 snapshot, ");
    result.assert_warns("unusable: 1 snapshot, not counted; `list` prints which, and why");

    for bucket in Bucket::both() {
        assert_eq!(bucket.json(&["stats"]).0, 4);
        bucket.create("one");
        assert_eq!(bucket.json(&["stats"]).1["totals"]["snapshots"], 1);
        assert_eq!(ids_of(&bucket.json(&["list", "--name", "one"]).1).len(), 1);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the program reads the clock of the system too")]
fn stats_have_the_growth_per_day_and_count_what_is_dated_in_the_future_apart() {
    let sandbox = Sandbox::with_rows(50);
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    assert!(sandbox.run(&["stats"]).stdout.starts_with("no snapshots to count at "));
    let (exit_code, document) = sandbox.json(&["stats"]);
    assert_eq!((exit_code, &document["totals"]["snapshots"], &document["days"]), (4, &json!(0), &json!([])));

    let take = |name: &str, time| take_at(local_store(&sandbox.path("snapshots")), &sandbox.path("a.db"), name, time);
    // A second ago: the clock of the program must not be behind.
    let newest_at = Utc::now() - TimeDelta::seconds(1);
    take("future", newest_at + TimeDelta::days(365));
    let (exit_code, document) = sandbox.json(&["stats"]);
    let counts = |document: &Value| ["totals", "dated_in_future"].map(|member| document[member]["snapshots"].clone());
    assert_eq!((exit_code, counts(&document)), (0, [json!(0), json!(1)]), "{document}");
    let printed = sandbox.ok(&["stats"]);
    assert!(printed.starts_with("dated in the future: 1 snapshot, ") && printed.contains("\nno snapshots to count"));

    // One snapshot has no growth, and neither have two of one day.
    take("one", newest_at);
    assert_eq!(sandbox.json(&["stats"]).1["stored_bytes_per_day"], json!(null));
    take("two", newest_at - TimeDelta::hours(23));
    assert_eq!(sandbox.json(&["stats"]).1["stored_bytes_per_day"], json!(null));
    assert!(!sandbox.ok(&["stats"]).contains("each day"));
    take("three", newest_at - TimeDelta::days(10));
    let (exit_code, document) = sandbox.json(&["stats"]);
    assert_eq!((exit_code, counts(&document)), (0, [json!(3), json!(1)]), "{document}");
    let listed = sandbox.json(&["list"]).1;
    let snapshots = listed["snapshots"].as_array().unwrap();
    let stored = |name: &str| {
        let snapshot = snapshots.iter().find(|snapshot| snapshot["name"] == name).unwrap();
        snapshot["stored_bytes"].as_u64().unwrap()
    };
    // The oldest was there before.
    let per_day = (stored("one") + stored("two")) as f64 / 10.0;
    assert_eq!(document["stored_bytes_per_day"], json!(per_day));
    assert_eq!(document["dated_in_future"]["stored_bytes"], stored("future"));
    let days = document["days"].as_array().unwrap();
    assert_eq!(days.iter().map(|day| day["snapshots"].as_u64().unwrap()).sum::<u64>(), 3, "{document}");
    assert_eq!(days[0]["date"], (newest_at - TimeDelta::days(10)).date_naive().to_string());
    let printed = sandbox.ok(&["stats"]);
    assert!(printed.contains(" more each day\n") && printed.contains("dated in the future: 1 snapshot"), "{printed}");
    // The filter decides what is the oldest.
    assert_eq!(sandbox.json(&["stats", "--since", "2d"]).1["stored_bytes_per_day"], json!(null));
}
