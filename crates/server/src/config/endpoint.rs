//! Where a node answers: a URL that may hold a password or a key and is therefore never shown whole.

use std::fmt;

/// A URL whose secrets stay out of logs and messages: only scheme, host and port are shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

impl Endpoint {
    /// Checks a URL: its scheme is one of `schemes`, and it names a host.
    pub(crate) fn parse(text: &str, schemes: &[&str]) -> Result<Self, String> {
        let example = format!(
            "write {}host:port",
            schemes.first().copied().unwrap_or_default()
        );
        let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or(format!(
            "it does not start with {}: {example}",
            schemes.join(" or ")
        ))?;
        let endpoint = Self(text.to_owned());
        let (host, port) = match endpoint.authority().rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (endpoint.authority(), None),
        };
        if host.is_empty() || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("it names no host: {example}"));
        }
        match port.map(str::parse::<u16>) {
            Some(Err(_)) => Err(format!("its port is not a number below 65536: {example}")),
            Some(Ok(_)) | None => Ok(endpoint),
        }
    }

    /// The URL with all its secrets.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Host and port, without user, password, path and query.
    fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.split_once("://").map_or("", |(scheme, _)| scheme);
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: &[&str] = &["http://", "https://"];

    #[test]
    fn user_password_path_and_query_are_never_shown() {
        let endpoint =
            Endpoint::parse("https://me:pw@node.example:8545/v3/KEY?t=KEY", HTTP).unwrap();
        assert_eq!(
            format!("{endpoint} {endpoint:?}"),
            "https://node.example:8545 https://node.example:8545"
        );
        assert!(endpoint.reveal().contains("KEY"));
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for bad in [
            "",
            "node:8545",
            "ftp://KEY@x",
            "http://",
            "http:///KEY",
            "http://x:KEY",
            "http://a b",
        ] {
            let error = Endpoint::parse(bad, HTTP).unwrap_err();
            assert!(
                error.contains("write http://host:port") && !error.contains("KEY"),
                "{error}"
            );
        }
        assert!(Endpoint::parse("http://[::1]", HTTP).is_ok());
        assert!(Endpoint::parse("http://[::1]:8545", HTTP).is_ok());
    }
}
