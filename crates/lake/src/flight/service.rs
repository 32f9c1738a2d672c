//! What Flight SQL asks, answered by the engine: statements, prepared or not, and what tables there are.

use std::{pin::Pin, sync::Arc};

use arrow::{datatypes::SchemaRef, error::ArrowError, ipc::writer::IpcWriteOptions};
use arrow_flight::{
    Action, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage,
    SchemaAsIpc, Ticket,
    flight_service_server::FlightService,
    sql::{
        ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
        ActionCreatePreparedStatementResult, CommandGetCatalogs, CommandGetDbSchemas,
        CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandPreparedStatementQuery,
        CommandStatementQuery, SqlInfo, TicketStatementQuery,
        metadata::{SqlInfoData, SqlInfoDataBuilder},
        server::FlightSqlService,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cairn_domain::{datasets, events::Visibility};
use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    Access,
    answers::{Rows, batch, info, internal, rows, status},
};
use crate::sql::{CATALOG, SCHEMA, SqlCaller, SqlEngine, shown_columns};

/// See the module.
#[derive(Clone)]
pub(super) struct FlightSql {
    pub(super) engine: Arc<SqlEngine>,
    pub(super) access: Access,
}

type Handshakes = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;

/// The token of a caller: a bearer's, or the password of a basic login.
fn token(metadata: &MetadataMap) -> Result<Option<String>, Status> {
    let Some(value) = metadata.get("authorization") else {
        return Ok(None);
    };
    let unreadable = || Status::unauthenticated("the authorization header cannot be read");
    let text = value.to_str().map_err(|_| unreadable())?;
    if let Some(bearer) = text.strip_prefix("Bearer").map(str::trim) {
        return Ok((!bearer.is_empty()).then(|| bearer.to_owned()));
    }
    let basic = text.strip_prefix("Basic ").ok_or_else(unreadable)?;
    let decoded = STANDARD.decode(basic).map_err(|_| unreadable())?;
    let decoded = String::from_utf8(decoded).map_err(|_| unreadable())?;
    let (_, password) = decoded.split_once(':').ok_or_else(unreadable)?;
    Ok((!password.is_empty()).then(|| password.to_owned()))
}

impl FlightSql {
    fn visibility(&self, metadata: &MetadataMap) -> Result<Visibility, Status> {
        let token = token(metadata)?;
        (self.access)(token.as_deref()).map_err(Status::unauthenticated)
    }

    fn caller<T>(&self, request: &Request<T>) -> Result<SqlCaller, Status> {
        let mut caller = SqlCaller::new(self.visibility(request.metadata())?);
        caller.name = request.remote_addr().map(|peer| peer.ip().to_string());
        Ok(caller)
    }

    /// The columns that a statement answers with.
    async fn columns(&self, sql: &str, mut caller: SqlCaller) -> Result<SchemaRef, Status> {
        // Its rows are asked for later.
        caller.limit = Some(0);
        let answer = self.engine.query(sql, &caller).await;
        // The positions in its metadata are not those of the rows.
        Ok(answer
            .map_err(|error| status(&error))?
            .unmarked()
            .schema
            .clone())
    }

    async fn run(&self, statement: &[u8], caller: SqlCaller) -> Result<Response<Rows>, Status> {
        let sql = std::str::from_utf8(statement);
        let sql = sql.map_err(|_| Status::invalid_argument("the statement is not UTF-8"))?;
        let answer = self.engine.query(sql, &caller).await;
        Ok(rows(answer.map_err(|error| status(&error))?))
    }
}

/// What clients ask about the server.
fn server_info() -> Result<SqlInfoData, Status> {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Cairn");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, "58");
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, 0_i32);
    info.build().map_err(|error| internal(&error))
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Handshakes>, Status> {
        self.visibility(request.metadata())?;
        let token = token(request.metadata())?.unwrap_or_default();
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: token.clone().into(),
        };
        let handshakes: Handshakes = Box::pin(stream::iter([Ok(answer)]));
        let mut response = Response::new(handshakes);
        if let (false, Ok(value)) = (token.is_empty(), format!("Bearer {token}").parse()) {
            response.metadata_mut().insert("authorization", value);
        }
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let columns = self.columns(&query.query, self.caller(&request)?).await?;
        let ticket = TicketStatementQuery {
            statement_handle: query.query.into(),
        };
        info(&columns, &ticket, request)
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let caller = self.caller(&request)?;
        self.run(&ticket.statement_handle, caller).await
    }

    /// A statement is its own handle: nothing has to be remembered.
    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let columns = self.columns(&query.query, self.caller(&request)?).await?;
        let message = SchemaAsIpc::new(&columns, &IpcWriteOptions::default()).try_into();
        let IpcMessage(dataset_schema) = message.map_err(|error: ArrowError| internal(&error))?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: query.query.into(),
            dataset_schema,
            parameter_schema: Default::default(),
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        _query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let sql = String::from_utf8(query.prepared_statement_handle.to_vec());
        let sql = sql.map_err(|_| Status::invalid_argument("the handle is none of ours"))?;
        let columns = self.columns(&sql, self.caller(&request)?).await?;
        info(&columns, &query, request)
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let caller = self.caller(&request)?;
        self.run(&query.prepared_statement_handle, caller).await
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info(&query.into_builder().schema(), &query, request)
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        self.visibility(request.metadata())?;
        let mut catalogs = query.into_builder();
        catalogs.append(CATALOG);
        Ok(batch(catalogs.schema(), catalogs.build()))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info(&query.clone().into_builder().schema(), &query, request)
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        self.visibility(request.metadata())?;
        let mut schemas = query.into_builder();
        schemas.append(CATALOG, SCHEMA);
        Ok(batch(schemas.schema(), schemas.build()))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info(&query.clone().into_builder().schema(), &query, request)
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let visibility = self.visibility(request.metadata())?;
        let mut tables = query.into_builder();
        for dataset in datasets::all().filter(|dataset| dataset.visibility <= visibility) {
            let columns = shown_columns(dataset);
            let appended = tables.append(CATALOG, SCHEMA, dataset.name, "TABLE", &columns);
            appended.map_err(|error| internal(&error))?;
        }
        Ok(batch(tables.schema(), tables.build()))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info(&query.into_builder().schema(), &query, request)
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        self.visibility(request.metadata())?;
        let mut types = query.into_builder();
        types.append("TABLE");
        Ok(batch(types.schema(), types.build()))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = query.clone().into_builder(&server_info()?).schema();
        info(&schema, &query, request)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        self.visibility(request.metadata())?;
        let data = server_info()?;
        let infos = query.into_builder(&data);
        Ok(batch(infos.schema(), infos.build()))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
