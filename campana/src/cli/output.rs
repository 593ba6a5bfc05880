//! Results on standard output: a table for people, JSON for scripts.
//! Reads: nothing. Writes: standard output. Never: fails because the reader of a pipe went away.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Version of the JSON that commands print.
const SCHEMA_VERSION: u32 = 1;

/// One line or many.
pub fn text(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// `{"schema_version": 1, "<name>": …}`.
pub fn json(name: &str, data: &impl Serialize) -> anyhow::Result<()> {
    let mut object = serde_json::Map::new();
    object.insert("schema_version".to_owned(), SCHEMA_VERSION.into());
    object.insert(name.to_owned(), serde_json::to_value(data)?);
    text(&serde_json::to_string_pretty(&object)?)
}

/// A table without a frame; `empty` if there are no rows.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, empty: &str) -> anyhow::Result<()> {
    if rows.is_empty() {
        return text(empty);
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    text(&table.trim_fmt())
}
