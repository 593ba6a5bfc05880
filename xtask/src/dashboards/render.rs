//! Dashboards as the JSON that Grafana loads: the classic form, core panels only.
//! Reads: the model. Writes: JSON values. Never: knows a metric.
//! Why classic: Grafana 10 to 13 read it; the form is that of Grafana's own 11.6 schema, which a test
//! compares it with (`tests/dashboards/round_trip.py`).

use super::json::{Json, object};
use super::model::{Board, Kind, Panel, Variable};
use super::options;

/// What the 11.6 schema writes.
const SCHEMA_VERSION: i64 = 41;
/// Every dashboard has it, and the links are made of it.
const TAG: &str = "campana";
const COLUMNS: i64 = 24;

/// Where every panel and variable gets its data: what the reader chose.
fn datasource() -> Json {
    object! { "type": "prometheus", "uid": "${datasource}" }
}

/// The dashboard as a file.
pub fn board(board: &Board) -> Json {
    object! {
        "uid": format!("campana-{}", board.slug),
        "title": board.title,
        "description": board.about,
        "tags": vec![TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": false,
        "graphTooltip": 1,
        "timezone": "browser",
        "fiscalYearStartMonth": 0,
        "refresh": board.refresh,
        "time": object! { "from": board.from, "to": "now" },
        "timepicker": object! { "refresh_intervals": vec!["1s", "5s", "10s", "30s", "1m", "5m"] },
        "links": vec![object! {
            "title": "Campana", "type": "dashboards", "icon": "external link",
            "tooltip": "The other dashboards, for the same time", "tags": vec![TAG],
            "asDropdown": true, "targetBlank": false, "includeVars": true, "keepTime": true,
        }],
        "annotations": object! { "list": vec![built_in_annotation(), versions()] },
        "templating": object! { "list": board.variables.iter().map(variable).collect::<Vec<_>>() },
        "panels": panels(board),
    }
}

fn built_in_annotation() -> Json {
    object! {
        "name": "Annotations & Alerts", "type": "dashboard", "builtIn": 1,
        "datasource": object! { "type": "grafana", "uid": "-- Grafana --" },
        "enable": true, "hide": true, "iconColor": "rgba(0, 211, 255, 1)",
    }
}

/// A mark where a version was not there five minutes before: a deploy.
fn versions() -> Json {
    let now = "count by (version) (campana_build_info{job=~\"$job\"})";
    let before = "count by (version) (campana_build_info{job=~\"$job\"} offset 5m)";
    object! {
        "name": "New versions", "datasource": datasource(), "enable": true, "hide": false,
        "iconColor": "purple", "expr": format!("{now} unless {before}"),
    }
}

fn variable(variable: &Variable) -> Json {
    match variable {
        Variable::Datasource => object! {
            "type": "datasource", "name": "datasource", "label": "Data source",
            "description": "The Prometheus that scrapes the platform",
            "query": "prometheus", "regex": "", "refresh": 1, "hide": 0, "skipUrlSync": false,
            "multi": false, "includeAll": false,
            "current": object! { "text": "Prometheus", "value": "campana-prometheus" },
            "options": Vec::<Json>::new(),
        },
        Variable::Labels { name, label, about, query, many } => {
            labels(name, label, about, query, *many)
        }
        Variable::Fixed { name, label, about, values } => object! {
            "type": "custom", "name": *name, "label": *label, "description": *about,
            "query": values.join(","), "hide": 0, "skipUrlSync": false,
            "multi": false, "includeAll": false,
            "current": object! { "text": values[0], "value": values[0] },
            "options": values.iter().enumerate().map(|(index, value)| object! {
                "selected": index == 0, "text": *value, "value": *value,
            }).collect::<Vec<_>>(),
        },
    }
}

fn labels(name: &str, label: &str, about: &str, query: &str, many: bool) -> Json {
    let mut variable = object! {
        "type": "query", "name": name, "label": label, "description": about,
        "datasource": datasource(),
        "query": object! { "qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery" },
        // 2: again when the time range changes, so that a run of yesterday can be chosen.
        "refresh": 2, "regex": "", "sort": 1, "hide": 0, "skipUrlSync": false,
        "multi": many, "includeAll": many,
    };
    if many {
        variable.push("allValue", ".+");
        variable.push("current", object! { "text": vec!["All"], "value": vec!["$__all"] });
    }
    variable.push("options", Vec::<Json>::new());
    variable
}

/// Rows from top to bottom; in a row panels from left to right, and on to the next line when it is full.
fn panels(board: &Board) -> Vec<Json> {
    let mut all = Vec::new();
    let (mut id, mut y) = (0, 0);
    for row in &board.rows {
        id += 1;
        all.push(object! {
            "id": id, "type": "row", "title": row.title, "collapsed": false,
            "gridPos": object! { "h": 1, "w": COLUMNS, "x": 0, "y": y }, "panels": Vec::<Json>::new(),
        });
        y += 1;
        let (mut x, mut height) = (0, 0);
        for one in &row.panels {
            if x + one.width > COLUMNS {
                (x, y, height) = (0, y + height, 0);
            }
            id += 1;
            all.push(panel(one, id, x, y));
            x += one.width;
            height = height.max(one.height);
        }
        y += height;
    }
    all
}

fn panel(panel: &Panel, id: i64, x: i64, y: i64) -> Json {
    let mut json = object! {
        "id": id, "type": options::plugin(panel.kind), "title": panel.title,
        "description": panel.about,
        "gridPos": object! { "h": panel.height, "w": panel.width, "x": x, "y": y },
    };
    if panel.kind != Kind::Text {
        json.push("datasource", datasource());
        json.push("targets", targets(panel));
        json.push("fieldConfig", options::field_config(panel));
    }
    json.push("options", options::options(panel));
    if panel.kind == Kind::Table {
        json.push("transformations", options::columns(panel));
    }
    json
}

/// `A`, `B`, …: no panel has more than 26 queries, which `lint` checks.
pub fn ref_id(index: usize) -> String {
    char::from(b'A' + u8::try_from(index % 26).unwrap_or_default()).to_string()
}

fn targets(panel: &Panel) -> Vec<Json> {
    let instant = matches!(panel.kind, Kind::Table | Kind::Bars);
    let format = match panel.kind {
        Kind::Table => "table",
        Kind::Heatmap => "heatmap",
        _ => "time_series",
    };
    let target = |(index, target): (usize, &super::model::Target)| {
        object! {
            "refId": ref_id(index), "datasource": datasource(), "expr": target.expr.as_str(),
            "legendFormat": target.legend, "format": format, "editorMode": "code",
            "instant": instant, "range": !instant,
        }
    };
    panel.targets.iter().enumerate().map(target).collect()
}
