//! How panels look: the options and field settings of Grafana's core panels.
//! Reads: the model. Writes: JSON values. Never: sets what a panel's kind does not know; the round trip
//! through Grafana's schema would lose it, and a test fails then.

use super::json::{Json, object};
use super::model::{Kind, Panel};

/// The name of the core panel.
pub fn plugin(kind: Kind) -> &'static str {
    match kind {
        Kind::Lines | Kind::Stacked => "timeseries",
        Kind::Stat => "stat",
        Kind::Gauge => "gauge",
        Kind::Bars => "bargauge",
        Kind::Heatmap => "heatmap",
        Kind::Table => "table",
        Kind::States => "state-timeline",
        Kind::Text => "text",
    }
}

/// Settings of the data: unit, scale, colours.
pub fn field_config(panel: &Panel) -> Json {
    let mut defaults = object! { "unit": panel.unit };
    for (key, value) in [("min", panel.min), ("max", panel.max)] {
        if let Some(value) = value
            && !matches!(panel.kind, Kind::Heatmap | Kind::Table)
        {
            defaults.push(key, value);
        }
    }
    if let Some(decimals) = panel.decimals {
        defaults.push("decimals", decimals);
    }
    let by_value = matches!(panel.kind, Kind::Stat | Kind::Gauge | Kind::Bars);
    defaults.push(
        "color",
        match (by_value, panel.steps.is_empty()) {
            (true, true) => object! { "mode": "fixed", "fixedColor": "blue" },
            (true, false) => object! { "mode": "thresholds" },
            (false, _) => object! { "mode": "palette-classic" },
        },
    );
    if !panel.steps.is_empty() {
        defaults.push("thresholds", thresholds(panel));
    }
    defaults.push("mappings", mappings(panel));
    if let Some(custom) = custom(panel) {
        defaults.push("custom", custom);
    }
    object! { "defaults": defaults, "overrides": Vec::<Json>::new() }
}

fn thresholds(panel: &Panel) -> Json {
    let step = |(value, colour): &(f64, &'static str)| {
        object! { "value": value.is_finite().then_some(*value), "color": *colour }
    };
    object! { "mode": "absolute", "steps": panel.steps.iter().map(step).collect::<Vec<_>>() }
}

fn mappings(panel: &Panel) -> Vec<Json> {
    if panel.names.is_empty() {
        return Vec::new();
    }
    let names = panel.names.iter().enumerate().map(|(index, (value, text, colour))| {
        let index = i64::try_from(index).unwrap_or_default();
        let named = object! { "text": *text, "color": *colour, "index": index };
        ((*value).to_owned(), named)
    });
    vec![object! { "type": "value", "options": Json::Object(names.collect()) }]
}

/// What only this kind of panel knows.
fn custom(panel: &Panel) -> Option<Json> {
    Some(match panel.kind {
        Kind::Lines | Kind::Stacked => {
            let stacked = panel.kind == Kind::Stacked;
            let marks = if panel.steps.len() > 1 { "dashed" } else { "off" };
            object! {
                "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1,
                "fillOpacity": if stacked { 60 } else { 8 }, "gradientMode": "none",
                "showPoints": "auto", "pointSize": 4, "spanNulls": false,
                "axisPlacement": "auto", "axisLabel": "",
                "stacking": object! { "group": "A", "mode": if stacked { "normal" } else { "none" } },
                "thresholdsStyle": object! { "mode": marks },
            }
        }
        Kind::States => object! { "fillOpacity": 80, "lineWidth": 0 },
        Kind::Table => object! {
            "align": "auto", "cellOptions": object! { "type": "auto" }, "inspect": false,
        },
        Kind::Heatmap => object! {
            "scaleDistribution": object! { "type": "linear" },
            "hideFrom": object! { "legend": false, "tooltip": false, "viz": false },
        },
        Kind::Stat | Kind::Gauge | Kind::Bars | Kind::Text => return None,
    })
}

/// Settings of the panel itself.
pub fn options(panel: &Panel) -> Json {
    let tooltip = object! { "mode": "multi", "sort": "desc" };
    match panel.kind {
        Kind::Lines | Kind::Stacked => object! {
            "legend": object! {
                "displayMode": "list", "placement": "bottom", "showLegend": true,
                "calcs": Vec::<Json>::new(),
            },
            "tooltip": tooltip,
        },
        Kind::Stat => object! {
            "reduceOptions": last_value(), "orientation": "auto", "textMode": "auto",
            "colorMode": if panel.names.is_empty() { "value" } else { "background" },
            "graphMode": if panel.names.is_empty() { "area" } else { "none" },
            "justifyMode": "auto", "wideLayout": true, "showPercentChange": false,
        },
        Kind::Gauge => object! {
            "reduceOptions": last_value(), "orientation": "auto", "showThresholdLabels": false,
            "showThresholdMarkers": true, "sizing": "auto", "minVizWidth": 75, "minVizHeight": 75,
        },
        Kind::Bars => object! {
            "reduceOptions": last_value(), "orientation": "horizontal", "displayMode": "basic",
            "valueMode": "color", "showUnfilled": true, "namePlacement": "auto", "sizing": "auto",
            "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300,
        },
        Kind::Heatmap => heatmap(panel),
        Kind::Table => object! {
            "showHeader": true, "cellHeight": "sm", "frameIndex": 0,
            "footer": object! {
                "show": false, "countRows": false, "reducer": vec!["sum"],
            },
        },
        Kind::States => object! {
            "mergeValues": true, "showValue": "never", "alignValue": "left", "rowHeight": 0.8,
            "legend": object! {
                "displayMode": "list", "placement": "bottom", "showLegend": true,
                "calcs": Vec::<Json>::new(),
            },
            "tooltip": object! { "mode": "single", "sort": "none" },
        },
        Kind::Text => object! { "mode": "markdown", "content": panel.markdown },
    }
}

fn last_value() -> Json {
    object! { "calcs": vec!["lastNotNull"], "fields": "", "values": false }
}

fn heatmap(panel: &Panel) -> Json {
    object! {
        "calculate": false, "cellGap": 1, "showValue": "never",
        "color": object! {
            "mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "scale": "exponential",
            "exponent": 0.5, "steps": 64, "reverse": false,
        },
        "yAxis": object! { "unit": panel.unit, "axisPlacement": "left", "reverse": false },
        "rowsFrame": object! { "layout": "auto" },
        "filterValues": object! { "le": 1e-9 },
        "legend": object! { "show": true },
        "exemplars": object! { "color": "rgba(255,0,255,0.7)" },
        "tooltip": object! { "mode": "single", "yHistogram": false, "showColorScale": true },
    }
}

/// One row for each set of labels, only the columns that were asked for, in their order.
pub fn columns(panel: &Panel) -> Vec<Json> {
    let merge = object! { "id": "merge", "options": Json::Object(Vec::new()) };
    let only_value = panel.targets.len() == 1;
    // With one query Grafana calls the number `Value`, with several `Value #A`, `Value #B`, …
    let column = |name: &str| match name.strip_prefix("Value #") {
        Some(_) if only_value => "Value".to_owned(),
        _ => name.to_owned(),
    };
    let order = panel.columns.iter().enumerate();
    let order = order.map(|(index, (name, _))| {
        (column(name), Json::from(i64::try_from(index).unwrap_or_default()))
    });
    let names = panel.columns.iter();
    let names = names.map(|(name, heading)| (column(name), Json::from(*heading)));
    let shown: Vec<String> = panel.columns.iter().map(|(name, _)| column(name)).collect();
    let keep = object! {
        "id": "filterFieldsByName",
        "options": object! { "include": object! { "names": shown } },
    };
    let organize = object! {
        "id": "organize",
        "options": object! {
            "excludeByName": Json::Object(Vec::new()),
            "indexByName": Json::Object(order.collect()),
            "renameByName": Json::Object(names.collect()),
        },
    };
    vec![merge, keep, organize]
}
