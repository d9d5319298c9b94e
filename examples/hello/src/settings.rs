//! What the environment says.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `ADDRESS`: where to listen; in a network of our own that must be `0.0.0.0`.
    pub address: IpAddr,
    /// `PORT`: where to listen.
    pub port: u16,
    /// `GREETING`: the first word of an answer.
    pub greeting: String,
    /// `VERSION`: which version we are.
    pub version: String,
    /// `CONDUCTOR_POD`, or else `HOSTNAME`: who we are.
    pub name: String,
    /// `STARTUP_DELAY_MS`: how long we are not ready.
    pub startup_delay: Duration,
}

impl Settings {
    /// Reads settings with `variable`. Errors: what is wrong with which variable.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let text = |name: &str| variable(name).filter(|text| !text.is_empty());
        let port = text("PORT").ok_or("PORT is not set: it says where to listen, such as PORT=8080")?;
        Ok(Self {
            address: number("ADDRESS", &text("ADDRESS").unwrap_or_else(|| "127.0.0.1".into()))?,
            port: number("PORT", &port)?,
            greeting: text("GREETING").unwrap_or_else(|| "hello".into()),
            version: text("VERSION").unwrap_or_else(|| "1".into()),
            name: text("CONDUCTOR_POD").or_else(|| text("HOSTNAME")).unwrap_or_else(|| "nobody".into()),
            startup_delay: Duration::from_millis(number("STARTUP_DELAY_MS", &text("STARTUP_DELAY_MS").unwrap_or_else(|| "0".into()))?),
        })
    }
}

fn number<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{name}={text}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::from_env(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn the_environment_is_read() {
        let settings = read(&[("PORT", "8080"), ("VERSION", "2"), ("CONDUCTOR_POD", "a"), ("HOSTNAME", "b"), ("STARTUP_DELAY_MS", "5")]);
        let expected = Settings {
            address: [127, 0, 0, 1].into(),
            port: 8080,
            greeting: "hello".into(),
            version: "2".into(),
            name: "a".into(),
            startup_delay: Duration::from_millis(5),
        };
        assert_eq!(settings, Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(read(&[]).unwrap_err().starts_with("PORT is not set"));
        assert!(read(&[("PORT", "http")]).unwrap_err().starts_with("PORT=http: "));
        assert!(read(&[("PORT", "1"), ("ADDRESS", "here")]).unwrap_err().starts_with("ADDRESS=here: "));
        assert!(read(&[("PORT", "1"), ("STARTUP_DELAY_MS", "-1")]).unwrap_err().starts_with("STARTUP_DELAY_MS=-1: "));
    }
}
