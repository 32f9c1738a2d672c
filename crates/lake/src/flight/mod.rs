//! SQL over Arrow Flight, for ADBC and JDBC.

mod answers;
mod service;

use std::{future::Future, sync::Arc};

use arrow_flight::flight_service_server::FlightServiceServer;
use cairn_domain::events::Visibility;
use tokio::net::TcpListener;
use tonic::transport::server::{Router, Server, TcpIncoming};

use crate::{LakeError, sql::SqlEngine};

/// Says what a caller with this token may see; a caller without one has none.
///
/// The error is a sentence for people.
pub type Access = Arc<dyn Fn(Option<&str>) -> Result<Visibility, String> + Send + Sync>;

/// Answers until `stopped` returns, then ends the requests that run.
///
/// # Errors
/// [`LakeError::Storage`] where the listener fails.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<SqlEngine>,
    access: Access,
    stopped: impl Future<Output = ()>,
) -> Result<(), LakeError> {
    let service = FlightServiceServer::new(service::FlightSql { engine, access });
    let router: Router = Server::builder().add_service(service);
    let served = router.serve_with_incoming_shutdown(TcpIncoming::from(listener), stopped);
    served
        .await
        .map_err(|error| LakeError::storage("the listener of Flight", error))
}
