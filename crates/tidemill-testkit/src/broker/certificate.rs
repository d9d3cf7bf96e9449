//! A certificate for 127.0.0.1, and the authority that vouches for it.

use std::path::Path;
use std::process::{Command, Stdio};

/// Writes `authority.pem`, `certificate.pem` and `key.pem`, good for two days.
pub(super) fn make(folder: &Path) {
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority = ["req", "-x509", "-keyout", "authority.key", "-out", "authority.pem", "-days", "2"];
    openssl(folder, &[&authority[..], &curve, &["-subj", "/CN=Authority of the tests"]].concat());
    let names = "subjectAltName=IP:127.0.0.1,DNS:localhost";
    let request =
        ["req", "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost", "-addext", names];
    openssl(folder, &[&request[..], &curve].concat());
    let sign = ["x509", "-req", "-in", "request.pem", "-CA", "authority.pem", "-CAkey", "authority.key"];
    let more = ["-CAcreateserial", "-days", "2", "-copy_extensions", "copy", "-out", "certificate.pem"];
    openssl(folder, &[&sign[..], &more].concat());
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("openssl: {error}: run `apt-get install openssl` or `cargo xtask setup`")
    });
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
