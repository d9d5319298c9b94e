//! Tests that need what a machine may lack. Nothing is left out in silence: somebody says so, and it is counted.

use std::io::Write as _;

/// Returns where the variable `CONDUCTOR_TEST_WITHOUT` names what is missing, so that the test can be left out; it is then counted in the file
/// that `CONDUCTOR_TEST_LEFT_OUT` names, which `make test` tells of at its end. Fails the test otherwise.
#[track_caller]
pub fn without(what: &str, why: &str) {
    let named = std::env::var("CONDUCTOR_TEST_WITHOUT").unwrap_or_default();
    assert!(
        named.split(',').any(|word| word.trim() == what),
        "{why}. `make test` installs what can be installed; CONDUCTOR_TEST_WITHOUT={what} leaves out the tests that need it"
    );
    println!("left out, as CONDUCTOR_TEST_WITHOUT says: {why}");
    if let Some(file) = std::env::var_os("CONDUCTOR_TEST_LEFT_OUT") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        file.write_all(format!("{what} {test}\n").as_bytes()).unwrap();
    }
}
