//! Makes calls of storage and of job state fail: some of them by chance, or all from one on, as a crash does.

use super::chance::Chance;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use holdfast_common::storage::{Fault, Faulty};
use holdfast_vault::error::{Code, Error};
use holdfast_vault::storage::Storage;
use std::fmt;
use std::sync::{Arc, Mutex};

/// Which calls fail.
#[derive(Debug)]
pub(crate) enum Weather {
    /// None.
    Fair,
    /// So many of a thousand, before or after their effect.
    Rough(Chance, u64),
    /// All calls after so many more.
    Crash { left: u64 },
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Before,
    After,
}

/// What all stores and the job table of one bench ask before each call.
#[derive(Debug, Clone)]
pub(crate) struct Faults(Arc<Mutex<(Weather, Fate)>>);

impl Faults {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new((Weather::Fair, Fate::Fine))))
    }

    pub(crate) fn set(&self, weather: Weather) {
        *self.0.lock().unwrap() = (weather, Fate::Fine);
    }

    /// Whether a crash was ordered and has happened.
    pub(crate) fn crashed(&self) -> bool {
        matches!(self.0.lock().unwrap().0, Weather::Crash { left: 0 })
    }

    fn fate(&self) -> Fate {
        match &mut self.0.lock().unwrap().0 {
            Weather::Fair => Fate::Fine,
            Weather::Rough(chance, often) => match (chance.below(1000) < *often, chance.percent(50)) {
                (false, _) => Fate::Fine,
                (true, true) => Fate::Before,
                (true, false) => Fate::After,
            },
            Weather::Crash { left: 0 } => Fate::Before,
            Weather::Crash { left } => {
                *left -= 1;
                if *left == 0 { Fate::Before } else { Fate::Fine }
            }
        }
    }

    /// A store whose calls fail as the weather is.
    pub(crate) fn around(&self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        let faults = self.clone();
        Arc::new(Faulty::new(storage, move |_| {
            let error = || Error::new(Code::StorageUnavailable, "the store is away");
            match faults.fate() {
                Fate::Fine => None,
                Fate::Before => Some(Fault::Before(error())),
                Fate::After => Some(Fault::After(error())),
            }
        }))
    }

    /// A client whose calls fail as the weather is.
    pub(crate) fn client(&self, client: &aws_sdk_dynamodb::Client) -> aws_sdk_dynamodb::Client {
        let config = client.config().to_builder().interceptor(Failing(self.clone()));
        let config = config.retry_config(RetryConfig::disabled());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }
}

/// Asks before each request; remembers until after it what then is to fail.
struct Failing(Faults);

impl fmt::Debug for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failing")
    }
}

impl Intercept for Failing {
    fn name(&self) -> &'static str {
        "Failing"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let fate = self.0.fate();
        self.0.0.lock().unwrap().1 = fate;
        if fate == Fate::Before { Err("the table is away".into()) } else { Ok(()) }
    }

    fn read_after_transmit(
        &self,
        _: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let fate = std::mem::replace(&mut self.0.0.lock().unwrap().1, Fate::Fine);
        if fate == Fate::After { Err("the answer is lost".into()) } else { Ok(()) }
    }
}
