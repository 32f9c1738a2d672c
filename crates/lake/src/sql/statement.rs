//! What may be asked: one query that only reads.

use std::{collections::VecDeque, ops::ControlFlow};

use datafusion::{
    common::TableReference,
    sql::{
        parser::{DFParserBuilder, Statement},
        resolve::resolve_table_references,
        sqlparser::{
            ast::{ObjectName, Query, SetExpr, Statement as Sql, Visit as _, Visitor},
            dialect::GenericDialect,
        },
    },
};

use super::{Refusal, SqlError};

/// How deep a statement may nest.
const DEPTH: usize = 60;

/// Names that end like this are files.
const FILES: &[&str] = &[
    ".parquet", ".csv", ".json", ".ndjson", ".jsonl", ".arrow", ".avro",
];

/// Reads a statement and refuses what is not allowed.
pub(super) fn read(sql: &str) -> Result<Statement, SqlError> {
    let syntax = |error: &_| SqlError::from_engine(error, 0);
    let mut statements: VecDeque<_> = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(DEPTH)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| syntax(&error))?;
    if statements.len() > 1 {
        return Err(Refusal::Several(statements.len()).into());
    }
    let statement = statements.pop_front().ok_or(Refusal::Empty)?;
    allow(&statement)?;
    Ok(statement)
}

/// The tables that a statement names.
pub(super) fn tables(statement: &Statement) -> Result<Vec<TableReference>, SqlError> {
    let references = resolve_table_references(statement, true);
    let references = references.map_err(|error| SqlError::from_engine(&error, 0))?;
    Ok(references.0)
}

fn allow(statement: &Statement) -> Result<(), Refusal> {
    match statement {
        Statement::Explain(explain) => allow(&explain.statement),
        Statement::Statement(sql) => allow_sql(sql),
        Statement::CopyTo(_) => Err(Refusal::Copy),
        Statement::CreateExternalTable(_) => {
            Err(Refusal::Definition("CREATE EXTERNAL TABLE".into()))
        }
        Statement::Reset(_) => Err(Refusal::Setting("RESET".into())),
    }
}

fn allow_sql(sql: &Sql) -> Result<(), Refusal> {
    match sql {
        Sql::Query(_) | Sql::ExplainTable { .. } => {}
        Sql::ShowTables { .. } | Sql::ShowColumns { .. } => {}
        Sql::Explain { statement, .. } => allow_sql(statement)?,
        other => return Err(refusal(other)),
    }
    match sql.visit(&mut OnlyReads) {
        ControlFlow::Break(refusal) => Err(refusal),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Says which kind a statement is of by the words it begins with.
fn refusal(sql: &Sql) -> Refusal {
    let text = sql.to_string().to_uppercase();
    let first = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    match first.as_str() {
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" | "REPLACE" | "LOAD" => {
            Refusal::Change(first)
        }
        "CREATE" | "DROP" | "ALTER" | "COMMENT" | "ANALYZE" | "VACUUM" | "ATTACH" | "RENAME" => {
            Refusal::Definition(two_words(&text))
        }
        "COPY" | "UNLOAD" => Refusal::Copy,
        "SET" | "RESET" | "USE" | "PRAGMA" => Refusal::Setting(first),
        "SHOW" => Refusal::Setting(two_words(&text)),
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "END" => {
            Refusal::Transaction(first)
        }
        "PREPARE" | "EXECUTE" | "DEALLOCATE" | "DECLARE" | "FETCH" | "CLOSE" => {
            Refusal::Prepared(first)
        }
        _ => Refusal::Other(first),
    }
}

fn two_words(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().take(2).collect();
    words.join(" ")
}

/// Looks for what changes something deep inside a query.
struct OnlyReads;

impl Visitor for OnlyReads {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Refusal> {
        only_reads(&query.body)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Refusal> {
        let name = relation.to_string();
        let bare = name.trim_matches(['\'', '"', '`']).to_lowercase();
        let is_file = bare.contains('/')
            || bare.contains('\\')
            || (relation.0.len() == 1 && FILES.iter().any(|end| bare.ends_with(end)));
        match is_file {
            true => ControlFlow::Break(Refusal::File(name)),
            false => ControlFlow::Continue(()),
        }
    }
}

fn only_reads(body: &SetExpr) -> ControlFlow<Refusal> {
    match body {
        SetExpr::Select(select) if select.into.is_some() => ControlFlow::Break(Refusal::Into),
        SetExpr::SetOperation { left, right, .. } => {
            only_reads(left)?;
            only_reads(right)
        }
        SetExpr::Insert(sql)
        | SetExpr::Update(sql)
        | SetExpr::Delete(sql)
        | SetExpr::Merge(sql) => ControlFlow::Break(refusal(sql)),
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => {
            ControlFlow::Continue(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> String {
        match read(sql) {
            Err(error) => error.to_string(),
            Ok(statement) => panic!("{statement} is allowed"),
        }
    }

    #[test]
    fn what_only_reads_is_allowed() {
        for sql in [
            "SELECT 1",
            "SELECT * FROM blocks;",
            "WITH a AS (SELECT 1) SELECT * FROM a UNION ALL (SELECT 2)",
            "VALUES (1), (2)",
            "EXPLAIN SELECT * FROM blocks",
            "EXPLAIN ANALYZE SELECT * FROM blocks",
            "SHOW TABLES",
            "SHOW COLUMNS FROM blocks",
            "DESCRIBE blocks",
            "SELECT * FROM information_schema.tables",
        ] {
            read(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }

    /// Statements, and words of why they are refused.
    const REFUSED: &[(&str, &str)] = &[
        ("", "no statement"),
        (" ; ", "no statement"),
        ("SELECT 1; SELECT 2", "there are 2 statements"),
        ("INSERT INTO blocks VALUES (1)", "INSERT would change rows"),
        ("UPDATE blocks SET height = 1", "UPDATE would change rows"),
        ("DELETE FROM blocks", "DELETE would change rows"),
        ("TRUNCATE TABLE blocks", "TRUNCATE would change rows"),
        (
            "CREATE TABLE t AS SELECT 1",
            "CREATE TABLE would change tables",
        ),
        (
            "CREATE VIEW v AS SELECT 1",
            "CREATE VIEW would change tables",
        ),
        (
            "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc'",
            "CREATE EXTERNAL TABLE would change tables",
        ),
        ("DROP TABLE blocks", "DROP TABLE would change tables"),
        (
            "ALTER TABLE blocks ADD COLUMN a INT",
            "ALTER TABLE would change tables",
        ),
        ("SELECT * INTO t FROM blocks", "INTO would make a table"),
        (
            "COPY blocks TO 'x.parquet'",
            "COPY would read or write files",
        ),
        (
            "COPY (SELECT 1) TO '/tmp/x.csv'",
            "COPY would read or write files",
        ),
        (
            "EXPLAIN COPY blocks TO 'x.parquet'",
            "COPY would read or write files",
        ),
        (
            "SET datafusion.execution.batch_size = 1",
            "SET is about settings",
        ),
        (
            "RESET datafusion.execution.batch_size",
            "RESET is about settings",
        ),
        ("SHOW ALL", "SHOW ALL is about settings"),
        ("BEGIN", "about transactions"),
        ("COMMIT", "about transactions"),
        ("PREPARE p AS SELECT 1", "about statements that are kept"),
        ("SELECT * FROM 'x.parquet'", "would read a file"),
        ("SELECT * FROM \"/etc/passwd\"", "would read a file"),
        (
            "SELECT * FROM (SELECT * FROM 's3://b/x')",
            "would read a file",
        ),
        (
            "EXPLAIN INSERT INTO blocks VALUES (1)",
            "INSERT would change rows",
        ),
        ("SELEC 1", "this is not SQL"),
        ("KILL 1", "is no query"),
    ];

    #[test]
    fn what_is_not_a_query_is_refused_with_its_own_words() {
        for (sql, words) in REFUSED {
            let message = refused(sql);
            assert!(message.contains(words), "{sql}: {message}");
        }
    }
}
