//! Which messages `GET …/Messages.json` lists: filters by To, From and day, and pages. Pure.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

use campana_bus::clock::Micros;

use super::errors::TwilioError;

const DEFAULT_PAGE_SIZE: usize = 50;
const MAX_PAGE_SIZE: usize = 1_000;
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    pub to: Option<String>,
    pub from: Option<String>,
    /// Inclusive.
    pub after: Option<Micros>,
    /// Exclusive.
    pub before: Option<Micros>,
    pub page: usize,
    pub page_size: usize,
}

/// Reads the query. `DateSent>=2026-01-02` arrives as the name `DateSent>`; moments are taken in
/// RFC 3339 besides Twilio's days.
pub fn parse(fields: &[(String, String)]) -> Result<ListQuery, TwilioError> {
    let mut query = ListQuery {
        to: None,
        from: None,
        after: None,
        before: None,
        page: 0,
        page_size: DEFAULT_PAGE_SIZE,
    };
    for (name, value) in fields {
        match name.as_str() {
            "To" => query.to = Some(value.clone()),
            "From" => query.from = Some(value.clone()),
            "DateSent" => {
                let (start, end) = moment(value)?;
                query.after = Some(start);
                query.before = Some(end);
            }
            "DateSent>" => query.after = Some(moment(value)?.0),
            "DateSent<" => query.before = Some(moment(value)?.1),
            "PageSize" => query.page_size = number(value)?.clamp(1, MAX_PAGE_SIZE),
            "Page" => query.page = number(value)?,
            _ => {}
        }
    }
    Ok(query)
}

impl ListQuery {
    pub fn wants(&self, to: &str, from: &str, at: Micros) -> bool {
        self.to.as_deref().is_none_or(|wanted| wanted == to)
            && self.from.as_deref().is_none_or(|wanted| wanted == from)
            && self.after.is_none_or(|after| at >= after)
            && self.before.is_none_or(|before| at < before)
    }
}

/// The beginning and the end of the day or moment named.
fn moment(text: &str) -> Result<(Micros, Micros), TwilioError> {
    if let Some(at) = Micros::from_rfc3339(text) {
        return Ok((at, Micros(at.0.saturating_add(1))));
    }
    let day = Date::parse(text, DAY).map_err(|_| bad_query("DateSent"))?;
    let micros = |date: Date| micros(date.midnight().assume_utc());
    let end = day.checked_add(Duration::DAY).unwrap_or(Date::MAX);
    Ok((micros(day), micros(end)))
}

fn micros(at: OffsetDateTime) -> Micros {
    Micros(at.unix_timestamp().saturating_mul(1_000_000))
}

fn number(text: &str) -> Result<usize, TwilioError> {
    text.parse().map_err(|_| bad_query("Page"))
}

fn bad_query(name: &str) -> TwilioError {
    let message = Some(format!("invalid query parameter {name}"));
    TwilioError::scripted(400, Some(20_001), message, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Result<ListQuery, TwilioError> {
        let owned: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        parse(&owned)
    }

    #[test]
    fn days_are_whole_and_in_utc() {
        let at = |text: &str| Micros::from_rfc3339(text).unwrap();
        let day = query(&[("To", "+1"), ("DateSent", "2026-01-02")]).unwrap();
        assert!(day.wants("+1", "", at("2026-01-02T00:00:00Z")));
        assert!(day.wants("+1", "", at("2026-01-02T23:59:59Z")));
        assert!(!day.wants("+1", "", at("2026-01-03T00:00:00Z")));
        assert!(!day.wants("+2", "", at("2026-01-02T00:00:00Z")));
        let since = query(&[("DateSent>", "2026-01-02T10:00:00Z")]).unwrap();
        assert!(since.wants("", "", at("2026-01-02T10:00:00Z")));
        assert!(!since.wants("", "", at("2026-01-02T09:59:59Z")));
        assert!(query(&[("DateSent", "yesterday")]).is_err());
        assert_eq!(query(&[("PageSize", "5000")]).unwrap().page_size, 1_000);
    }
}
