//! Files of blocks: what is taken, in which order, and what bad input gets.

use std::{
    io::{self, Cursor, Read, Write as _},
    sync::mpsc,
};

use cairn_domain::{BlockRef, Event};
use cairn_engine::sources::{
    ChainWriter,
    file::{FileInput, FileOptions, Finality, IngestReport, ingest},
};
use serde_json::json;

use crate::sources_world::{World, block_json, hash_of, receipts_json, recordings};

fn text(heights: impl IntoIterator<Item = u64>) -> String {
    let line = |height| {
        let mut block = block_json(0, 0, height, 2);
        block["receipts"] = receipts_json(&block);
        block.to_string() + "\n"
    };
    heights.into_iter().map(line).collect()
}

async fn take(world: &World, input: FileInput, finality: Finality) -> Result<IngestReport, String> {
    let mut chain = ChainWriter::open("eth", &world.context()).await.unwrap();
    let options = FileOptions {
        finality,
        ..FileOptions::default()
    };
    ingest(input, &mut chain, &options, |_, _| ())
        .await
        .map_err(|error| error.to_string())
}

async fn take_text(world: &World, text: impl Into<Vec<u8>>) -> Result<IngestReport, String> {
    let input = FileInput::new("blocks.jsonl", Cursor::new(text.into()));
    take(world, input, Finality::Depth(64)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_gzip_and_zstd_give_the_same_chain() {
    let plain = text(5..200);
    let mut gzip = flate2_gzip(plain.as_bytes());
    let zstd = zstd::encode_all(plain.as_bytes(), 3).unwrap();
    let mut digests = Vec::new();
    for packed in [plain.clone().into_bytes(), std::mem::take(&mut gzip), zstd] {
        let world = World::new().await;
        let report = take_text(&world, packed).await.unwrap();
        assert_eq!((report.blocks, report.transactions), (195, 390));
        digests.push(world.digests().await);
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Stored, not compressed: a gzip stream that needs no library here.
fn flate2_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_taken_twice_appends_nothing_and_counts_duplicates() {
    let world = World::new().await;
    take_text(&world, text(0..2000)).await.unwrap();
    let before = world.folded().await;
    let report = take_text(&world, text(0..2000)).await.unwrap();
    assert_eq!((report.blocks, report.duplicates), (0, 2000));
    assert_eq!(world.folded().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_blocks_of_a_final_file_carry_their_own_finality() {
    let world = World::new().await;
    let input = FileInput::new("x", Cursor::new(text(3..20).into_bytes()));
    take(&world, input, Finality::All).await.unwrap();
    for commit in world.commits().await {
        let Event::BlockAppended(block) = &commit.events[0] else {
            panic!("no block first")
        };
        let Some(Event::BlockFinalized(last)) = commit.events.last() else {
            panic!("not final")
        };
        assert_eq!(last.block, block.block);
        assert_eq!(commit.header.event_time, block.timestamp * 1000);
    }
}

/// A text, the words of the error, and how many blocks are there afterwards.
fn cases() -> Vec<(&'static str, Vec<u8>, &'static [&'static str], usize)> {
    let good = text(10..14);
    let with = |line: String| (good.clone() + &line + "\n" + &text(14..15)).into_bytes();
    let mut beyond = block_json(0, 0, 14, 1);
    beyond["transactions"][0]["value"] = json!(format!("0x{}", "f".repeat(65)));
    let mut foreign = block_json(0, 0, 14, 1);
    foreign["transactions"][0]["blockHash"] = json!(hash_of(9, 14));
    let mut cut_off = good.clone().into_bytes();
    cut_off.extend_from_slice(&text(14..15).as_bytes()[..300]);
    let mut not_utf8 = good.clone().into_bytes();
    not_utf8.extend_from_slice(b"{\"number\": \"\xff\xfe\"}\n");
    let mut cut_zstd = zstd::encode_all(good.as_bytes(), 3).unwrap();
    cut_zstd.truncate(cut_zstd.len() - 20);
    vec![
        (
            "malformed",
            with("{\"number\": nonsense}".into()),
            &["blocks.jsonl, line 5", "mend or remove"],
            4,
        ),
        (
            "cut off",
            cut_off,
            &["blocks.jsonl, line 5", "block 14", "cut off"],
            4,
        ),
        (
            "gap",
            with(block_json(0, 0, 17, 0).to_string()),
            &["line 5", "gap", "block 17", "from 14 to 16"],
            4,
        ),
        (
            "parent",
            with(block_json(2, 0, 14, 0).to_string()),
            &["line 5", "block 14", "has parent"],
            4,
        ),
        (
            "out of order",
            with(block_json(3, 0, 12, 0).to_string()),
            &["line 5", "out of order", "block 12"],
            4,
        ),
        (
            "below the first",
            with(block_json(0, 0, 3, 0).to_string()),
            &["line 5", "out of order", "block 3"],
            4,
        ),
        (
            "foreign transaction",
            with(foreign.to_string()),
            &["line 5", "block 14", "block hash"],
            4,
        ),
        (
            "beyond u256",
            with(beyond.to_string()),
            &["line 5", "block 14", "256 bits"],
            4,
        ),
        ("empty", Vec::new(), &["blocks.jsonl: the file is empty"], 0),
        (
            "blank",
            b"\n\n  \n".to_vec(),
            &["blocks.jsonl: the file is empty"],
            0,
        ),
        (
            "binary",
            vec![0x7f, b'E', b'L', b'F', 0, 1, 2, 0],
            &["line 1", "not text"],
            0,
        ),
        ("not UTF-8", not_utf8, &["line 5", "not text"], 4),
        (
            "cut off zstd",
            cut_zstd,
            &["blocks.jsonl, line", "cut off"],
            4,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named_by_file_and_line_and_what_stands_before_it_stays() {
    for (name, text, words, kept) in cases() {
        let world = World::new().await;
        let error = take_text(&world, text).await.unwrap_err();
        for word in words {
            assert!(error.contains(word), "{name}: `{word}` is not in: {error}");
        }
        let blocks = world.canonical("eth").await.len();
        if name != "cut off zstd" {
            assert_eq!(blocks, kept, "{name}");
        }
        let report = take_text(&world, self::text(10..15)).await.unwrap();
        assert_eq!(
            report.blocks as usize,
            5 - blocks,
            "{name}: the mended file goes on"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_beside_the_blocks_must_be_theirs() {
    let blocks: Vec<_> = (1..5).map(|height| block_json(0, 0, height, 2)).collect();
    let line = |block: &serde_json::Value| {
        json!({"number": block["number"], "hash": block["hash"], "receipts": receipts_json(block)})
            .to_string()
    };
    let text = blocks
        .iter()
        .map(|block| block.to_string() + "\n")
        .collect::<String>();
    let beside: Vec<_> = blocks.iter().map(line).collect();
    let run = async |receipts: String| {
        let world = World::new().await;
        let input = FileInput::new("b.jsonl", Cursor::new(text.clone().into_bytes()))
            .with_receipts("r.jsonl", Cursor::new(receipts.into_bytes()));
        take(&world, input, Finality::All).await
    };
    assert_eq!(run(beside.join("\n")).await.unwrap().blocks, 4);
    let error = run(beside[..3].join("\n")).await.unwrap_err();
    assert!(
        error.contains("b.jsonl, line 4") && error.contains("r.jsonl ends"),
        "{error}"
    );
    let mut swapped = beside.clone();
    swapped.swap(1, 2);
    let error = run(swapped.join("\n")).await.unwrap_err();
    assert!(
        error.contains("b.jsonl, line 2") && error.contains("receipts beside it"),
        "{error}"
    );
    let error = run(beside.join("\n") + "\n" + &beside[0])
        .await
        .unwrap_err();
    assert!(error.contains("r.jsonl, line 5"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_twenty_thousand_transactions_is_taken() {
    let world = World::new().await;
    let mut block = block_json(0, 0, 1, 20_000);
    block["receipts"] = receipts_json(&block);
    let report = take_text(&world, block.to_string()).await.unwrap();
    assert_eq!(report.transactions, 20_000);
    assert_eq!(world.canonical("eth").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_mainnet_range_is_taken_whole() {
    let Some(data) = recordings() else { return };
    let folder = data.join("evm-mainnet-17686110-17686132");
    let world = World::new().await;
    let input = FileInput::open(
        &folder.join("blocks.jsonl.zst"),
        Some(&folder.join("receipts.jsonl.zst")),
    );
    let report = take(&world, input.unwrap(), Finality::All).await.unwrap();
    assert_eq!((report.blocks, report.transactions), (23, 4_416));
    assert_eq!(world.canonical("eth").await.len(), 23);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_taken_again_as_final_makes_its_blocks_final() {
    let world = World::new().await;
    take_text(&world, text(1..10)).await.unwrap();
    let input = FileInput::new("x", Cursor::new(text(1..10).into_bytes()));
    take(&world, input, Finality::All).await.unwrap();
    let Some(Event::BlockFinalized(last)) = world.events().await.pop() else {
        panic!("not final")
    };
    assert_eq!(last.block.height, 9);
}

/// A producer that writes when it has something, as a pipe shows it.
struct Pipe(mpsc::Receiver<String>);

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let text = self.0.recv().unwrap_or_default();
        out[..text.len()].copy_from_slice(text.as_bytes());
        Ok(text.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_slow_producer_are_appended_while_it_pauses() {
    let world = World::new().await;
    let (producer, pipe) = mpsc::channel();
    let mut chain = ChainWriter::open("eth", &world.context()).await.unwrap();
    let taking = tokio::spawn(async move {
        let input = FileInput::new("stdin", Pipe(pipe));
        ingest(input, &mut chain, &FileOptions::default(), |_, _| ()).await
    });
    for height in 0..3 {
        producer.send(text(height..height + 1)).unwrap();
        let hash = hash_of(0, height);
        world.reach("eth", BlockRef { height, hash }).await;
    }
    drop(producer);
    assert_eq!(taking.await.unwrap().unwrap().blocks, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_height_at_the_end_of_64_bits_is_refused_by_name_and_line() {
    let mut last = block_json(0, 0, 14, 0);
    last["number"] = json!("0xffffffffffffffff");
    for text in [format!("{last}\n"), text(10..14) + &last.to_string() + "\n"] {
        let line = format!("line {}", text.lines().count());
        let error = take_text(&World::new().await, text).await.unwrap_err();
        for word in [line.as_str(), "`number`", "0xffffffffffffffff", "higher"] {
            assert!(error.contains(word), "`{word}` is not in: {error}");
        }
    }
}
