//! What clients of librdkafka tell us beside their answers.

use std::sync::{Arc, Mutex};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryResult, ProducerContext},
    util::Timeout,
};
use std::time::Duration;

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// Moves the head.
    Follower,
    /// Reads what is older.
    Reader,
    /// Asks where the topic ends.
    Probe,
}

impl Client {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Reader => "reader",
            Self::Probe => "probe",
        }
    }
}

/// The last complaint of a client, and the first record that was not delivered.
#[derive(Debug, Default)]
struct Heard {
    error: Option<(RDKafkaErrorCode, String)>,
    undelivered: Option<String>,
}

/// Listens to a client.
#[derive(Debug, Clone, Default)]
pub(super) struct Context(Arc<Mutex<Heard>>);

impl Context {
    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.0.lock().expect("no panic holds it")
    }

    /// The last complaint, for people.
    pub(super) fn complaint(&self) -> Option<String> {
        self.heard()
            .error
            .as_ref()
            .map(|(_, reason)| reason.clone())
    }

    /// What the brokers say of our credentials, if they refuse them.
    pub(super) fn refusal(&self) -> Option<String> {
        let refused = |code: &RDKafkaErrorCode| {
            matches!(
                code,
                RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
                    | RDKafkaErrorCode::SSL
            )
        };
        let heard = self.heard();
        let error = heard.error.as_ref().filter(|(code, _)| refused(code));
        error.map(|(_, reason)| reason.clone())
    }

    /// Why a record cannot be delivered, if one cannot.
    pub(super) fn undelivered(&self) -> Option<String> {
        self.heard().undelivered.clone()
    }

    /// Forgets complaints: the client has done what it was asked.
    pub(super) fn content(&self) {
        self.heard().error = None;
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Whoever uses the client says what it means; this is for those who look closer.
        tracing::debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
        let Some(code) = error.rdkafka_error_code() else {
            return;
        };
        let mut heard = self.heard();
        if code == RDKafkaErrorCode::Fatal {
            heard.undelivered.get_or_insert_with(|| reason.to_owned());
        }
        // That all brokers are down says less than why the last one was.
        if code != RDKafkaErrorCode::AllBrokersDown || heard.error.is_none() {
            heard.error = Some((code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Context {
    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_millis(100))
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let reason = error.to_string();
            self.heard().undelivered.get_or_insert(reason);
        }
    }
}
