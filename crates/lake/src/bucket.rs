//! A bucket of S3, Google Cloud Storage or Azure, by its address.

use std::{fmt, sync::Arc, time::Duration};

use object_store::{
    ObjectStore, ObjectStoreScheme, RetryConfig, aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, path::Path as ObjectPath,
    prefix::PrefixStore,
};
use url::Url;

use crate::LakeError;

/// A request is sent again so often, and no longer than this: whoever waits for it hears soon that the store is
/// away, and tries again himself.
const RETRIES: usize = 3;
const RETRY_FOR: Duration = Duration::from_secs(20);

/// A bucket, or what is under a prefix in it. What its store asks for comes from the environment
/// (`AWS_ACCESS_KEY_ID` and the like), and from [`Bucket::set`].
#[derive(Clone)]
pub struct Bucket {
    address: String,
    prefix: ObjectPath,
    service: Service,
}

#[derive(Clone)]
enum Service {
    S3(Box<AmazonS3Builder>),
    Google(Box<GoogleCloudStorageBuilder>),
    Azure(Box<MicrosoftAzureBuilder>),
}

impl fmt::Debug for Bucket {
    // The rest may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Bucket {
    /// The bucket at an address such as `s3://bucket/prefix`.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn at(address: &str) -> Result<Self, String> {
        let forms = "write s3://bucket/prefix, gs://bucket/prefix or abfss://container@account.dfs.core.windows.net/prefix";
        let wrong = |what: String| format!("`{address}` {what}; {forms}");
        let url = Url::parse(address).map_err(|error| wrong(format!("is no address: {error}")))?;
        if url.password().is_some() {
            // It would be shown wherever the lake is named.
            return Err("an address holds no password: it goes into [lake.storage]".into());
        }
        let (scheme, prefix) = ObjectStoreScheme::parse(&url)
            .map_err(|_| wrong("is no object store that is known".into()))?;
        let service = match scheme {
            // Readers of tables know buckets by these names only.
            _ if url.scheme().starts_with("http") => {
                return Err(wrong("does not name a bucket".into()));
            }
            ObjectStoreScheme::AmazonS3 => {
                Service::S3(Box::new(AmazonS3Builder::from_env().with_url(address)))
            }
            ObjectStoreScheme::GoogleCloudStorage => Service::Google(Box::new(
                GoogleCloudStorageBuilder::from_env().with_url(address),
            )),
            ObjectStoreScheme::MicrosoftAzure => Service::Azure(Box::new(
                MicrosoftAzureBuilder::from_env().with_url(address),
            )),
            _ => return Err(wrong("is no bucket: a directory goes into lake.dir".into())),
        };
        Ok(Self {
            address: address.trim_end_matches('/').to_owned(),
            prefix,
            service,
        })
    }

    /// Says something that the store asks for, by the name that the crate `object_store` has for it.
    ///
    /// # Errors
    /// What is wrong with the name. Values are looked at when the bucket is opened.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let unknown = |_| {
            "the object store knows no such setting; see the documentation of the crate object_store for those of S3, Google Cloud Storage and Azure".to_owned()
        };
        macro_rules! set {
            ($builder:expr) => {{
                let key = key.parse().map_err(unknown)?;
                **$builder = std::mem::take(&mut **$builder).with_config(key, value);
            }};
        }
        match &mut self.service {
            Service::S3(builder) => set!(builder),
            Service::Google(builder) => set!(builder),
            Service::Azure(builder) => set!(builder),
        }
        Ok(())
    }

    /// The address, without a `/` at its end.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Makes ready to reach it. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`LakeError::Incompatible`] for settings that do not go together, or one that is missing.
    pub(crate) fn open(&self) -> Result<Arc<dyn ObjectStore>, LakeError> {
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
            ..RetryConfig::default()
        };
        macro_rules! build {
            ($builder:expr) => {{
                let built = (**$builder).clone().with_retry(retry).build();
                built.map(|built| Arc::new(built) as Arc<dyn ObjectStore>)
            }};
        }
        let bucket = match &self.service {
            Service::S3(builder) => build!(builder),
            Service::Google(builder) => build!(builder),
            Service::Azure(builder) => build!(builder),
        };
        let bucket = bucket.map_err(|error| LakeError::Incompatible {
            place: self.address.clone(),
            reason: format!("{error}; see [lake.storage]"),
        })?;
        Ok(match self.prefix.as_ref().is_empty() {
            true => bucket,
            false => Arc::new(PrefixStore::new(bucket, self.prefix.clone())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_an_address_and_a_prefix() {
        for (address, prefix) in [
            ("s3://bucket/lakes/main/", "lakes/main"),
            ("gs://bucket", ""),
            (
                "abfss://container@account.dfs.core.windows.net/lake",
                "lake",
            ),
            ("az://container/lake", "lake"),
        ] {
            let bucket = Bucket::at(address).expect("a bucket");
            assert_eq!(bucket.prefix.as_ref(), prefix);
            assert_eq!(bucket.address(), address.trim_end_matches('/'));
        }
        for (address, part) in [
            ("bucket/lake", "is no address"),
            ("file:///lake", "lake.dir"),
            ("ftp://bucket/lake", "is no object store"),
            (
                "https://s3.eu-west-1.amazonaws.com/bucket",
                "does not name a bucket",
            ),
            ("s3://key:secret@bucket/lake", "no password"),
            ("s3://:secret@bucket/lake", "no password"),
        ] {
            let error = Bucket::at(address).expect_err(address);
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn settings_are_those_of_the_store_and_are_not_shown() {
        let mut bucket = Bucket::at("s3://bucket/lake").expect("a bucket");
        bucket
            .set("aws_secret_access_key", "hidden")
            .expect("a key");
        bucket.set("allow_http", "true").expect("a key");
        bucket
            .set("google_service_account", "x")
            .expect_err("of another store");
        assert!(!format!("{bucket:?}").contains("hidden"));
        let incomplete = bucket.open().expect_err("half of a key").to_string();
        assert!(incomplete.contains("AccessKeyId"), "{incomplete}");
        bucket.set("aws_access_key_id", "key").expect("a key");
        bucket.open().expect("nothing is missing");
    }
}
