//! Logs whose signatures are known to everybody: ERC-20, ERC-721 and ERC-1155.
//!
//! Source: EIP-20, EIP-721 and EIP-1155, whose names the arguments carry.

use cairn_domain::{
    Address, Amount, Hash,
    events::Log,
    table::Key,
    token::{self, TokenStandard, transfers},
};

use crate::models::{Argument, Arguments};

type Decoded = (&'static str, Arguments);

/// The name and arguments of a log; none where its signature is not known or its shape does not
/// fit it.
pub(crate) fn decode(log: &Log) -> Option<Decoded> {
    match *log.topics.first()? {
        token::TRANSFER | token::TRANSFER_SINGLE => one_transfer(log),
        token::TRANSFER_BATCH => batch(log),
        token::APPROVAL => approval(log),
        token::APPROVAL_FOR_ALL => approval_for_all(log),
        _ => None,
    }
}

fn one(value: impl ToString) -> Argument {
    Argument::One(value.to_string())
}

fn address(word: &Hash) -> Argument {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&word.0[12..]);
    one(Address::Evm(bytes))
}

/// The only word of the data.
fn word(log: &Log) -> Option<Amount> {
    let mut data = (log.data.0.len() == 32).then_some(&log.data.0[..])?;
    Amount::read(&mut data)
}

fn topic_number(topic: &Hash) -> Option<Amount> {
    Amount::read(&mut &topic.0[..])
}

fn one_transfer(log: &Log) -> Option<Decoded> {
    let transfer = transfers(log).into_iter().next()?;
    let (from, to) = (("from", one(&transfer.from)), ("to", one(&transfer.to)));
    let decoded = match transfer.standard {
        TokenStandard::Erc20 => (
            "Transfer",
            Arguments(vec![from, to, ("value", one(transfer.amount))]),
        ),
        TokenStandard::Erc721 => (
            "Transfer",
            Arguments(vec![from, to, ("tokenId", one(transfer.token_id))]),
        ),
        TokenStandard::Erc1155 => {
            let operator = ("operator", address(log.topics.get(1)?));
            let id = ("id", one(transfer.token_id));
            let value = ("value", one(transfer.amount));
            (
                "TransferSingle",
                Arguments(vec![operator, from, to, id, value]),
            )
        }
    };
    Some(decoded)
}

fn batch(log: &Log) -> Option<Decoded> {
    let [_, operator, from, to] = log.topics.as_slice() else {
        return None;
    };
    let transfers = transfers(log);
    if transfers.is_empty() && log.data.0.len() != 128 {
        return None;
    }
    let ids = transfers
        .iter()
        .map(|transfer| transfer.token_id.to_string())
        .collect();
    let values = transfers
        .iter()
        .map(|transfer| transfer.amount.to_string())
        .collect();
    let arguments = vec![
        ("operator", address(operator)),
        ("from", address(from)),
        ("to", address(to)),
        ("ids", Argument::Many(ids)),
        ("values", Argument::Many(values)),
    ];
    Some(("TransferBatch", Arguments(arguments)))
}

fn approval(log: &Log) -> Option<Decoded> {
    let arguments = match log.topics.as_slice() {
        [_, owner, spender] => vec![
            ("owner", address(owner)),
            ("spender", address(spender)),
            ("value", one(word(log)?)),
        ],
        [_, owner, approved, token_id] => vec![
            ("owner", address(owner)),
            ("approved", address(approved)),
            ("tokenId", one(topic_number(token_id)?)),
        ],
        _ => return None,
    };
    Some(("Approval", Arguments(arguments)))
}

fn approval_for_all(log: &Log) -> Option<Decoded> {
    let [_, owner, operator] = log.topics.as_slice() else {
        return None;
    };
    let approved = word(log)? != Amount::default();
    let arguments = vec![
        ("owner", address(owner)),
        ("operator", address(operator)),
        ("approved", one(approved)),
    ];
    Some(("ApprovalForAll", Arguments(arguments)))
}

#[cfg(test)]
mod tests {
    use cairn_domain::Bytes;

    use super::*;

    fn word(last: u8) -> Hash {
        let mut bytes = [0; 32];
        bytes[31] = last;
        Hash(bytes)
    }

    fn log(topics: &[Hash], words: &[u8]) -> Log {
        let data = words.iter().flat_map(|last| word(*last).0).collect();
        Log {
            index: 0,
            address: Address::ZERO,
            topics: topics.to_vec(),
            data: Bytes(data),
        }
    }

    fn json(log: &Log) -> String {
        let (name, arguments) = decode(log).unwrap();
        format!("{name}{}", serde_json::to_string(&arguments).unwrap())
    }

    const A: &str = "0x0000000000000000000000000000000000000001";
    const B: &str = "0x0000000000000000000000000000000000000002";

    #[test]
    fn arguments_carry_the_names_of_the_standards() {
        let transfer = json(&log(&[token::TRANSFER, word(1), word(2)], &[9]));
        assert_eq!(
            transfer,
            format!(r#"Transfer{{"from":"{A}","to":"{B}","value":"9"}}"#)
        );
        let nft = json(&log(&[token::APPROVAL, word(1), word(2), word(7)], &[]));
        assert_eq!(
            nft,
            format!(r#"Approval{{"owner":"{A}","approved":"{B}","tokenId":"7"}}"#)
        );
        let all = json(&log(&[token::APPROVAL_FOR_ALL, word(1), word(2)], &[1]));
        let expected =
            format!(r#"ApprovalForAll{{"owner":"{A}","operator":"{B}","approved":"true"}}"#);
        assert_eq!(all, expected);
        let batch = log(
            &[token::TRANSFER_BATCH, word(1), word(1), word(2)],
            &[64, 128, 1, 5, 1, 6],
        );
        assert!(
            json(&batch).ends_with(r#""ids":["5"],"values":["6"]}"#),
            "{}",
            json(&batch)
        );
    }

    #[test]
    fn a_log_that_does_not_fit_its_signature_stays_undecoded() {
        assert_eq!(decode(&log(&[], &[])), None);
        assert_eq!(decode(&log(&[token::TRANSFER], &[1])), None);
        assert_eq!(
            decode(&log(&[token::APPROVAL, word(1), word(2)], &[])),
            None
        );
        assert_eq!(decode(&log(&[token::TRANSFER_BATCH, word(1)], &[])), None);
        assert_eq!(decode(&log(&[word(4)], &[1])), None);
    }
}
