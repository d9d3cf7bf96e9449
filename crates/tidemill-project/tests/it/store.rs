//! Where the store is: the short form, sizes, and what makes no sense.

use tidemill_project::{Size, parse, print};

use crate::bad;

#[test]
fn an_address_alone_is_the_short_form() {
    for url in ["s3://bucket/prefix", "gs://bucket", "az://container/a/b", "file:///srv/store", "memory:///x"]
    {
        let short = parse(&format!("project: p\nstore: {url}\n"), "tidemill.yaml").unwrap();
        let long = parse(&format!("project: p\nstore: {{url: \"{url}\"}}\n"), "tidemill.yaml").unwrap();
        assert_eq!(short, long);
        assert_eq!(short.store.as_ref().and_then(|store| store.url.as_deref()), Some(url));
        assert_eq!(parse(&print(&short).unwrap(), "tidemill.yaml").unwrap(), short);
    }
}

#[test]
fn a_short_form_that_is_no_address_says_what_to_write() {
    for (store, texts) in [
        ("data/store", &["`data/store` is no address", "store: {path: data/store}", "2:8"][..]),
        ("s4://bucket/x", &["no object store has the scheme `s4`", "s3"]),
        ("s3://", &["`s3://` names no place", "2:8"]),
        ("7", &["error"]),
        ("[s3://a]", &["error"]),
    ] {
        let text = bad(&format!("project: p\nstore: {store}\n"));
        for wanted in texts {
            assert!(text.contains(wanted), "`{wanted}` is not in:\n{text}");
        }
    }
}

#[test]
fn the_folder_in_front_of_an_address_has_a_largest_size() {
    let size = |written: &str| {
        let text = format!("project: p\nstore: {{url: s3://b/p, cache_size: {written}}}\n");
        parse(&text, "tidemill.yaml").unwrap().store.unwrap().cache_size
    };
    assert_eq!(size("20 GB"), Some(Size(20_000_000_000)));
    assert_eq!(size("512MiB"), Some(Size(512 << 20)));
    assert_eq!(size("1000000"), Some(Size(1_000_000)));
    for (settings, wanted) in [
        ("{url: s3://b/p, cache_size: 20 gb}", "`20 gb` is not a size"),
        ("{url: s3://b/p, cache_size: -1}", "`-1` is not a size"),
        ("{url: s3://b/p, cache_size: 10 kB}", "the folder cannot be so small"),
        ("{cache_size: 20 GB}", "there is no `url`"),
        ("{url: s3://b/p, cache_sizes: 20 GB}", "cache_size"),
    ] {
        let text = bad(&format!("project: p\nstore: {settings}\n"));
        assert!(text.contains(wanted), "`{wanted}` is not in:\n{text}");
    }
}
