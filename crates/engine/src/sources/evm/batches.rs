//! How many calls a node takes in one request. Nodes bound their batches, some take none, and few
//! say so: the size halves when one is refused, and grows again when many were answered.

use std::sync::Mutex;

use super::{
    answers::{Answer, Answers},
    rpc::{Call, Rpc, RpcError},
};

/// After so many large requests that were answered a larger one is tried: what was refused may have
/// been a bad moment of the node.
const ANSWERED: usize = 32;

/// The size that works.
#[derive(Debug)]
pub(super) struct Batches(Mutex<Working>);

#[derive(Debug)]
struct Working {
    calls: usize,
    answered: usize,
}

impl Batches {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Working {
            calls: usize::MAX,
            answered: 0,
        }))
    }

    /// How many calls to send at once.
    pub(super) fn size(&self) -> usize {
        self.0.lock().expect("no panic holds it").calls
    }

    /// So many calls at once were too much.
    pub(super) fn refused(&self, calls: usize) {
        let mut working = self.0.lock().expect("no panic holds it");
        working.calls = working.calls.min((calls / 2).max(1));
        working.answered = 0;
    }

    /// So many calls at once were answered.
    pub(super) fn answered(&self, calls: usize) {
        let mut working = self.0.lock().expect("no panic holds it");
        working.answered += usize::from(calls > working.calls / 2);
        if working.answered >= ANSWERED {
            working.calls = working.calls.saturating_mul(2);
            working.answered = 0;
        }
    }
}

/// The answers to calls, in their order.
#[derive(Debug, Default)]
pub(super) struct Told {
    answers: Vec<Result<Option<String>, RpcError>>,
    /// Bytes that came for them.
    pub(super) bytes: usize,
}

impl Told {
    pub(super) fn get(&self) -> Vec<Answer<'_>> {
        let answers = self.answers.iter().map(Result::as_ref);
        let borrowed = answers.map(|answer| answer.map(Option::as_deref).map_err(Clone::clone));
        borrowed.collect()
    }

    /// Some nodes refuse a batch in the answer to one of its calls.
    fn take(&mut self, answers: &Answers) -> Result<(), RpcError> {
        let given = answers.get()?;
        let refused = |answer: &Answer<'_>| match answer {
            Err(error @ RpcError::TooMuch(_)) => Some(error.clone()),
            _ => None,
        };
        if given.len() > 1
            && let Some(error) = given.iter().find_map(refused)
        {
            return Err(error);
        }
        self.bytes += answers.bytes();
        let owned = |answer: Answer<'_>| answer.map(|text| text.map(str::to_owned));
        self.answers.extend(given.into_iter().map(owned));
        Ok(())
    }
}

impl Rpc {
    /// Sends calls in as many requests as the node can stand. What is too much for it as a call
    /// alone is that call's answer.
    pub(super) async fn ask_all(&self, calls: &[Call]) -> Result<Told, RpcError> {
        let mut told = Told::default();
        let mut rest = calls;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.batches.size()));
            let answers = self.send(now.to_vec()).await;
            match answers.and_then(|answers| told.take(&answers)) {
                Ok(()) => {
                    self.batches.answered(now.len());
                    rest = later;
                }
                Err(RpcError::TooMuch(_)) if now.len() > 1 => self.batches.refused(now.len()),
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }

    /// Sends calls in requests of the size that is known to work, which may be too much all the
    /// same.
    pub(super) async fn send_in_batches(&self, calls: &[Call]) -> Result<Vec<Answers>, RpcError> {
        let mut answers = Vec::new();
        for batch in calls.chunks(self.batches.size()) {
            answers.push(self.send(batch.to_vec()).await?);
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_halves_when_refused_and_grows_when_many_were_answered() {
        let batches = Batches::new();
        batches.answered(1000);
        assert_eq!(batches.size(), usize::MAX);
        batches.refused(256);
        batches.refused(128);
        assert_eq!(batches.size(), 64);
        (0..100).for_each(|_| batches.answered(3));
        assert_eq!(batches.size(), 64, "small ones say nothing");
        (0..ANSWERED).for_each(|_| batches.answered(60));
        assert_eq!(batches.size(), 128);
        (0..20).for_each(|_| batches.refused(batches.size()));
        assert_eq!(batches.size(), 1);
        (0..ANSWERED).for_each(|_| batches.answered(1));
        assert_eq!(batches.size(), 2);
    }
}
