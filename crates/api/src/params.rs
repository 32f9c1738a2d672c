//! The query string, read by name with errors that name the parameter.

use axum::{
    extract::{FromRequestParts, Query, RawPathParams},
    http::{Uri, request::Parts},
};

use crate::{at, error::ApiError};

/// The parameters of a query string. Of a parameter that is given twice the first counts; unknown
/// ones are ignored.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters of a request.
    pub(crate) fn of(uri: &Uri) -> Self {
        if uri.query().is_none_or(str::is_empty) {
            return Self::default();
        }
        Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_or_else(|_| Self::default(), |query| Self(query.0))
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A parameter's text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A count: decimal digits. What is beyond 64 bits counts as the largest number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let text = self.text(name);
        text.map(|text| whole_number(name, text)).transpose()
    }

    /// A moment since 1970, in seconds: a date, an RFC 3339 time or Unix seconds, up to the year 9999.
    pub(crate) fn time(&self, name: &str) -> Result<Option<u64>, ApiError> {
        const LAST: u64 = 253_402_300_799;
        let text = self.text(name);
        let seconds = text.map(|text| at::seconds(text).filter(|seconds| *seconds <= LAST));
        match seconds {
            Some(None) => {
                let reason = "expected a date, an RFC 3339 time or Unix seconds, from 1970 to 9999";
                Err(ApiError::parameter(name, reason))
            }
            found => Ok(found.flatten()),
        }
    }

    /// A switch: `true`, `false`, `1` or `0`; absent is off.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(ApiError::parameter(name, "expected true or false")),
        }
    }
}

/// A count, or one of a list of counts, that the parameter with a name holds: as
/// [`Params::number`].
pub(crate) fn whole_number(name: &str, text: &str) -> Result<u64, ApiError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let reason = "expected a whole number, zero or above, in decimal digits";
        return Err(ApiError::parameter(name, reason));
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

/// The one captured segment of a path.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Segments([segment]) = Segments::from_request_parts(parts, state).await?;
        Ok(Self(segment))
    }
}

/// So many captured segments of a path.
pub(crate) struct Segments<const N: usize>(pub(crate) [String; N]);

impl<S: Send + Sync, const N: usize> FromRequestParts<S> for Segments<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| ApiError::parameter("path", "it is not valid UTF-8"))?;
        let captured: Vec<_> = params.iter().map(|(_, value)| value.to_owned()).collect();
        let segments = captured.try_into();
        segments
            .map(Self)
            .map_err(|_| ApiError::parameter("path", "a segment is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/blocks?{query}").parse().unwrap())
    }

    #[test]
    fn numbers_are_decimal_digits_and_nothing_else() {
        assert_eq!(params("limit=20").number("limit").unwrap(), Some(20));
        assert_eq!(params("").number("limit").unwrap(), None);
        let huge = params("limit=99999999999999999999999")
            .number("limit")
            .unwrap();
        assert_eq!(huge, Some(u64::MAX));
        for bad in ["-1", "1.5", "", "ten", "+1", "0x1", "1%00"] {
            assert!(
                params(&format!("limit={bad}")).number("limit").is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn flags_are_true_or_false_in_any_case() {
        assert!(params("transactions=True").flag("transactions").unwrap());
        assert!(!params("transactions=0").flag("transactions").unwrap());
        assert!(params("transactions=yes").flag("transactions").is_err());
    }
}
