//! What all receivers share: options, mailbox, receipts, fault book, counters, registered secrets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::faults::{FaultBook, GreylistMemory};
use crate::mailbox::Mailbox;
use crate::metrics::Stats;
use crate::options::SandboxOptions;
use crate::receipts::Receipts;
use crate::stamp::Stamp;

#[derive(Debug)]
pub struct Shared {
    pub options: SandboxOptions,
    pub mailbox: Mailbox,
    pub receipts: Receipts,
    pub faults: FaultBook,
    pub stats: Arc<Stats>,
    pub started: Stamp,
    numbers: AtomicU64,
    greylist: Mutex<GreylistMemory>,
    webhook_secrets: Mutex<BTreeMap<String, String>>,
}

impl Shared {
    pub fn new(options: SandboxOptions) -> Self {
        let stats = Arc::new(Stats::default());
        let secrets = options.webhook_secrets.iter().cloned().collect();
        Self {
            mailbox: Mailbox::new(options.keep, options.keep_bytes),
            receipts: Receipts::new(options.keep_receipts, options.keep_receipt_bytes),
            faults: FaultBook::new(Arc::clone(&stats)),
            stats,
            started: Stamp::now(),
            numbers: AtomicU64::new(1),
            greylist: Mutex::new(GreylistMemory::default()),
            webhook_secrets: Mutex::new(secrets),
            options,
        }
    }

    /// A number that no other call of this process gets.
    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    /// True the first time this pair is seen.
    pub fn greylisted(&self, sender: &str, recipient: &str) -> bool {
        let mut memory = self.greylist.lock().unwrap_or_else(PoisonError::into_inner);
        memory.first_time(sender, recipient)
    }

    pub fn webhook_secret(&self, name: &str) -> Option<String> {
        self.secrets().get(name).cloned()
    }

    /// Names that have a secret. The secrets themselves never leave the process.
    pub fn webhook_names(&self) -> Vec<String> {
        self.secrets().keys().cloned().collect()
    }

    /// False if there is no room for another name.
    pub fn set_webhook_secret(&self, name: String, secret: String) -> bool {
        let mut secrets = self.secrets();
        let room = secrets.len() < self.options.web.webhook_names || secrets.contains_key(&name);
        if room {
            secrets.insert(name, secret);
        }
        room
    }

    pub fn forget_webhook_secret(&self, name: &str) -> bool {
        self.secrets().remove(name).is_some()
    }

    fn secrets(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.webhook_secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
