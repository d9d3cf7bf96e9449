//! Tests of the encoding of trees.

use proptest::prelude::*;
use tidemill_core::canonical_json;

use super::*;

fn file(name: &[u8], bytes: u64, executable: bool) -> TreeItem {
    TreeItem { name: name.to_vec(), node: TreeNode::File { digest: Digest::of(name), bytes, executable } }
}

fn entry(bytes: u64) -> Entry {
    Entry {
        digest: Digest::of(&bytes.to_le_bytes()),
        kind: EntryKind::File { executable: false },
        bytes,
        files: 1,
        sha256: None,
    }
}

#[test]
fn the_encoding_is_readable_canonical_json() {
    let tree = Tree::new(vec![
        file(b"z", 3, true),
        file("zwei\nzeilen \"é\"".as_bytes(), 0, false),
        file(b"\xff\x00x".map(|b| if b == 0 { 1 } else { b }).as_slice(), 1, false),
        TreeItem { name: b"link".to_vec(), node: TreeNode::Link { target: b"../z".to_vec() } },
    ])
    .unwrap();
    let bytes = tree.encode();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(canonical_json(&value).unwrap(), bytes);
    assert_eq!(value["items"][0]["name"], "link");
    assert_eq!(value["items"][0]["target"], "../z");
    assert_eq!(value["items"][1]["kind"], "executable");
    assert_eq!(value["items"][3]["raw"], "ff0178");
    assert_eq!(Tree::decode(&bytes).unwrap(), tree);
    assert_eq!(tree.totals(), (4, 3));
}

#[test]
fn the_empty_folder_has_a_known_name() {
    // The digest was computed with `printf '{"items":[],"tree":1}' | b3sum`.
    let tree = Tree::default();
    assert_eq!(tree.encode(), br#"{"items":[],"tree":1}"#);
}

#[test]
fn everything_else_is_refused() {
    let digest = Digest::of(b"x");
    let row = |name: &str| format!(r#"{{"bytes":1,"digest":"{digest}","kind":"file",{name}}}"#);
    let tree = |rows: &str| format!(r#"{{"items":[{rows}],"tree":1}}"#);
    assert!(Tree::decode(tree(&row(r#""name":"a""#)).as_bytes()).is_ok());
    for bad in [
        String::new(),
        "[]".into(),
        r#"{"items":[],"tree":2}"#.into(),
        r#"{"items":[], "tree":1}"#.into(),
        r#"{"items":[],"tree":1,"x":0}"#.into(),
        tree(&row(r#""name":".."#)),
        tree(&row(r#""name":"..""#)),
        tree(&row(r#""name":"""#)),
        tree(&row(r#""name":"a/b""#)),
        tree(&row(r#""name":"a\u0000""#)),
        tree(&row(r#""raw":"61""#)),
        tree(&row(r#""raw":"FF""#)),
        tree(&row(r#""raw":"f""#)),
        tree(&row(r#""name":"\u0061""#)),
        tree(&[row(r#""name":"b""#), row(r#""name":"a""#)].join(",")),
        tree(&[row(r#""name":"a""#), row(r#""name":"a""#)].join(",")),
        tree(&format!(r#"{{"bytes":1,"digest":"{digest}","kind":"tree","name":"a"}}"#)),
        tree(&format!(r#"{{"bytes":-1,"digest":"{digest}","kind":"file","name":"a"}}"#)),
        tree(r#"{"kind":"link","name":"a","target":"/etc/passwd"}"#),
        tree(r#"{"kind":"link","name":"a"}"#),
        tree(r#"{"kind":"socket","name":"a"}"#),
    ] {
        assert!(Tree::decode(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn paths_are_relative_and_plain() {
    for (path, read) in
        [("a", Some("a")), ("./a/b/", Some("a/b")), ("a//b", Some("a/b")), ("é \n", Some("é \n"))]
    {
        assert_eq!(TreePath::new(path).ok().map(|p| p.to_path().to_owned()), read.map(Into::into), "{path}");
    }
    for bad in ["", ".", "/", "/a", "..", "a/../b", "a/\0"] {
        assert!(TreePath::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn composing_makes_the_folders_between() {
    let path = |text: &str| TreePath::new(text).unwrap();
    let trees =
        compose(vec![(path("b/c"), entry(2)), (path("a"), entry(1)), (path("b/d/e"), entry(4))]).unwrap();
    assert_eq!(trees.len(), 3);
    let root = trees.last().unwrap();
    assert_eq!(root.totals(), (7, 3));
    assert!(matches!(root.get(b"b").unwrap().node, TreeNode::Tree { bytes: 6, files: 2, .. }));
    for clash in [["a", "a"], ["a", "a/b"], ["a/b", "a"]] {
        let items = clash.iter().map(|text| (path(text), entry(1))).collect();
        assert!(compose(items).is_err(), "{clash:?}");
    }
    assert_eq!(compose(vec![]).unwrap(), vec![Tree::default()]);
}

#[test]
fn links_out_are_seen() {
    for (depth, target, out) in [
        (0, "x", false),
        (0, "../x", true),
        (1, "../x", false),
        (1, "../../x", true),
        (0, "a/../b", false),
        (0, "a/../../b", true),
        (2, "./..//../x", false),
    ] {
        assert_eq!(leads_out(depth, target.as_bytes()), out, "{depth} {target}");
    }
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("not in names", |byte| *byte != 0 && *byte != b'/');
    proptest::collection::vec(byte, 1..12).prop_filter("dots", |name| name != b"." && name != b"..")
}

fn any_node() -> impl Strategy<Value = TreeNode> {
    let digest = any::<[u8; 32]>().prop_map(Digest::from_bytes);
    (digest, any::<u64>(), any::<u64>(), 0..4_u8, any_name()).prop_map(
        |(digest, bytes, files, kind, target)| match kind {
            0 | 1 => TreeNode::File { digest, bytes, executable: kind == 1 },
            2 => TreeNode::Tree { digest, bytes, files },
            _ => TreeNode::Link { target },
        },
    )
}

proptest! {
    #[test]
    fn any_listing_comes_back(items in proptest::collection::btree_map(any_name(), any_node(), 0..20)) {
        let items: Vec<TreeItem> = items.into_iter().map(|(name, node)| TreeItem { name, node }).collect();
        let tree = Tree::new(items.into_iter().rev().collect()).unwrap();
        let bytes = tree.encode();
        prop_assert_eq!(&Tree::decode(&bytes).unwrap(), &tree);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(canonical_json(&value).unwrap(), bytes);
    }

    #[test]
    fn changed_bytes_never_panic(at in 0..200_usize, byte in any::<u8>(), noise in proptest::collection::vec(any::<u8>(), 0..80)) {
        fuzz_tree(&noise);
        let mut bytes = Tree::new(vec![file(b"a", 1, false), file(b"\xff", 2, true)]).unwrap().encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        fuzz_tree(&bytes);
    }
}
