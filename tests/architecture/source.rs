//! Reads the sources of a crate and finds the paths that they name. Knows the syntax of Rust only as far as rustfmt and
//! this project write it: no macros that build paths, no raw identifiers, no `#[path]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The sources of a crate.
#[derive(Debug)]
pub(crate) struct Crate {
    manifest: String,
    pub(crate) files: Vec<SourceFile>,
}

/// A source file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    path: PathBuf,
    /// The modules from the root of the crate to this file, for example `["store", "local"]`.
    pub(crate) module: Vec<String>,
    pub(crate) text: String,
    /// The contents of the string literals.
    pub(crate) literals: Vec<String>,
    tokens: Vec<String>,
    /// The paths that the file names.
    paths: Vec<NamedPath>,
    /// The names that `use` declarations bring into scope, and their paths.
    imports: BTreeMap<String, Vec<String>>,
}

/// A path that a file names.
#[derive(Debug, Clone, PartialEq)]
struct NamedPath {
    segments: Vec<String>,
    /// The inline modules around it.
    inline_module: Vec<String>,
    /// The name that a `use` declaration brings into scope.
    imported_as: Option<String>,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// A file of the same crate, by its index.
    File(usize),
    /// Another crate.
    External(String),
}

/// One file uses another one.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) path: String,
}

impl Crate {
    /// Reads a crate of the workspace.
    pub(crate) fn read(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(name);
        let sources = root.join("src");
        let (mut pending, mut files) = (vec![sources.clone()], Vec::new());
        while let Some(path) = pending.pop() {
            if path.is_dir() {
                pending.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = module_of(path.strip_prefix(&sources).unwrap());
                let text = std::fs::read_to_string(&path).unwrap();
                files.push(SourceFile::new(path, module, text));
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        assert!(!files.is_empty(), "{} has no sources", root.display());
        Self { manifest: std::fs::read_to_string(root.join("Cargo.toml")).unwrap(), files }
    }

    /// Returns the names in the section `[dependencies]` of the manifest.
    pub(crate) fn dependencies(&self) -> Vec<String> {
        let section = self.manifest.split("\n[").find_map(|section| section.strip_prefix("dependencies]\n"));
        let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned();
        section.unwrap_or_default().lines().map(name).filter(|name| !name.is_empty() && name != "#").collect()
    }

    /// Returns what every path of every file leads to: the index of the file, the target and the path.
    pub(crate) fn targets(&self) -> Vec<(usize, Target, String)> {
        let mut targets = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            for path in &file.paths {
                let module = [file.module.as_slice(), &path.inline_module].concat();
                if let Some(target) = self.resolve(&module, &path.segments, 0) {
                    targets.push((index, target, path.segments.join("::")));
                }
            }
        }
        targets
    }

    /// Returns every use of one file by another one.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let targets = self.targets().into_iter();
        let edges = targets.filter_map(|(from, target, path)| match target {
            Target::File(to) if to != from => Some(Edge { from, to, path }),
            _ => None,
        });
        edges.collect()
    }

    /// Returns the circles of files that use each other, each described by the names of its files.
    ///
    /// A module and its parent may use each other, so uses of a parent or of another ancestor do not count. Circles
    /// that share an edge are returned as one.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut uses: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.files.len()];
        for edge in self.edges() {
            if !self.files[edge.from].module.starts_with(&self.files[edge.to].module) {
                uses[edge.from].insert(edge.to);
            }
        }
        let mut circles = Vec::new();
        while let Some(circle) = circle_in(&mut uses) {
            let names: Vec<_> = circle.iter().map(|file| self.files[*file].name()).collect();
            circles.push(names.join(" → "));
        }
        circles
    }

    fn file_of(&self, module: &[String]) -> Option<usize> {
        self.files.iter().position(|file| file.module == module)
    }

    /// Returns what a path leads to, seen from a module. Follows re-exports, so that `crate::Result` leads to the file
    /// that defines it.
    fn resolve(&self, from: &[String], segments: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = segments.split_first()?;
        let (mut module, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (from.to_vec(), rest),
            "super" => (from[..from.len().checked_sub(1)?].to_vec(), rest),
            child if self.file_of(&[from, &[child.to_owned()]].concat()).is_some() => (from.to_vec(), segments),
            external => return Some(Target::External(external.to_owned())),
        };
        while let Some((segment, after)) = rest.split_first() {
            if segment == "super" {
                module.pop()?;
            } else {
                module.push(segment.clone());
                if self.file_of(&module).is_none() {
                    module.pop();
                    break;
                }
            }
            rest = after;
        }
        // An inline module is a part of its file.
        let mut file_module = module.clone();
        while self.file_of(&file_module).is_none() {
            file_module.pop()?;
        }
        let file = self.file_of(&file_module)?;
        let re_export = rest.first().and_then(|name| self.files[file].imports.get(name));
        match re_export {
            Some(path) if depth < 8 && path.as_slice() != segments => {
                let path = [path, &rest[1..]].concat();
                self.resolve(&file_module, &path, depth + 1)
            }
            _ => Some(Target::File(file)),
        }
    }
}

impl SourceFile {
    fn new(path: PathBuf, module: Vec<String>, text: String) -> Self {
        let (code, literals) = without_comments_and_literals(&text);
        let tokens = tokens(&code);
        let paths = named_paths(&tokens);
        let imports = paths.iter().filter(|path| path.inline_module.is_empty());
        let imports = imports.filter_map(|path| Some((path.imported_as.clone()?, path.segments.clone()))).collect();
        Self { path, module, text, literals, tokens, paths, imports }
    }

    /// Returns the path below the directory of the crates.
    pub(crate) fn name(&self) -> String {
        let path = self.path.to_string_lossy();
        path.rsplit_once("crates/").map_or(path.to_string(), |(_, name)| name.to_owned())
    }

    pub(crate) fn module(&self) -> Vec<&str> {
        self.module.iter().map(String::as_str).collect()
    }

    /// Returns whether an identifier occurs outside of comments.
    pub(crate) fn names(&self, identifier: &str) -> bool {
        self.tokens.iter().any(|token| token == identifier)
    }
}

/// Finds a circle in a graph and removes its last edge. The first and the last node of the circle are the same.
fn circle_in(uses: &mut [BTreeSet<usize>]) -> Option<Vec<usize>> {
    // A node without edges is in no circle, nor is a node whose edges all lead to such nodes.
    while let Some(end) = (0..uses.len()).find(|node| uses[*node].is_empty() && uses.iter().any(|to| to.contains(node)))
    {
        for to in uses.iter_mut() {
            to.remove(&end);
        }
    }
    // Every node that has edges leads to another one that has edges, so a walk ends in a circle.
    let mut node = uses.iter().position(|to| !to.is_empty())?;
    let mut walk = Vec::new();
    while !walk.contains(&node) {
        walk.push(node);
        node = *uses[node].first()?;
    }
    let start = walk.iter().position(|visited| *visited == node)?;
    let mut circle = walk.split_off(start);
    uses[*circle.last()?].remove(&node);
    circle.push(node);
    Some(circle)
}

/// Returns the module of a file, from its path below `src`.
fn module_of(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let mut module: Vec<_> = path.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// Returns the code without comments and without the contents of literals, and the contents of the string literals.
fn without_comments_and_literals(text: &str) -> (String, Vec<String>) {
    let (mut code, mut literals) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let is_in_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let raw = rest.strip_prefix('r').map(|after| after.trim_start_matches('#')).filter(|_| !is_in_word);
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if let Some(content) = raw.and_then(|raw| raw.strip_prefix('"')) {
            let hashes = "#".repeat(rest.len() - content.len() - 2);
            let end = content.find(&format!("\"{hashes}")).unwrap_or(content.len());
            literals.push(content[..end].to_owned());
            rest = content.get(end + 1 + hashes.len()..).unwrap_or_default();
        } else if let Some(content) = rest.strip_prefix('"') {
            let end = end_of_literal(content, '"');
            literals.push(content[..end].to_owned());
            rest = content.get(end + 1..).unwrap_or_default();
        } else if let Some(content) = rest.strip_prefix('\'') {
            // A lifetime has no second quote after its first character.
            let is_char = content.starts_with('\\') || content.chars().nth(1) == Some('\'');
            rest = if is_char { content.get(end_of_literal(content, '\'') + 1..).unwrap_or_default() } else { content };
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    (code, literals)
}

/// Returns the position of the quote that ends a literal.
fn end_of_literal(content: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in content.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at,
            _ => {}
        }
    }
    content.len()
}

/// Splits code into words, `::` and single characters.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(next) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = match word {
            0 if rest.starts_with("::") => 2,
            0 => next.len_utf8(),
            word => word,
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Returns the paths of `use` declarations and of expressions. Ignores single names: they are in scope by a `use`.
fn named_paths(tokens: &[String]) -> Vec<NamedPath> {
    let mut paths = Vec::new();
    // The inline modules around the token, each with the number of braces that are open outside of it.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let (mut at, mut braces) = (0, 0);
    while at < tokens.len() {
        let inline_module: Vec<_> = inline.iter().map(|(name, _)| name.clone()).collect();
        match (tokens[at].as_str(), tokens.get(at + 2).map(String::as_str)) {
            ("mod", Some("{")) => inline.push((tokens[at + 1].clone(), braces)),
            // `use<'a>` is a bound, not a declaration.
            ("use", _) if tokens.get(at + 1).is_some_and(|token| token != "<") => {
                let length = tokens[at..].iter().position(|token| token == ";").unwrap_or(tokens.len() - at);
                let leaves = use_leaves(&tokens[at + 1..at + length]);
                paths.extend(leaves.into_iter().map(|(segments, imported_as)| NamedPath {
                    segments,
                    inline_module: inline_module.clone(),
                    imported_as: Some(imported_as),
                }));
                at += length;
            }
            ("{", _) => braces += 1,
            ("}", _) => {
                braces -= 1;
                inline.pop_if(|(_, outside)| *outside == braces);
            }
            (word, _) if is_word(word) && (at == 0 || tokens[at - 1] != "::") => {
                let segments = segments_at(&tokens[at..]);
                if segments.len() > 1 {
                    at += 2 * (segments.len() - 1);
                    paths.push(NamedPath { segments, inline_module, imported_as: None });
                }
            }
            _ => {}
        }
        at += 1;
    }
    paths
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Returns the words at the beginning that `::` joins.
fn segments_at(tokens: &[String]) -> Vec<String> {
    let mut segments = Vec::new();
    for pair in tokens.chunks(2) {
        if !is_word(&pair[0]) {
            break;
        }
        segments.push(pair[0].clone());
        if pair.get(1).is_none_or(|token| token != "::") {
            break;
        }
    }
    segments
}

/// Returns the paths of a `use` tree, each with the name that it brings into scope.
fn use_leaves(tree: &[String]) -> Vec<(Vec<String>, String)> {
    let prefix = segments_at(tree);
    let rest = &tree[tree.len().min(2 * prefix.len())..];
    match rest.first().map(String::as_str) {
        Some("{") => {
            let leaves = split_at_commas(&rest[1..rest.len() - 1]).into_iter().flat_map(use_leaves);
            let with_prefix = leaves.map(|(path, name)| match path.as_slice() {
                [only] if only == "self" => (prefix.clone(), name_of(&name, &prefix)),
                _ => ([prefix.as_slice(), &path].concat(), name),
            });
            with_prefix.collect()
        }
        Some("*") => vec![([prefix.as_slice(), &["*".to_owned()]].concat(), "*".to_owned())],
        _ => {
            let alias = tree.iter().position(|token| token == "as").map(|at| tree[at + 1].clone());
            let name = alias.or_else(|| prefix.last().cloned()).unwrap_or_default();
            vec![(prefix, name)]
        }
    }
}

fn name_of(name: &str, prefix: &[String]) -> String {
    match name {
        "self" => prefix.last().cloned().unwrap_or_default(),
        alias => alias.to_owned(),
    }
}

/// Splits the inside of a group at the commas that are in no inner group.
fn split_at_commas(tokens: &[String]) -> Vec<&[String]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => {
                parts.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

/// Returns the sources of a crate that consists of these files, for the tests below.
fn crate_of(files: &[(&str, &str)]) -> Crate {
    let file = |(path, text): &(&str, &str)| {
        SourceFile::new(PathBuf::from(path), module_of(Path::new(path)), (*text).to_owned())
    };
    Crate { manifest: String::new(), files: files.iter().map(file).collect() }
}

/// Returns the paths of a file without the way to its crate.
fn paths_of(text: &str) -> Vec<String> {
    let file = SourceFile::new(PathBuf::new(), vec!["a".to_owned()], text.to_owned());
    file.paths.into_iter().map(|path| path.segments.join("::")).collect()
}

#[test]
fn the_reader_finds_paths_in_use_declarations_and_in_expressions() {
    let text = "pub use crate::{b::{self, C as D, e::F}, g};\nfn f() -> super::H<'a> { let c = '\"'; i::<J>(k::l::M) }";
    assert_eq!(paths_of(text), ["crate::b", "crate::b::C", "crate::b::e::F", "crate::g", "super::H", "k::l::M"]);
}

#[test]
fn the_reader_ignores_comments_and_literals() {
    let text = "// crate::a\n/// crate::b\nconst C: &str = \"crate::d \\\" crate::e\"; /* crate::f */ r#\"crate::\"g\"#; h::i;";
    assert_eq!(paths_of(text), ["h::i"]);
}

#[test]
fn the_reader_follows_re_exports_and_inline_modules() {
    let sources = crate_of(&[
        ("lib.rs", "pub use b::c::Type; mod a; mod b;"),
        ("a.rs", "use crate::Type;\nmod tests { use super::super::b::Own; }"),
        ("b/mod.rs", "pub mod c; pub struct Own;"),
        ("b/c.rs", "use ruvector_snapshot_format::Record; pub struct Type;"),
    ]);
    let edges: Vec<_> = sources.edges().iter().map(|edge| (edge.from, edge.to)).collect();
    assert_eq!(edges, [(0, 3), (1, 3), (1, 2)]);
    let external =
        (3, Target::External("ruvector_snapshot_format".to_owned()), "ruvector_snapshot_format::Record".to_owned());
    assert!(sources.targets().contains(&external));
}

#[test]
fn the_reader_finds_circles_except_those_of_parents_and_children() {
    let allowed = [("b/mod.rs", "use self::c::Type; mod c;"), ("b/c.rs", "use super::Parent;")];
    assert_eq!(crate_of(&allowed).circles(), Vec::<String>::new());
    let circle = [("a.rs", "use crate::b::B;"), ("b.rs", "fn f() { crate::c::g() }"), ("c.rs", "use super::a;")];
    assert_eq!(crate_of(&circle).circles(), ["a.rs → b.rs → c.rs → a.rs"]);
}
