//! A bucket whose values are JSON of one type.
//! Reads and writes: the bucket. Never: hides a value that it cannot read.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Kv, KvError};

/// A bucket with values of type `T`; see [`Kv::of`].
#[derive(Debug)]
pub struct TypedKv<T> {
    kv: Kv,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for TypedKv<T> {
    fn clone(&self) -> Self {
        Self::new(self.kv.clone())
    }
}

impl<T> TypedKv<T> {
    pub(super) fn new(kv: Kv) -> Self {
        Self { kv, value: PhantomData }
    }

    /// The bucket beneath.
    #[must_use]
    pub fn raw(&self) -> &Kv {
        &self.kv
    }
}

impl<T: Serialize + DeserializeOwned> TypedKv<T> {
    /// The value of a key and its revision.
    ///
    /// # Errors
    /// As [`Kv::get`], or [`KvError::Decode`].
    pub async fn get(&self, key: &str) -> Result<Option<(T, u64)>, KvError> {
        let Some(entry) = self.kv.get(key).await? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&entry.value)
            .map_err(|error| KvError::Decode(error.to_string()))?;
        Ok(Some((value, entry.revision)))
    }

    /// Sets a value, whatever was there; returns its revision.
    ///
    /// # Errors
    /// As [`Kv::put`].
    pub async fn put(&self, key: &str, value: &T) -> Result<u64, KvError> {
        self.kv.put(key, encode(value)?).await
    }

    /// Sets the value of a key that has none.
    ///
    /// # Errors
    /// As [`Kv::create`].
    pub async fn create(&self, key: &str, value: &T) -> Result<u64, KvError> {
        self.kv.create(key, encode(value)?).await
    }

    /// Sets a value if the key's last change is `revision`; 0 if it never had one.
    ///
    /// # Errors
    /// As [`Kv::update`].
    pub async fn update(&self, key: &str, value: &T, revision: u64) -> Result<u64, KvError> {
        self.kv.update(key, encode(value)?, revision).await
    }

    /// Removes the value.
    ///
    /// # Errors
    /// As [`Kv::delete`].
    pub async fn delete(&self, key: &str, revision: Option<u64>) -> Result<(), KvError> {
        self.kv.delete(key, revision).await
    }
}

fn encode<T: Serialize>(value: &T) -> Result<bytes::Bytes, KvError> {
    serde_json::to_vec(value).map(Into::into).map_err(|error| KvError::Encode(error.to_string()))
}
