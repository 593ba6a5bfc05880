//! The rules in force, with their counters and their seeded draws, shared by all receivers.
//!
//! The one piece of state of the fault machinery: the lock is held for a decision and never
//! across an await.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::decide::{Counted, Decision, Facts, decide};
use super::rule::{MAX_RULES, Rule};
use crate::metrics::Stats;

/// Seed of a rule that names none: the same script gives the same story on every machine.
const DEFAULT_SEED: u64 = 1;

/// A rule as the API and the page show it.
#[derive(Debug, Clone, Serialize)]
pub struct RuleView {
    pub id: String,
    #[serde(flatten)]
    pub rule: Rule,
    pub seen: u64,
    pub applied: u64,
    pub active: bool,
}

#[derive(Debug, Default)]
struct Rules {
    counted: Vec<Counted>,
    ids: Vec<u64>,
    draws: Vec<StdRng>,
    next: u64,
}

/// The rules in force.
#[derive(Debug)]
pub struct FaultBook {
    rules: Mutex<Rules>,
    stats: Arc<Stats>,
}

impl FaultBook {
    pub fn new(stats: Arc<Stats>) -> Self {
        Self { rules: Mutex::new(Rules::default()), stats }
    }

    /// Decides about one request and counts.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        let mut rules = self.lock();
        if rules.counted.is_empty() {
            return Decision::default();
        }
        let Rules { counted, draws, .. } = &mut *rules;
        let decision = decide(counted, facts, |index| {
            draws.get_mut(index).map_or(0.0, |rng| rng.random::<f64>())
        });
        for &index in &decision.seen {
            counted[index].seen += 1;
        }
        for &index in &decision.applied {
            counted[index].applied += 1;
        }
        drop(rules);
        if !decision.applied.is_empty() {
            self.stats.faults(facts.channel.as_str(), decision.applied.len() as u64);
        }
        decision
    }

    /// Replaces all rules, or none if one of them is wrong.
    pub fn replace(&self, new: Vec<Rule>) -> Result<(), String> {
        for (index, rule) in new.iter().enumerate() {
            rule.check().map_err(|why| format!("rule {index}: {why}"))?;
        }
        if new.len() > MAX_RULES {
            return Err(format!("at most {MAX_RULES} rules"));
        }
        let mut rules = self.lock();
        let next = rules.next;
        *rules = Rules { next, ..Rules::default() };
        for rule in new {
            rules.push(rule);
        }
        Ok(())
    }

    /// Adds one rule behind the others and returns its id.
    pub fn add(&self, rule: Rule) -> Result<String, String> {
        rule.check()?;
        let mut rules = self.lock();
        if rules.counted.len() >= MAX_RULES {
            return Err(format!("at most {MAX_RULES} rules"));
        }
        Ok(rules.push(rule))
    }

    /// Removes one rule; false if there is none of that id.
    pub fn remove(&self, id: &str) -> bool {
        let mut rules = self.lock();
        let Some(index) = rules.ids.iter().position(|n| rule_id(*n) == id) else {
            return false;
        };
        rules.counted.remove(index);
        rules.ids.remove(index);
        rules.draws.remove(index);
        true
    }

    pub fn view(&self) -> Vec<RuleView> {
        let rules = self.lock();
        let pairs = rules.ids.iter().zip(&rules.counted);
        pairs
            .map(|(id, counted)| RuleView {
                id: rule_id(*id),
                rule: counted.rule.clone(),
                seen: counted.seen,
                applied: counted.applied,
                active: !counted.exhausted(),
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rules {
    fn push(&mut self, rule: Rule) -> String {
        self.next += 1;
        let seed = rule.matching.seed.unwrap_or(DEFAULT_SEED);
        self.draws.push(StdRng::seed_from_u64(seed));
        self.ids.push(self.next);
        self.counted.push(Counted { rule, seen: 0, applied: 0 });
        rule_id(self.next)
    }
}

fn rule_id(n: u64) -> String {
    format!("flt_{n}")
}
