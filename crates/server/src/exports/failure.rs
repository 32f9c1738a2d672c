//! What becomes of an export that failed: how long it is tried again, and what its caller is told.

use std::time::Duration;

use cairn_lake::{ExportError, LakeError, sql::SqlError};

/// A disk or an object store may be away for so long.
const STORAGE: Duration = Duration::from_secs(3600);

enum Failure {
    /// Others are in the way, or something was replaced meanwhile.
    Passing,
    /// A disk or an object store does not do what it should.
    Storage,
    /// The request cannot be answered; the words are for whoever asked.
    OfRequest(String),
    /// Anything else.
    Unknown,
}

fn of(error: &anyhow::Error) -> Failure {
    if let Some(error) = error.downcast_ref::<ExportError>() {
        return match error {
            ExportError::UnknownDataset(_) | ExportError::NoAddress(_) => {
                Failure::OfRequest(error.to_string())
            }
            ExportError::Sql(error) => of_sql(error),
            ExportError::Lake(error) => of_lake(error),
            ExportError::File(_) => Failure::Storage,
        };
    }
    match (
        error.downcast_ref::<SqlError>(),
        error.downcast_ref::<LakeError>(),
    ) {
        (Some(error), _) => of_sql(error),
        (_, Some(error)) => of_lake(error),
        _ => Failure::Unknown,
    }
}

fn of_lake(error: &LakeError) -> Failure {
    match error {
        LakeError::Gone { .. } => Failure::Passing,
        LakeError::Storage { .. } | LakeError::Store(_) => Failure::Storage,
        _ => Failure::Unknown,
    }
}

fn of_sql(error: &SqlError) -> Failure {
    match error {
        SqlError::Busy { .. }
        | SqlError::CallerBusy { .. }
        | SqlError::Crowded { .. }
        | SqlError::Moved
        | SqlError::Behind { .. } => Failure::Passing,
        SqlError::Lake(error) => of_lake(error),
        SqlError::TooLarge { .. } | SqlError::TooSlow { .. } | SqlError::TooManyRows { .. } => {
            Failure::OfRequest(error.to_string())
        }
        _ => Failure::Unknown,
    }
}

/// How long after it failed first the same is tried again.
pub(super) fn patience(error: &anyhow::Error) -> Duration {
    match of(error) {
        Failure::Passing => Duration::MAX,
        Failure::Storage => STORAGE,
        Failure::OfRequest(_) | Failure::Unknown => Duration::ZERO,
    }
}

/// What the caller is told: nothing of the inside of this server, of which its log says all.
pub(super) fn reason(error: &anyhow::Error) -> String {
    match of(error) {
        Failure::OfRequest(reason) => reason,
        Failure::Storage => {
            "files could not be read or written for too long; ask again when the operator has repaired that".into()
        }
        Failure::Passing | Failure::Unknown => {
            "the server failed to make it, and its log says why; ask the operator".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn storage() -> LakeError {
        LakeError::Storage {
            place: "/srv/secret/place".into(),
            reason: "no answer from 10.0.0.1".into(),
        }
    }

    #[test]
    fn storage_that_is_away_is_waited_for_wherever_it_is_met_and_nothing_inside_is_shown() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        for error in [
            anyhow::Error::from(storage()),
            ExportError::Lake(storage()).into(),
            SqlError::Lake(Arc::new(storage())).into(),
            ExportError::Sql(SqlError::Lake(Arc::new(storage()))).into(),
            ExportError::File(full()).into(),
        ] {
            assert_eq!(patience(&error), STORAGE, "{error}");
            let reason = reason(&error);
            assert!(
                !reason.contains("secret") && !reason.contains("10.0"),
                "{reason}"
            );
        }
    }

    #[test]
    fn what_passes_is_tried_again_and_what_the_request_asks_too_much_of_is_not() {
        let gone = LakeError::Gone {
            place: "a file".into(),
        };
        for error in [ExportError::Lake(gone).into(), SqlError::Moved.into()] {
            assert_eq!(patience(&error), Duration::MAX, "{error}");
        }
        let large = SqlError::TooLarge { limit_bytes: 77 };
        let large = anyhow::Error::from(ExportError::Sql(large));
        assert_eq!(patience(&large), Duration::ZERO);
        assert!(reason(&large).contains("77 bytes"));
        let bug = anyhow::anyhow!("it panicked at src/place.rs");
        assert_eq!(patience(&bug), Duration::ZERO);
        assert!(!reason(&bug).contains("place.rs"));
    }
}
