//! Answers queries, within limits.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::{
    execution::{SendableRecordBatchStream, SessionState, context::SQLOptions},
    logical_expr::{LogicalPlan, LogicalPlanBuilder},
    physical_plan::execute_stream,
    sql::parser::Statement,
};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc,
    time::Instant,
};

use super::{
    SqlAnswer, SqlCaller, SqlError, SqlFormat, SqlOptions,
    answer::{AbortOnDrop, Limits, Running},
    output::encode,
    room::Rooms,
    session::{Shared, check_tables, clear_spills},
    snapshot::Snapshot,
    statement,
};
use crate::{Lake, LakeError, LakeShard, Place};

/// The niceness of threads that compute.
const NICENESS: i32 = 10;

/// Answers queries over a lake and the stores of its shards. Dropping it ends the queries that run.
pub struct SqlEngine {
    asked: Arc<Asked>,
    rooms: Arc<Rooms>,
    /// Queries compute here, so that they take no thread from those who answer others. There until the
    /// engine is dropped.
    runtime: Option<Runtime>,
}

/// What a query is answered from.
struct Asked {
    lake: Arc<Lake>,
    shards: Vec<LakeShard>,
    shared: Shared,
}

impl SqlEngine {
    /// An engine over a lake that has the files of these shards.
    ///
    /// # Errors
    /// [`LakeError::Storage`] where the directory for what does not fit memory, or threads, are not to be
    /// had.
    pub fn new(
        lake: Arc<Lake>,
        shards: Vec<LakeShard>,
        options: SqlOptions,
    ) -> Result<Self, LakeError> {
        let spills = options.spill_dir.display().to_string();
        clear_spills(&options).map_err(|error| LakeError::storage(&spills, error))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("sql")
            .on_thread_start(give_way)
            .enable_all()
            .build()
            .map_err(|error| LakeError::storage("threads for SQL", error))?;
        let rooms = Rooms::new(&options);
        let objects = Arc::clone(lake.place().objects());
        let shared = Shared::new(options, objects)
            .map_err(|error| LakeError::storage("the cache of SQL", error))?;
        Ok(Self {
            asked: Arc::new(Asked {
                lake,
                shards,
                shared,
            }),
            rooms,
            runtime: Some(runtime),
        })
    }

    /// An engine with limits of its own over the same lake; memory is shared with this one.
    ///
    /// # Errors
    /// As [`SqlEngine::new`].
    pub fn beside(&self, options: SqlOptions) -> Result<Self, LakeError> {
        let asked = &self.asked;
        let mut engine = Self::new(Arc::clone(&asked.lake), asked.shards.clone(), options)?;
        let shared = Arc::get_mut(&mut engine.asked).expect("nobody else has the new one");
        shared.shared.share_memory(&asked.shared);
        Ok(engine)
    }

    /// Where the files are that queries read.
    pub(crate) fn place(&self) -> &Place {
        self.asked.lake.place()
    }

    /// The threads that compute, for other work with columns.
    pub fn threads(&self) -> &Handle {
        self.runtime
            .as_ref()
            .expect("it is there until this is dropped")
            .handle()
    }

    /// Memory that queries have asked for and have now, in bytes. Engines that share memory count together, here
    /// and below.
    pub fn memory_used(&self) -> usize {
        self.asked.shared.budget.used()
    }

    /// Tells how many bytes queries really have together, as the allocator counts: what they have without having
    /// asked for it is not given to others.
    pub fn memory_measured(&self, bytes: usize) {
        self.asked.shared.budget.measured(bytes);
    }

    /// How many queries have memory now.
    pub fn running(&self) -> usize {
        self.asked.shared.budget.queries()
    }

    /// Begins to answer a query. What it sees is fixed when this returns; rows come as they are taken.
    /// Dropping the answer ends the query.
    ///
    /// # Errors
    /// [`SqlError`]; also the rows may end with one.
    pub async fn query(&self, sql: &str, caller: &SqlCaller) -> Result<SqlAnswer, SqlError> {
        self.query_as_of(sql, caller, None).await
    }

    /// The bytes of an answer, made on the threads that compute. Dropping them ends the query.
    pub fn encoded(
        &self,
        answer: SqlAnswer,
        format: SqlFormat,
    ) -> impl Stream<Item = Result<Bytes, SqlError>> + Send + use<> {
        let (sender, pieces) = mpsc::channel(1);
        let task = AbortOnDrop(self.threads().spawn(async move {
            let mut rows = std::pin::pin!(encode(answer, format));
            while let Some(piece) = rows.next().await {
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        }));
        stream::unfold(Some((pieces, task)), |state| async {
            let (mut pieces, mut task) = state?;
            if let Some(piece) = pieces.recv().await {
                return Some((piece, Some((pieces, task))));
            }
            // What ends without having come to its end is no answer.
            let panicked = (&mut task.0).await.err()?;
            Some((Err(SqlError::Internal(panicked.to_string())), None))
        })
    }

    /// What a query would see now.
    ///
    /// # Errors
    /// [`SqlError::Behind`], [`SqlError::Moved`], and where the store cannot be read.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, SqlError> {
        self.asked.snapshot().await
    }

    /// As [`SqlEngine::query`], over what a snapshot sees, or else what there is now.
    ///
    /// # Errors
    /// As [`SqlEngine::query`].
    pub(crate) async fn query_as_of(
        &self,
        sql: &str,
        caller: &SqlCaller,
        snapshot: Option<Arc<Snapshot>>,
    ) -> Result<SqlAnswer, SqlError> {
        let options = &self.asked.shared.options;
        let statement = statement::read(sql)?;
        let room = self.rooms.take(caller.name.as_deref())?;
        let timeout = caller
            .timeout
            .unwrap_or(options.timeout)
            .min(options.timeout);
        let limits = Limits {
            timeout,
            deadline: Instant::now() + timeout,
            max_rows: caller
                .max_rows
                .unwrap_or(options.max_rows)
                .min(options.max_rows),
            memory: options.query_memory_bytes,
        };
        let Some(runtime) = &self.runtime else {
            return Err(SqlError::Internal("the engine is gone".into()));
        };
        let (asked, caller) = (Arc::clone(&self.asked), caller.clone());
        let begun = async move {
            // What computes may not be told to stop, so that it keeps its place until it does.
            let begun = asked.begin(statement, &caller, limits, snapshot).await?;
            Ok::<_, SqlError>((begun, room))
        };
        let mut begun = AbortOnDrop(runtime.spawn(begun));
        let late = SqlError::TooSlow { limit: timeout };
        let begun = tokio::time::timeout_at(limits.deadline, &mut begun.0).await;
        let (running, room) = match begun {
            Err(_) => return Err(late),
            Ok(Err(panicked)) => return Err(SqlError::Internal(panicked.to_string())),
            Ok(Ok(begun)) => begun?,
        };
        Ok(SqlAnswer::run(running, limits, room, runtime.handle()))
    }
}

/// Has this thread run when those wait for nothing that answer others: of two that want a processor, it gets
/// about a tenth.
fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "queries have the same priority as everything else");
    }
}

impl Drop for SqlEngine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Asked {
    async fn snapshot(&self) -> Result<Arc<Snapshot>, SqlError> {
        let wait = self.shared.options.freshness_wait;
        let snapshot = Snapshot::take(&self.lake, &self.shards, wait).await?;
        Ok(Arc::new(snapshot))
    }

    async fn begin(
        &self,
        statement: Statement,
        caller: &SqlCaller,
        limits: Limits,
        snapshot: Option<Arc<Snapshot>>,
    ) -> Result<Running, SqlError> {
        check_tables(&statement::tables(&statement)?, caller.visibility)?;
        let snapshot = match snapshot {
            Some(snapshot) => snapshot,
            None => self.snapshot().await?,
        };
        let session = self.shared.session(&snapshot, caller.visibility)?;
        let stream = plan(&session, statement, caller.limit).await;
        let stream = stream.map_err(|error| SqlError::from_engine(&error, limits.memory))?;
        Ok(Running {
            stream,
            positions: snapshot.positions(),
        })
    }
}

async fn plan(
    session: &SessionState,
    statement: Statement,
    limit: Option<usize>,
) -> datafusion::error::Result<SendableRecordBatchStream> {
    let plan = session.statement_to_plan(statement).await?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)?;
    let plan = match (limit, plan) {
        (Some(limit), plan) if !is_about_plans(&plan) => LogicalPlanBuilder::from(plan)
            .limit(0, Some(limit))?
            .build()?,
        (_, plan) => plan,
    };
    let plan = session.create_physical_plan(&plan).await?;
    execute_stream(plan, session.task_ctx())
}

/// These stand at the top of a plan, or nowhere.
fn is_about_plans(plan: &LogicalPlan) -> bool {
    matches!(
        plan,
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_)
    )
}
