//! What a node answered to a batch of calls: put in order, and errors told apart.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::rpc::{RpcError, start_of};

/// The answers to a batch, still text.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) body: Vec<u8>,
    pub(super) first_id: u64,
    pub(super) methods: Vec<&'static str>,
}

/// The answer to one call: JSON text, or none for `null`.
pub(super) type Answer<'a> = Result<Option<&'a str>, RpcError>;

#[derive(Deserialize)]
struct WireAnswer<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<WireError>,
}

#[derive(Deserialize)]
struct WireError {
    code: i64,
    #[serde(default)]
    message: String,
}

impl Answers {
    /// Size of the body in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The answers in the order of the calls.
    pub(super) fn get(&self) -> Result<Vec<Answer<'_>>, RpcError> {
        let garbage = |error: String| {
            RpcError::Unavailable(format!("not JSON-RPC ({error}): {}", start_of(&self.body)))
        };
        let text = std::str::from_utf8(&self.body).map_err(|error| garbage(error.to_string()))?;
        let many = text.trim_start().starts_with('[');
        let answers: Vec<WireAnswer<'_>> = match many {
            true => serde_json::from_str(text),
            false => serde_json::from_str(text).map(|answer| vec![answer]),
        }
        .map_err(|error| garbage(error.to_string()))?;
        if !many && self.methods.len() > 1 {
            return Err(self.refused_as_a_whole(answers));
        }
        Ok(self.in_order(answers))
    }

    /// A batch that is answered by one object is refused, usually as too large.
    fn refused_as_a_whole(&self, answers: Vec<WireAnswer<'_>>) -> RpcError {
        match answers.into_iter().find_map(|answer| answer.error) {
            Some(error) => {
                let message = error.message.clone();
                match failure(self.methods[0], error) {
                    // It is the batch that it does not know: the call is not asked alone yet.
                    RpcError::Refused { .. } | RpcError::NoMethod(_) => RpcError::TooMuch(message),
                    other => other,
                }
            }
            None => RpcError::Unavailable("a batch was answered by a single result".into()),
        }
    }

    fn in_order<'a>(&'a self, answers: Vec<WireAnswer<'a>>) -> Vec<Answer<'a>> {
        let missing = |method: &&str| Err(RpcError::Unavailable(format!("{method} got no answer")));
        let mut ordered: Vec<Answer<'a>> = self.methods.iter().map(missing).collect();
        let alone = self.methods.len() == 1;
        for answer in answers {
            let place = match answer.id {
                _ if alone => Some(0),
                id => id.and_then(|id| usize::try_from(id.checked_sub(self.first_id)?).ok()),
            };
            let Some((place, slot)) = place.and_then(|p| Some((p, ordered.get_mut(p)?))) else {
                continue;
            };
            *slot = match answer.error {
                Some(error) => Err(failure(self.methods[place], error)),
                None => Ok(answer.result.map(RawValue::get)),
            };
        }
        ordered
    }
}

/// What nodes say when the contract failed and not they: geth, Erigon, Nethermind, Besu, reth, anvil.
const CONTRACT_FAILED: &[&str] = &[
    "revert",
    "opcode",
    "out of gas",
    "outofgas",
    "invalid jump",
    "invalidjump",
    "bad jump",
    "stack underflow",
    "stackunderflow",
    "stack overflow",
    "stackoverflow",
    "stack limit",
    "bad instruction",
    "badinstruction",
    "write protection",
    "vm execution error",
    "return data out of bounds",
];

/// What an error object means. Codes: EIP-1474, and what providers are seen to use.
fn failure(method: &'static str, WireError { code, message }: WireError) -> RpcError {
    let said = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if method == "eth_call" && (code == 3 || code == -32015 || says(CONTRACT_FAILED)) {
        return RpcError::Reverted(message);
    }
    let unknown = [
        "method not found",
        "does not exist/is not available",
        "not supported",
        "unsupported method",
    ];
    if code == -32601 || code == -32004 || says(&unknown) {
        // Some nodes refuse a batch in the answer to each of its calls.
        return match says(&["batch"]) {
            true => RpcError::TooMuch(message),
            false => RpcError::NoMethod(method),
        };
    }
    if code == -32005 || code == 429 || says(&["rate limit", "too many requests"]) {
        return RpcError::Busy {
            reason: message,
            retry_after: None,
        };
    }
    if says(&[
        "too large",
        "response size",
        "batch limit",
        "batch size",
        "timed out",
        "timeout",
    ]) {
        return RpcError::TooMuch(message);
    }
    RpcError::Refused {
        method,
        code,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(body: &str, methods: &[&'static str]) -> Answers {
        Answers {
            body: body.into(),
            first_id: 7,
            methods: methods.to_vec(),
        }
    }

    #[test]
    fn answers_come_in_the_order_of_the_calls_whatever_order_the_node_used() {
        let body = r#"[{"id":8,"result":{"b":1}},{"id":7,"result":null},{"id":99,"result":1}]"#;
        let answers = answers(body, &["a", "b", "c"]);
        let got = answers.get().unwrap();
        assert_eq!(got[0], Ok(None));
        assert_eq!(got[1], Ok(Some(r#"{"b":1}"#)));
        assert_eq!(got[2], Err(RpcError::Unavailable("c got no answer".into())));
    }

    #[test]
    fn a_batch_that_is_refused_by_one_object_is_too_much_whatever_its_code() {
        for code in [-32600, -32601, -32004, -32000] {
            let body = format!(
                r#"{{"id":null,"error":{{"code":{code},"message":"arrays are not supported"}}}}"#
            );
            let answers = answers(&body, &["eth_getBlockByNumber", "eth_getBlockReceipts"]);
            let error = answers.get().unwrap_err();
            assert!(matches!(error, RpcError::TooMuch(_)), "{code}: {error}");
        }
    }

    #[test]
    fn error_objects_become_what_can_be_done_about_them() {
        let error = |code: i64, message: &str| {
            failure(
                "m",
                WireError {
                    code,
                    message: message.into(),
                },
            )
        };
        assert_eq!(error(-32601, "x"), RpcError::NoMethod("m"));
        assert!(matches!(error(-32005, "limit"), RpcError::Busy { .. }));
        assert!(matches!(
            error(-32000, "response size exceeded"),
            RpcError::TooMuch(_)
        ));
        assert!(matches!(
            error(-32601, "batch requests are not supported"),
            RpcError::TooMuch(_)
        ));
        assert!(matches!(
            error(-32000, "unknown block"),
            RpcError::Refused { .. }
        ));
    }

    #[test]
    fn a_contract_that_failed_is_told_from_a_node_that_did() {
        let error = |method, code: i64, message: &str| {
            let message = message.into();
            failure(method, WireError { code, message })
        };
        for (code, message) in [
            (3, "execution reverted: rate limit"),
            (-32000, "execution reverted"),
            (-32000, "invalid opcode: INVALID"),
            (-32603, "EVM error InvalidFEOpcode"),
            (-32015, "VM execution error."),
        ] {
            let error = error("eth_call", code, message);
            assert!(
                matches!(error, RpcError::Reverted(_)),
                "{message}: {error:?}"
            );
        }
        for (method, message) in [
            ("eth_call", "header not found"),
            ("eth_call", "execution aborted (timeout = 5s)"),
            ("eth_getBlockByNumber", "reverted"),
        ] {
            let error = error(method, -32000, message);
            assert!(
                !matches!(error, RpcError::Reverted(_)),
                "{message}: {error:?}"
            );
        }
    }

    #[test]
    fn garbage_is_shown_shortened_and_is_no_panic() {
        let answers = answers(&"<html>".repeat(1000), &["a"]);
        let error = answers.get().unwrap_err().to_string();
        assert!(error.contains("<html>") && error.len() < 500, "{error}");
    }
}
