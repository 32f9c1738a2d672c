//! SQL over the lake: files and the hot tail as one, consistent as of one position.

mod consistency;
mod copies;
mod limits;
mod lookups;
mod shards;
mod values;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cairn_domain::{Position, Stream, commit::NewCommit, events::Visibility};
use cairn_engine::store::ReadView;
use cairn_lake::{
    Follower, Lake, LakeOptions, LakeShard, Layout, Place,
    sql::{SqlCaller, SqlEngine, SqlError, SqlFormat, SqlOptions, encode},
};
use futures_util::StreamExt as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Site, never};

/// Files that are soon complete.
const LAYOUT: Layout = Layout {
    range_heights: 10,
    rows_per_file: 50,
};

/// A log with its store, its lake, and SQL over all of it.
struct World {
    site: Site,
    directory: TempDir,
    lake: Arc<Lake>,
    follower: Follower,
    engine: SqlEngine,
}

fn shard(site: &Site) -> LakeShard {
    LakeShard {
        name: "main".into(),
        log: Arc::clone(&site.log),
        store: Arc::clone(&site.store),
    }
}

async fn open(directory: &TempDir) -> Arc<Lake> {
    let place = Place::directory(&directory.path().join("lake")).expect("a place");
    let options = LakeOptions {
        layout: LAYOUT,
        ..LakeOptions::default()
    };
    Lake::open(place, options).await.expect("a lake")
}

fn options(directory: &TempDir) -> SqlOptions {
    SqlOptions {
        freshness_wait: Duration::from_millis(20),
        threads: 2,
        ..SqlOptions::new(directory.path().join("spill"))
    }
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut SqlOptions)) -> Self {
        let site = Site::new().await;
        let directory = tempfile::tempdir().expect("a directory");
        let lake = open(&directory).await;
        let follower = Follower::new(Arc::clone(&lake), shard(&site)).await;
        let mut options = options(&directory);
        change(&mut options);
        let engine = SqlEngine::new(Arc::clone(&lake), vec![shard(&site)], options);
        Self {
            follower: follower.expect("a follower"),
            engine: engine.expect("an engine"),
            site,
            directory,
            lake,
        }
    }

    /// Opens the lake again, as a process does that starts.
    async fn restart(&mut self) {
        self.lake = open(&self.directory).await;
        let follower = Follower::new(Arc::clone(&self.lake), shard(&self.site)).await;
        self.follower = follower.expect("a follower");
        let engine = SqlEngine::new(
            Arc::clone(&self.lake),
            vec![shard(&self.site)],
            options(&self.directory),
        );
        self.engine = engine.expect("an engine");
    }

    /// Appends commits and folds them; the lake does not take them in.
    async fn fold(&self, commits: &[NewCommit]) {
        self.site.append(commits).await;
        self.site.fold(4000).await;
    }

    /// Takes the log into the lake.
    async fn catch_up(&mut self) {
        let head = *self.site.log.head().borrow();
        let caught = self.follower.catch_up(head, &|_, _| (), &mut never()).await;
        caught.expect("the files");
    }

    async fn take(&mut self, commits: &[NewCommit]) {
        self.fold(commits).await;
        self.catch_up().await;
    }

    async fn ask(&self, sql: &str) -> Answer {
        let caller = SqlCaller::new(Visibility::Operator);
        let answered = ask(&self.engine, sql, &caller).await;
        answered.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn refused(&self, sql: &str) -> SqlError {
        let caller = SqlCaller::new(Visibility::Operator);
        match ask(&self.engine, sql, &caller).await {
            Ok(answer) => panic!("{sql} is answered: {:?}", answer.rows),
            Err(error) => error,
        }
    }
}

/// An answer as JSON.
struct Answer {
    rows: Vec<Value>,
    columns: Vec<(String, String)>,
    position: Position,
}

impl Answer {
    /// The value of the only row and column.
    fn one(&self) -> &Value {
        assert_eq!(self.rows.len(), 1, "{:?}", self.rows);
        let row = self.rows[0].as_object().expect("an object");
        row.values().next().expect("a value")
    }

    fn number(&self) -> u64 {
        self.one().as_u64().expect("a number")
    }

    fn column(&self, name: &str) -> Vec<Value> {
        self.rows.iter().map(|row| row[name].clone()).collect()
    }
}

async fn bytes(engine: &SqlEngine, sql: &str, format: SqlFormat) -> Result<Vec<u8>, SqlError> {
    let caller = SqlCaller::new(Visibility::Operator);
    collect(engine, sql, &caller, format).await
}

async fn collect(
    engine: &SqlEngine,
    sql: &str,
    caller: &SqlCaller,
    format: SqlFormat,
) -> Result<Vec<u8>, SqlError> {
    let answer = engine.query(sql, caller).await?;
    let mut stream = std::pin::pin!(encode(answer, format));
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await {
        all.extend_from_slice(&bytes?);
    }
    Ok(all)
}

async fn ask(engine: &SqlEngine, sql: &str, caller: &SqlCaller) -> Result<Answer, SqlError> {
    let bytes = collect(engine, sql, caller, SqlFormat::Json).await?;
    let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
    let rows: Vec<_> = match value["rows"].take() {
        Value::Array(rows) => rows,
        other => panic!("{other} is no list"),
    };
    assert_eq!(value["row_count"], rows.len());
    let columns = value["columns"].as_array().expect("columns").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let columns = columns.map(|column| (text(&column["name"]), text(&column["type"])));
    let positions: BTreeMap<String, u64> =
        serde_json::from_value(value["positions"].clone()).expect("positions");
    Ok(Answer {
        columns: columns.collect(),
        rows,
        position: Position(positions["main"]),
    })
}

fn eth() -> Stream {
    Stream::chain("eth").expect("a name")
}

/// The canonical blocks of a view, lowest first: height and hash.
fn canonical(view: &ReadView) -> Vec<(u64, String)> {
    let Some(ends) = view.ends(&eth()).expect("a read") else {
        return Vec::new();
    };
    let block = |height| {
        let block = view.canonical(&eth(), height).expect("a read");
        (height, block.expect("a block").hash.to_string())
    };
    (ends.first.height..=ends.head.height).map(block).collect()
}
