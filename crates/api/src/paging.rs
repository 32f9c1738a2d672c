//! Where a page starts and how long it is.

use crate::{
    cursor::{Cursor, List},
    error::ApiError,
    params::Params,
};

/// How long a page is when nobody says.
const DEFAULT_LIMIT: u64 = 20;
/// How long it may be; more is clamped.
const MAX_LIMIT: u64 = 200;
/// How far `offset` may skip; farther needs a cursor, which skips nothing.
const MAX_OFFSET: u64 = 100_000;
/// Pages that skip more rows than this are read on a thread for blocking work.
const LONG_SKIP: u64 = 500;

/// Where a page starts and how long it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paging {
    /// The most rows on the page.
    pub(crate) limit: usize,
    /// Rows to skip; 0 with a cursor.
    pub(crate) offset: u64,
    cursor: Option<Cursor>,
}

impl Paging {
    /// Reads `limit`, `offset` and the cursor.
    pub(crate) fn new(params: &Params, cursor: Option<&Cursor>) -> Result<Self, ApiError> {
        let limit = params
            .number("limit")?
            .unwrap_or(DEFAULT_LIMIT)
            .min(MAX_LIMIT) as usize;
        let offset = params.number("offset")?.unwrap_or(0);
        if offset > MAX_OFFSET {
            let reason = format!("at most {MAX_OFFSET}; go on with `cursor` instead");
            return Err(ApiError::parameter("offset", reason));
        }
        if offset > 0 && cursor.is_some() {
            return Err(ApiError::parameter(
                "offset",
                "give `offset` or `cursor`, not both",
            ));
        }
        Ok(Self {
            limit,
            offset,
            cursor: cursor.cloned(),
        })
    }

    /// The key behind which the page starts; none at the start of the list.
    pub(crate) fn key<const N: usize>(
        &self,
        list: List,
        chain: &str,
        subject: &[u8],
    ) -> Result<Option<[u8; N]>, ApiError> {
        let Some(bytes) = self.bytes(list, chain, subject)? else {
            return Ok(None);
        };
        let key = bytes.try_into();
        key.map(Some)
            .map_err(|_| ApiError::parameter("cursor", "its key has another length"))
    }

    /// As [`Paging::key`], for keys without a fixed length.
    pub(crate) fn bytes(
        &self,
        list: List,
        chain: &str,
        subject: &[u8],
    ) -> Result<Option<&[u8]>, ApiError> {
        self.cursor
            .as_ref()
            .map(|cursor| cursor.key(list, chain, subject))
            .transpose()
    }

    /// Whether reading it may take so long that it must not hold up other requests.
    pub(crate) fn is_long(&self) -> bool {
        self.offset > LONG_SKIP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(query: &str) -> Result<Paging, ApiError> {
        Paging::new(&Params::of(&format!("/x?{query}").parse().unwrap()), None)
    }

    #[test]
    fn a_limit_above_the_maximum_is_clamped_and_not_an_error() {
        assert_eq!(paging("").unwrap().limit, 20);
        assert_eq!(paging("limit=999999999999999999999").unwrap().limit, 200);
        assert!(paging("limit=-1").is_err());
    }

    #[test]
    fn an_offset_that_is_too_far_names_the_cursor_as_the_way_out() {
        assert_eq!(paging("offset=100000").unwrap().offset, 100_000);
        assert!(
            paging("offset=100001")
                .unwrap_err()
                .message
                .contains("cursor")
        );
    }
}
