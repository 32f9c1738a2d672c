//! The partner dialect's errors: `{"error":{"code","message","details"},"detail":"message"}`.

use serde_json::json;

use crate::error::ApiError;

/// The body of an error.
pub(super) fn render(error: &ApiError) -> String {
    let ApiError {
        code,
        message,
        details,
        ..
    } = error;
    let error = json!({"code": code.as_str(), "message": message, "details": details});
    json!({"error": error, "detail": message}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn an_error_names_its_code_and_repeats_its_message_as_detail() {
        let body = render(&ApiError::parameter("limit", "expected a number"));
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["code"], ErrorCode::InvalidParameter.as_str());
        assert_eq!(body["error"]["message"], body["detail"]);
        assert_eq!(body["error"]["details"]["parameter"], "limit");
    }
}
