//! How a command ends: what is said on standard error, and the exit code that scripts read.

use std::process::ExitCode;

use super::output;

/// The exit code of a command that was written wrongly.
pub const USAGE: u8 = 2;

/// Why a command did not do what it was asked. Each is an exit code that scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The reader of standard output has had enough: no failure.
    ReaderGone,
    /// Anything without a code of its own.
    Failed,
    /// No server answers; it may again.
    Unreachable,
    /// The command was written wrongly.
    Usage,
    /// What was named is not there.
    NotFound,
    /// Somebody else changed it, or holds it.
    Conflict,
    /// The server does not know who asks, or does not allow it.
    Unauthorised,
    /// It did not happen in time.
    TimedOut,
    /// The rollout failed.
    Unhealthy,
    /// `diff` could not say whether anything would change.
    Undecided,
    /// A program that was run for people ended with this code.
    Program(u8),
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The process' exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Failed | Self::Unreachable => 1,
            Self::Usage => USAGE,
            Self::Undecided => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Unauthorised => 6,
            Self::TimedOut => 7,
            Self::Unhealthy => 8,
            Self::Program(code) => code,
            Self::Interrupted => 130,
        }
    }

    /// The exit for an answer of the control API.
    pub fn of_http(code: u16) -> Self {
        match code {
            401 | 403 => Self::Unauthorised,
            404 => Self::NotFound,
            409 => Self::Conflict,
            408 | 504 => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

/// The end of a command that did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    message: String,
}

/// The result of a command.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure with its words; empty words are not printed.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A failure without an exit code of its own.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// A command that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Settings that are refused.
    pub fn of_settings(error: &anyhow::Error) -> Self {
        let exit = if crate::settings::is_of_a_flag(error) { Exit::Usage } else { Exit::Failed };
        Self::new(exit, format!("{error:#}"))
    }

    /// A failed call to the server; `tried` says what was tried, on what.
    pub fn of_call(tried: &str, error: &kube::Error) -> Self {
        Self::new(exit_of(error), format!("{tried}: {}", words(error)))
    }

    /// Whether the server may answer when it is asked again.
    pub fn is_passing(&self) -> bool {
        self.exit == Exit::Unreachable
    }

    /// The exit.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What is said.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Says it on standard error, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() && self.exit != Exit::ReaderGone {
            output::note(&format!("conductor: {}", self.message));
        }
        ExitCode::from(self.exit.code())
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        match &error {
            client::Error::NotFound { tried } => Self::new(Exit::NotFound, format!("{}: it is not there", tried.trim_end())),
            client::Error::Conflict { .. } => Self::new(Exit::Conflict, error.to_string()),
            // What is listed without a selector has no name.
            client::Error::Api { tried, failure } => Self::of_call(tried.trim_end(), failure),
            other => Self::failed(other.to_string()),
        }
    }
}

/// The exit for a failed call.
pub fn exit_of(error: &kube::Error) -> Exit {
    match error {
        kube::Error::Api(status) => Exit::of_http(status.code),
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

/// A failed call in the server's own words, or with every cause of what went wrong on the way.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("the server answered {}", status.code),
        kube::Error::Service(cause) => chain(cause.as_ref()),
        other => chain(other),
    }
}

/// An error and its causes, each said once.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_commands_has_every_code() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md")).unwrap();
        let all = [
            Exit::ReaderGone,
            Exit::Failed,
            Exit::Usage,
            Exit::Undecided,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Unauthorised,
            Exit::TimedOut,
            Exit::Unhealthy,
            Exit::Interrupted,
        ];
        let rows: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).skip(1).collect();
        let codes: Vec<String> = all.iter().map(|exit| exit.code().to_string()).collect();
        assert_eq!(rows, codes);
    }

    #[test]
    fn answers_of_the_server_have_exit_codes() {
        for (http, code) in [(401, 6), (403, 6), (404, 4), (409, 5), (422, 1), (500, 1), (504, 7)] {
            assert_eq!(Exit::of_http(http).code(), code, "{http}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let status = kube::core::Status::failure("services \"a\" not found", "NotFound").with_code(404);
        let failure = Failure::of_call("could not read Service a", &kube::Error::Api(status.boxed()));
        assert_eq!(failure.message(), "could not read Service a: services \"a\" not found");
        assert_eq!(failure.exit(), Exit::NotFound);
    }

    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::other("refused");
        let outer = kube::Error::ReadEvents(inner);
        assert_eq!(words(&outer).matches("refused").count(), 1);
        assert!(Failure::of_call("x", &outer).is_passing());
    }
}
