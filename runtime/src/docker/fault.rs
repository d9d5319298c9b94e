//! What an engine's words mean. Engines tell failures of images and starts apart by words alone.

use crate::ImageTrouble;

/// Words of a registry that does not answer; looked for first, for they come with addresses and names in them.
const UNREACHABLE: &[&str] = &[
    "connection refused",
    "no such host",
    "i/o timeout",
    "tls handshake",
    "deadline exceeded",
    "network is unreachable",
    "no route to host",
    "server misbehaving",
    "connection reset",
    "client.timeout",
    "http response to https client",
    "x509:",
    "unexpected eof",
    "bad gateway",
    "service unavailable",
    "temporary failure in name resolution",
];
const WRONG_ARCHITECTURE: &[&str] =
    &["no matching manifest", "does not match the specified platform", "no image found in manifest list", "no image found in image index"];
const UNAUTHORISED: &[&str] = &[
    "unauthorized",
    "authentication required",
    "no basic auth",
    "access denied",
    "access to the resource is denied",
    "forbidden",
    "docker login",
];
const MISSING: &[&str] = &["manifest unknown", "name unknown", "not found", "not known to registry", "no such image", "image not known"];
const INVALID_NAME: &[&str] = &["invalid reference format", "invalid repository name", "invalid tag format"];

/// What is wrong with an image that the engine did not get.
pub(super) fn of_image(said: &str) -> ImageTrouble {
    let said = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let kinds = [
        (INVALID_NAME, ImageTrouble::InvalidName),
        (UNREACHABLE, ImageTrouble::Unreachable),
        (WRONG_ARCHITECTURE, ImageTrouble::WrongArchitecture),
        (UNAUTHORISED, ImageTrouble::Unauthorised),
        (MISSING, ImageTrouble::Missing),
    ];
    kinds.into_iter().find(|(words, _)| has(words)).map_or(ImageTrouble::Other, |(_, trouble)| trouble)
}

/// Why a container did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StartFault {
    /// A port is taken by somebody else.
    PortTaken,
    /// Its program cannot be run: the exit code that a shell would give, and the system's words.
    Program(i32, String),
    /// Something else.
    Other,
}

/// Reads what an engine says of a start, or of a program run inside a container.
pub(super) fn of_start(said: &str) -> StartFault {
    let lower = said.to_lowercase();
    let has = |words: &str| lower.contains(words);
    if has("port is already allocated") || has("address already in use") {
        return StartFault::PortTaken;
    }
    let is_of_program = ["exec", "runtime create failed", "oci runtime", "crun", "chdir", "command not found"].iter().any(|word| has(word));
    if !is_of_program {
        StartFault::Other
    } else if has("no such file or directory") || has("executable file not found") || has("not found in $path") {
        StartFault::Program(127, "No such file or directory".into())
    } else if has("permission denied") {
        StartFault::Program(126, "Permission denied".into())
    } else if has("exec format error") {
        StartFault::Program(126, "Exec format error".into())
    } else if has("is a directory") {
        StartFault::Program(126, "Is a directory".into())
    } else {
        StartFault::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_images_is_understood() {
        let cases = [
            ("manifest for 127.0.0.1:5000/shop:7 not found: manifest unknown: manifest unknown", ImageTrouble::Missing),
            ("pull access denied for shop, repository does not exist or may require 'docker login': denied", ImageTrouble::Unauthorised),
            ("Head \"http://127.0.0.1:5000/v2/shop/manifests/7\": no basic auth credentials", ImageTrouble::Unauthorised),
            ("unauthorized: authentication required", ImageTrouble::Unauthorised),
            ("Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", ImageTrouble::Unreachable),
            ("Get \"https://not-found.test/v2/\": dial tcp: lookup not-found.test: no such host", ImageTrouble::Unreachable),
            ("no matching manifest for linux/amd64 in the manifest list entries", ImageTrouble::WrongArchitecture),
            ("invalid reference format: repository name must be lowercase", ImageTrouble::InvalidName),
            ("write /var/lib/docker/tmp/x: no space left on device", ImageTrouble::Other),
        ];
        for (said, expected) in cases {
            assert_eq!(of_image(said), expected, "{said}");
        }
    }

    #[test]
    fn what_is_said_of_starts_is_understood() {
        let missing = StartFault::Program(127, "No such file or directory".into());
        let denied = StartFault::Program(126, "Permission denied".into());
        let cases = [
            (
                "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/nowhere\": stat /nowhere: no such file or directory: unknown",
                missing.clone(),
            ),
            (
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nope\": executable file not found in $PATH: unknown",
                missing,
            ),
            ("OCI runtime create failed: exec: \"/etc/passwd\": permission denied: unknown", denied),
            (
                "driver failed programming external connectivity: Bind for 127.0.0.1:20001 failed: port is already allocated",
                StartFault::PortTaken,
            ),
            ("listen tcp4 127.0.0.1:20001: bind: address already in use", StartFault::PortTaken),
            ("no space left on device", StartFault::Other),
            ("mount /data: no such file or directory", StartFault::Other),
        ];
        for (said, expected) in cases {
            assert_eq!(of_start(said), expected, "{said}");
        }
    }
}
