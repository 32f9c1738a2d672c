//! The events of commits, one line each; works for records of any kind and version.

use cairn_domain::{
    Event, Position,
    commit::{CommitHeader, RawRecord, read_frame},
};
use cairn_engine::log::{Log, StoredCommit};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Output;
use crate::node::Shard;

const READ_BYTES: usize = 1 << 20;

/// The events from one position to another.
pub(super) async fn cat(
    shard: &Shard,
    from: u64,
    to: Option<u64>,
    output: &Output,
) -> anyhow::Result<Value> {
    let log = shard.log()?;
    let head = *log.head().borrow();
    let last = to.map_or(head, |to| Position(to).min(head));
    let next = print(log.as_ref(), Position(from.max(1)), last, output).await?;
    Ok(json!({ "next": next, "head": head }))
}

/// The events of the last commits, and of those to come if that is asked for.
pub(super) async fn tail(
    shard: &Shard,
    commits: u64,
    follow: bool,
    output: &Output,
) -> anyhow::Result<Value> {
    let log = shard.log()?;
    let mut head = log.head();
    let mut stopping = shard.stopping();
    let mut last = *head.borrow_and_update();
    let first = Position((last.0 + 1).saturating_sub(commits).max(1));
    let mut next = print(log.as_ref(), first, last, output).await?;
    if !follow {
        return Ok(json!({ "next": next, "head": last }));
    }
    loop {
        tokio::select! {
            moved = head.changed() => if moved.is_err() { break },
            _ = stopping.wait_for(|stop| *stop) => break,
            () = output.closed() => break,
        }
        last = *head.borrow_and_update();
        next = print(log.as_ref(), next, last, output).await?;
    }
    Ok(json!({ "next": next, "head": last }))
}

/// Says all events up to a position, and gives the position behind them.
async fn print(
    log: &dyn Log,
    first: Position,
    last: Position,
    output: &Output,
) -> anyhow::Result<Position> {
    let mut next = first;
    while next <= last {
        for commit in log.read(next, READ_BYTES).await? {
            if commit.position > last {
                break;
            }
            for line in lines(&commit) {
                output.line(line).await?;
            }
            next = commit.position.next();
        }
    }
    Ok(next)
}

/// A line for each record of a commit; a damaged commit is a line that says so.
fn lines(commit: &StoredCommit) -> Vec<Value> {
    match read_frame(&commit.bytes) {
        Ok((header, records)) => {
            let records = records.iter().enumerate();
            records
                .map(|(index, record)| line(commit.position, &header, index, *record))
                .collect()
        }
        Err(error) => vec![json!({
            "position": commit.position,
            "error": error.to_string(),
            "raw": hex(&commit.bytes),
        })],
    }
}

fn line(position: Position, header: &CommitHeader, index: usize, record: RawRecord<'_>) -> Value {
    let mut line = json!({
        "position": position,
        "index": index,
        "stream": header.stream.as_str(),
        "event_time": time(header.event_time),
        "recorded_time": time(header.recorded_time),
        "epoch": header.epoch,
        "kind": record.kind,
        "version": record.version,
        "codec": record.codec,
    });
    let rest = match Event::decode(record) {
        Ok(event) => json!({ "name": event.def().name, "event": body(&event) }),
        Err(error) => json!({ "error": error.to_string(), "raw": hex(record.body) }),
    };
    if let (Value::Object(line), Value::Object(rest)) = (&mut line, rest) {
        line.extend(rest);
    }
    line
}

/// The event without its name around it.
fn body(event: &Event) -> Value {
    match serde_json::to_value(event) {
        Ok(Value::Object(named)) => named
            .into_iter()
            .next()
            .map_or(Value::Null, |(_, body)| body),
        Ok(other) => other,
        Err(error) => Value::String(error.to_string()),
    }
}

fn hex(bytes: &[u8]) -> String {
    cairn_domain::Bytes(bytes.to_vec()).to_string()
}

/// RFC 3339, or the bare number where no calendar reaches.
fn time(millis: u64) -> Value {
    let timestamp = i64::try_from(millis)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    timestamp.map_or(json!(millis), |timestamp| json!(timestamp.to_string()))
}

#[cfg(test)]
mod tests {
    use cairn_domain::{Stream, commit::NewCommit};

    use super::*;

    fn stored() -> StoredCommit {
        let stream = Stream::chain("eth").unwrap();
        let bytes = NewCommit::new(&stream, 1_000, &Event::examples()).seal(3, 2_000);
        StoredCommit {
            position: Position(5),
            bytes,
        }
    }

    #[test]
    fn every_record_is_a_line_with_the_header_of_its_commit() {
        let lines = lines(&stored());
        assert_eq!(lines.len(), Event::DEFS.len());
        assert_eq!(lines[0]["position"], 5);
        assert_eq!(lines[0]["name"], "block_appended");
        assert_eq!(lines[0]["event"]["block"]["height"], 17_686_110);
        assert_eq!(lines[0]["event_time"], "1970-01-01T00:00:01Z");
    }

    #[test]
    fn records_of_unknown_kind_and_damaged_commits_are_shown_raw() {
        let mut commit = stored();
        // The first record's kind follows format, epoch, two times, the stream's name and the count.
        let kind = 1 + 8 + 8 + 8 + 2 + "chain/eth".len() + 4;
        commit.bytes[kind..kind + 2].copy_from_slice(&9999u16.to_le_bytes());
        let unknown = &lines(&commit)[0];
        assert_eq!(unknown["kind"], 9999);
        assert!(unknown["raw"].as_str().unwrap().starts_with("0x"));
        assert!(unknown["error"].as_str().unwrap().contains("upgrade"));
        commit.bytes.truncate(40);
        let damaged = lines(&commit);
        assert_eq!(damaged.len(), 1);
        assert!(damaged[0]["error"].as_str().unwrap().contains("damaged"));
    }
}
