//! Answers in the form of Flight.

use std::pin::Pin;

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use arrow_flight::{
    FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket,
    encode::FlightDataEncoderBuilder, error::FlightError, sql::ProstMessageExt,
};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::sql::{SqlAnswer, SqlError};

/// What a stream of rows looks like on its way.
pub(super) type Rows = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Where an answer of these columns is to be had: here, for this ticket.
pub(super) fn info(
    schema: &SchemaRef,
    ticket: &impl ProstMessageExt,
    request: Request<FlightDescriptor>,
) -> Result<Response<FlightInfo>, Status> {
    let ticket = Ticket::new(ticket.as_any().encode_to_vec());
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|error| internal(&error))?;
    let endpoint = FlightEndpoint::new().with_ticket(ticket);
    Ok(Response::new(
        info.with_endpoint(endpoint)
            .with_descriptor(request.into_inner()),
    ))
}

/// One batch.
pub(super) fn batch(schema: SchemaRef, batch: Result<RecordBatch, FlightError>) -> Response<Rows> {
    let rows = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .build(stream::iter([batch]))
        .map_err(Status::from);
    Response::new(Box::pin(rows))
}

/// The rows of a query as they come; one that fails on its way ends with its error.
pub(super) fn rows(answer: SqlAnswer) -> Response<Rows> {
    let schema = SchemaRef::clone(&answer.schema);
    let batches = answer.map_err(|error| FlightError::Tonic(Box::new(status(&error))));
    let rows = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .build(batches.boxed())
        .map_err(Status::from);
    Response::new(Box::pin(rows))
}

/// What an error is called over gRPC.
pub(super) fn status(error: &SqlError) -> Status {
    let text = error.to_string();
    match error {
        SqlError::Busy { .. } | SqlError::CallerBusy { .. } | SqlError::Crowded { .. } => {
            Status::resource_exhausted(text)
        }
        SqlError::Syntax(_)
        | SqlError::Refused(_)
        | SqlError::UnknownTable { .. }
        | SqlError::Plan(_)
        | SqlError::Execution(_) => Status::invalid_argument(text),
        SqlError::TooLarge { .. } | SqlError::TooManyRows { .. } => {
            Status::resource_exhausted(text)
        }
        SqlError::TooSlow { .. } => Status::deadline_exceeded(text),
        SqlError::Moved | SqlError::Behind { .. } => Status::unavailable(text),
        SqlError::Disagreement { .. } | SqlError::Lake(_) | SqlError::Internal(_) => {
            tracing::error!(%error, "a query over Flight failed");
            Status::internal("the server failed to answer the query")
        }
    }
}

/// A failure that no caller can help.
pub(super) fn internal(error: &impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}
