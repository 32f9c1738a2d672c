//! Statements that are refused, each kind with its own words.

/// Why a statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no statement.
    #[error("there is no statement; send one query, such as `SELECT * FROM blocks LIMIT 10`")]
    Empty,
    /// There are several statements.
    #[error("there are {0} statements, and only one is answered; send them one by one")]
    Several(usize),
    /// It would change rows.
    #[error(
        "{0} would change rows, and SQL only reads; what is appended comes from sources and the API"
    )]
    Change(String),
    /// It would change tables.
    #[error(
        "{0} would change tables, and SQL only reads; name part of a query by `WITH name AS (…)`"
    )]
    Definition(String),
    /// It would keep the result in a new table.
    #[error("SELECT … INTO would make a table, and SQL only reads; leave INTO out")]
    Into,
    /// It would write files.
    #[error(
        "COPY would read or write files, and SQL only answers; ask for the answer as CSV, Arrow or Parquet"
    )]
    Copy,
    /// It would change or show settings.
    #[error("{0} is about settings, which are those of the server's configuration")]
    Setting(String),
    /// It is about transactions.
    #[error("{0} is about transactions; each query sees one position by itself")]
    Transaction(String),
    /// It is about statements that are kept.
    #[error("{0} is about statements that are kept, and none are; send the query itself")]
    Prepared(String),
    /// It names a file as a table.
    #[error(
        "{0} would read a file; only the tables of this server can be read, `SHOW TABLES` lists them"
    )]
    File(String),
    /// Something else.
    #[error(
        "{0} is no query; SELECT, WITH, VALUES, EXPLAIN, SHOW TABLES and DESCRIBE are answered"
    )]
    Other(String),
}
