//! Query strings, checked as strictly as bodies.
//! Reads and writes: nothing; pure.

use std::collections::BTreeMap;

use campana_bus::clock::Micros;
use campana_bus::subjects;

use super::problem::{Code, Problem};

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 200;

/// The parameters of a request; each is taken once, and what is left over is an error.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

fn wrong(name: &str, why: &str) -> Problem {
    Problem::new(Code::InvalidParameter, format!("{name}: {why}"))
}

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or("").as_bytes()) {
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Problem::new(Code::InvalidParameter, "a query parameter stands twice"));
            }
        }
        Ok(Self(parameters))
    }

    /// A text; empty counts as missing.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// A name that a user chose.
    pub(super) fn name(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let value = self.text(name);
        if let Some(value) = &value {
            subjects::check_name(value).map_err(|error| wrong(name, &error.to_string()))?;
        }
        Ok(value)
    }

    /// A moment.
    pub(super) fn time(&mut self, name: &str) -> Result<Option<Micros>, Problem> {
        self.text(name)
            .map(|text| {
                Micros::from_rfc3339(&text)
                    .ok_or_else(|| wrong(name, "must be a time as of RFC 3339"))
            })
            .transpose()
    }

    /// One of a few texts.
    pub(super) fn one_of(
        &mut self,
        name: &str,
        allowed: &[&str],
    ) -> Result<Option<String>, Problem> {
        let value = self.text(name);
        match &value {
            Some(text) if !allowed.contains(&text.as_str()) => {
                Err(wrong(name, &format!("must be one of {}", allowed.join(", "))))
            }
            _ => Ok(value),
        }
    }

    /// The page's size.
    pub(super) fn limit(&mut self) -> Result<u32, Problem> {
        match self.text("limit") {
            None => Ok(LIMIT_DEFAULT),
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
                    wrong("limit", &format!("must be a number from 1 to {LIMIT_MAX}"))
                })
            }
        }
    }

    /// Refuses parameters that nobody asked for: a mistyped filter must not list everything.
    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Problem::new(Code::InvalidParameter, "a query parameter is unknown"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_once_and_nothing_may_be_left() {
        let mut query = Query::parse(Some("status=failed&limit=7&recipient=a%20b")).unwrap();
        assert_eq!(query.one_of("status", &["failed"]).unwrap().as_deref(), Some("failed"));
        assert_eq!(query.limit().unwrap(), 7);
        assert_eq!(query.name("recipient").unwrap().as_deref(), Some("a b"));
        assert!(query.finish().is_ok());
        assert!(Query::parse(Some("a=1&a=2")).is_err());
        assert!(Query::parse(Some("x=1")).unwrap().finish().is_err());
        for bad in ["limit=0", "limit=201", "limit=x", "limit=-1"] {
            assert!(Query::parse(Some(bad)).unwrap().limit().is_err(), "{bad}");
        }
        assert!(Query::parse(Some("recipient=a%0Ab")).unwrap().name("recipient").is_err());
    }
}
