//! The threads of an ingest: one reads lines, one sees to it that they do not wait, several decode
//! them. What they hand on stays in the order of the file.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::AtomicU64,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    FileInput, FileOptions,
    error::{FileError, Problem},
    lines::{Line, Lines},
};
use crate::sources::evm::{DecodeError, DecodedBlock, decode};

/// Lines travel in groups of about this many bytes, so that queues cost little.
const GROUP_BYTES: usize = 256 << 10;
/// And wait about this long for one another.
const GROUP_TIME: Duration = Duration::from_millis(50);

/// A line with its receipts, if those are in a file of their own.
type Pair = (Line, Option<String>);

/// A block with the number of its line, or why there is none.
pub(super) type Decoded = Result<(u64, DecodedBlock), FileError>;

/// Decoded lines in the order of the file.
pub(super) type Group = Vec<Decoded>;

/// Groups in the order of the file. After an error nothing follows.
pub(super) type Groups = mpsc::Receiver<oneshot::Receiver<Group>>;

struct Job {
    pairs: Vec<Pair>,
    /// What stopped the reading behind the pairs.
    error: Option<FileError>,
    done: oneshot::Sender<Group>,
}

/// Starts the threads. They end when everything is read or the receiver is dropped.
pub(super) fn start(
    input: FileInput,
    options: &FileOptions,
    count: Arc<AtomicU64>,
) -> Result<Groups, FileError> {
    let name = input.blocks.name.clone();
    let workers = options.workers.max(1);
    let (jobs, queue) = sync_channel(2 * workers);
    let (ordered, groups) = mpsc::channel(4 * workers);
    let queue = Arc::new(Mutex::new(queue));
    let file = name.clone();
    let refused = |error: std::io::Error| no_thread(&file, &error);
    for _ in 0..workers {
        let (queue, name) = (Arc::clone(&queue), name.clone());
        let builder = thread::Builder::new().name("cairn-decode".into());
        builder
            .spawn(move || work(&queue, &name))
            .map_err(refused)?;
    }
    let max = options.max_line_bytes;
    let builder = thread::Builder::new().name("cairn-read".into());
    let read = move || read_all(input, max, count, Output { jobs, ordered });
    builder.spawn(read).map_err(refused)?;
    Ok(groups)
}

struct Output {
    jobs: SyncSender<Job>,
    ordered: mpsc::Sender<oneshot::Receiver<Group>>,
}

impl Output {
    /// Hands a group on; says whether anybody still wants more.
    fn send(&self, pairs: Vec<Pair>, error: Option<FileError>) -> bool {
        let (done, result) = oneshot::channel();
        self.ordered.blocking_send(result).is_ok()
            && self.jobs.send(Job { pairs, error, done }).is_ok()
    }
}

/// What was read and waits for its group to be full.
struct Gathering {
    output: Output,
    pairs: Vec<Pair>,
    bytes: usize,
}

impl Gathering {
    fn hand_on(&mut self, error: Option<FileError>) -> bool {
        self.bytes = 0;
        self.output.send(std::mem::take(&mut self.pairs), error)
    }

    /// Hands the last group on, with what stopped the reading behind it.
    fn end(&mut self, error: Option<FileError>) {
        // Nobody may want it any more.
        let _wanted = self.hand_on(error);
    }

    fn add(&mut self, pair: Pair) -> bool {
        self.bytes += pair.0.text.len() + pair.1.as_ref().map_or(0, String::len);
        self.pairs.push(pair);
        self.bytes < GROUP_BYTES || self.hand_on(None)
    }
}

/// Reads everything; beside it a thread hands on what waits while a slow input gives nothing more.
fn read_all(input: FileInput, max: usize, count: Arc<AtomicU64>, output: Output) {
    let gathering = Mutex::new(Gathering {
        output,
        pairs: Vec::new(),
        bytes: 0,
    });
    let (reading, over) = sync_channel::<()>(0);
    let name = input.blocks.name.clone();
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("cairn-gather".into());
        let gathering = &gathering;
        match builder.spawn_scoped(scope, move || hand_on_in_time(gathering, &over)) {
            Ok(_) => read_pairs(input, max, count, gathering),
            Err(error) => lock(gathering).end(Some(no_thread(&name, &error))),
        }
        drop(reading);
    });
}

fn lock(gathering: &Mutex<Gathering>) -> MutexGuard<'_, Gathering> {
    gathering.lock().expect("handing on does not panic")
}

fn no_thread(file: &str, error: &std::io::Error) -> FileError {
    FileError {
        file: file.to_owned(),
        line: None,
        problem: Problem::Thread(error.to_string()),
    }
}

fn hand_on_in_time(gathering: &Mutex<Gathering>, over: &Receiver<()>) {
    while over.recv_timeout(GROUP_TIME) == Err(RecvTimeoutError::Timeout) {
        let mut gathering = lock(gathering);
        if !gathering.pairs.is_empty() && !gathering.hand_on(None) {
            return;
        }
    }
}

fn read_pairs(input: FileInput, max: usize, count: Arc<AtomicU64>, gathering: &Mutex<Gathering>) {
    let error = match Pairs::new(input, max, count) {
        Err(error) => Some(error),
        Ok(mut reader) => loop {
            match reader.next() {
                Ok(None) => break None,
                Err(error) => break Some(error),
                Ok(Some(pair)) => {
                    if !lock(gathering).add(pair) {
                        return;
                    }
                }
            }
        },
    };
    lock(gathering).end(error);
}

/// Reads both files in step.
struct Pairs {
    blocks: Lines,
    receipts: Option<Lines>,
    any: bool,
}

impl Pairs {
    fn new(input: FileInput, max: usize, count: Arc<AtomicU64>) -> Result<Self, FileError> {
        let blocks = Lines::new(input.blocks, max, count)?;
        // Progress is told in bytes of the blocks alone.
        let receipts = input
            .receipts
            .map(|part| Lines::new(part, max, Arc::default()));
        Ok(Self {
            blocks,
            receipts: receipts.transpose()?,
            any: false,
        })
    }

    fn next(&mut self) -> Result<Option<Pair>, FileError> {
        let Some(line) = self.blocks.next()? else {
            return self.end();
        };
        self.any = true;
        let Some(receipts) = &mut self.receipts else {
            return Ok(Some((line, None)));
        };
        match receipts.next()? {
            Some(beside) => Ok(Some((line, Some(beside.text)))),
            None => Err(FileError {
                file: self.blocks.name.clone(),
                line: Some(line.number),
                problem: Problem::ReceiptsEnd {
                    file: receipts.name.clone(),
                },
            }),
        }
    }

    fn end(&mut self) -> Result<Option<Pair>, FileError> {
        if !self.any {
            let file = self.blocks.name.clone();
            return Err(FileError {
                file,
                line: None,
                problem: Problem::Empty,
            });
        }
        let Some(receipts) = &mut self.receipts else {
            return Ok(None);
        };
        match receipts.next()? {
            None => Ok(None),
            Some(line) => Err(FileError {
                file: receipts.name.clone(),
                line: Some(line.number),
                problem: Problem::ReceiptsLeft,
            }),
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, name: &str) {
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            // Another worker panicked while it waited, which cannot happen; end all the same.
            Err(_) => return,
        };
        let Ok(Job { pairs, error, done }) = job else {
            return;
        };
        let mut results: Vec<_> = pairs
            .into_iter()
            .map(|pair| decode_pair(name, &pair))
            .collect();
        results.extend(error.map(Err));
        // Nobody waits any more after an error in front of this group.
        let _sent = done.send(results);
    }
}

fn decode_pair(name: &str, (line, receipts): &Pair) -> Decoded {
    let error = match decode(&line.text, receipts.as_deref()) {
        Ok(block) => return Ok((line.number, block)),
        Err(error) => error,
    };
    let cut_off = !line.ended
        && matches!(&error, DecodeError::Json { reason, .. } if reason.starts_with("EOF"));
    let problem = if cut_off {
        Problem::CutOff(error)
    } else {
        Problem::Decode(error)
    };
    Err(FileError {
        file: name.to_owned(),
        line: Some(line.number),
        problem,
    })
}
