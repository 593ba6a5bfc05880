//! The dashboards of `dashboards/grafana`, made from typed code.
//! Reads: nothing. Writes: text; `drift` writes the files and compares them.
//! Never: is edited in Grafana's editor and exported: what a person clicks together nobody reviews.
//!
//! `model` says what a dashboard is, `promql` puts queries together, `render` and `options` turn both into
//! Grafana's JSON, one module per dashboard says what is on it, and `lint` and `coverage` are rules of
//! `cargo xtask tidy`.

mod bus;
pub mod coverage;
mod dead_letters;
mod edge;
mod json;
pub mod lint;
mod loadtest;
mod model;
mod nats;
mod notifications;
mod options;
mod overview;
mod promql;
mod render;

use model::Board;

/// Where the files lie; the last folder's name is that of the folder in Grafana.
const FOLDER: &str = "dashboards/grafana/dashboards/Campana";

/// Every dashboard.
fn boards() -> [Board; 7] {
    [
        overview::board(),
        notifications::board(),
        bus::board(),
        dead_letters::board(),
        edge::board(),
        nats::board(),
        loadtest::board(),
    ]
}

fn path(board: &Board) -> String {
    format!("{FOLDER}/{}.json", board.slug)
}

/// Path and text of every file.
pub fn files() -> Vec<(String, String)> {
    boards().iter().map(|board| (path(board), render::board(board).file())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_dashboard_is_a_file_of_its_own() {
        let files: BTreeSet<String> = files().into_iter().map(|(path, _)| path).collect();
        assert_eq!(files.len(), boards().len());
        let titles: BTreeSet<&str> = boards().iter().map(|board| board.title).collect();
        assert_eq!(titles.len(), boards().len());
    }

    #[test]
    fn lines_of_panels_are_full_or_begin_anew() {
        for board in boards() {
            for row in &board.rows {
                assert!(row.panels.iter().all(|panel| panel.width <= 24), "{}", row.title);
            }
        }
    }

    #[test]
    fn the_rules_hold() {
        for board in boards() {
            assert_eq!(lint::problems(&board), Vec::<String>::new(), "{}", board.slug);
        }
    }
}
