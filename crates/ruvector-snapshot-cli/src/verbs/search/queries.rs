//! The vectors that are searched for, from a file or standard input.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use ruvector_snapshot::{ErrorKind, Query, SnapshotError};
use serde::Deserialize;
use serde_json::error::Category;

use crate::failure::Failure;
use crate::input::{read_input, trim_line};
use crate::session::Session;

/// The longest file of vectors. A device such as /dev/zero has no end.
const INPUT_BYTES_MAX: u64 = 256 << 20;
/// Vectors of one search.
const QUERIES_MAX: usize = 10_000;

/// A record as `dump` prints it.
#[derive(Deserialize)]
struct Record {
    id: Option<String>,
    vector: Vec<f32>,
}

/// Reads one vector from each line that is not empty.
pub(crate) async fn read_queries(session: &Session, path: &Path) -> Result<Vec<Query>, Failure> {
    read_input(session, path, "vectors", queries_of).await
}

fn queries_of(path: &Path, input: impl Read) -> Result<Vec<Query>, SnapshotError> {
    let wrong = |what: String| SnapshotError::new(ErrorKind::InvalidInput, format!("{}: {what}", path.display()));
    let (mut bytes, mut queries) = (0, Vec::new());
    for (line, number) in BufReader::new(input.take(INPUT_BYTES_MAX + 1)).split(b'\n').zip(1_u64..) {
        let mut line = line.map_err(|error| SnapshotError::io(path, "read the vectors", error))?;
        bytes += line.len() as u64 + 1;
        if bytes > INPUT_BYTES_MAX + 1 {
            return Err(wrong("more than 256 MiB, the longest file of vectors; divide it".to_owned()));
        }
        trim_line(&mut line, number);
        if line.trim_ascii().is_empty() {
            continue;
        }
        if queries.len() == QUERIES_MAX {
            return Err(wrong(format!("more than {QUERIES_MAX} vectors, the most of one search; divide the file")));
        }
        queries.push(query_of(&line).map_err(|why| wrong(format!("line {number}: {why}")))?);
    }
    if queries.is_empty() {
        return Err(wrong("there are no vectors, so there is nothing to search for".to_owned()));
    }
    Ok(queries)
}

/// Parses a line, or says what is wrong with it.
fn query_of(line: &[u8]) -> Result<Query, String> {
    const EXPECTED: &str = "a line is an array of numbers, or an object with such an array as \"vector\"";
    let parsed = match line.trim_ascii_start().starts_with(b"{") {
        true => serde_json::from_slice(line).map(|Record { id, vector }| (id, vector)),
        false => serde_json::from_slice(line).map(|vector: Vec<f32>| (None, vector)),
    };
    let (name, values) = parsed.map_err(|error| {
        let why = error.to_string().replace(" at line 1 column ", " at column ");
        match error.classify() {
            Category::Eof => format!("the JSON has no end; {EXPECTED}"),
            Category::Data => format!("not a vector ({why}); {EXPECTED}"),
            _ => format!("not JSON that can be read ({why}); {EXPECTED}"),
        }
    })?;
    let query = Query::vector(values);
    Ok(if let Some(name) = name { query.named(name) } else { query })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &[u8]) -> Result<Vec<Query>, String> {
        queries_of(Path::new("q.jsonl"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_is_an_array_or_a_record() {
        let text = b"\xef\xbb\xbf[0.1, -1e-7]\r\n\n{\"id\":\"a\",\"vector\":[1],\"metadata\":{\"x\":[null]}}\n {\"vector\":[2]}";
        let expected = vec![Query::vector([0.1, -1e-7]), Query::vector([1.0]).named("a"), Query::vector([2.0])];
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            ("", "q.jsonl: there are no vectors"),
            ("\n\n", "there are no vectors"),
            ("[1]\n[\n1]", "line 2: the JSON has no end"),
            ("[1,]", "line 1: not JSON that can be read ("),
            ("[1] [2]", "line 1: not JSON that can be read ("),
            ("[1,null]", "line 1: not a vector"),
            ("[[1]]", "line 1: not a vector"),
            ("{\"id\":1,\"vector\":[1]}", "line 1: not a vector"),
            ("{\"id\":\"a\"}", "line 1: not a vector"),
            ("3", "line 1: not a vector"),
            ("[1,1e39]", "line 1: not JSON that can be read (number out of range at column 7)"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let many = "[1]\n".repeat(QUERIES_MAX + 1);
        assert!(read(many.as_bytes()).unwrap_err().contains("more than 10000 vectors"));
        assert_eq!(read(many.as_bytes().get(4..).unwrap()).unwrap().len(), QUERIES_MAX);
        assert!(
            queries_of(Path::new("x"), std::io::repeat(b' ')).unwrap_err().to_string().contains("more than 256 MiB")
        );
    }
}
