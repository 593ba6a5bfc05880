//! Queries of panels, put together from metric names.
//! Reads: names and labels. Writes: PromQL with Grafana's variables in it.
//! Never: forgets `job` and `instance`, which every dashboard can be narrowed to, and never uses another
//! window than the one that Grafana fits to the scrape interval. Why: hand-written queries differ in
//! exactly these two.

/// What every selector is narrowed to.
const EVERYWHERE: &str = "job=~\"$job\",instance=~\"$instance\"";

/// `name{job…,instance…}`.
pub fn of(name: &str) -> String {
    format!("{name}{{{EVERYWHERE}}}")
}

/// `name{job…,instance…,more}`.
pub fn with(name: &str, more: &str) -> String {
    format!("{name}{{{EVERYWHERE},{more}}}")
}

/// Per second, over the window that fits the scrape interval.
pub fn rate(selector: &str) -> String {
    format!("rate({selector}[$__rate_interval])")
}

/// Over the whole time range shown: for figures that are one number, not a line.
pub fn increase_shown(selector: &str) -> String {
    format!("increase({selector}[$__range])")
}

/// `sum by (by) (expr)`; all in one if `by` is empty.
pub fn sum(by: &str, expr: &str) -> String {
    aggregate("sum", by, expr)
}

/// `max by (by) (expr)`: what several processes report about the same thing counts once.
pub fn max(by: &str, expr: &str) -> String {
    aggregate("max", by, expr)
}

fn aggregate(with: &str, by: &str, expr: &str) -> String {
    if by.is_empty() { format!("{with}({expr})") } else { format!("{with} by ({by}) ({expr})") }
}

/// A counter per second, by labels.
pub fn per_second(name: &str, by: &str) -> String {
    sum(by, &rate(&of(name)))
}

/// The part of a counter that these matchers choose, per second, by labels.
pub fn per_second_where(name: &str, more: &str, by: &str) -> String {
    sum(by, &rate(&with(name, more)))
}

/// A gauge added up over processes, by labels.
pub fn total(name: &str, by: &str) -> String {
    sum(by, &of(name))
}

/// The variable `$quantile` of a histogram, by labels.
pub fn quantile(name: &str, by: &str) -> String {
    quantile_of("$quantile", &rate(&of(&format!("{name}_bucket"))), by)
}

/// A fixed quantile of increases or rates of buckets, by labels.
pub fn quantile_of(q: &str, buckets: &str, by: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
    format!("histogram_quantile({q}, {})", sum(&by, buckets))
}

/// Sum over count: the mean of a histogram, by labels. Means of stages add up; quantiles do not.
pub fn mean(name: &str, by: &str) -> String {
    let part = |suffix: &str| per_second(&format!("{name}_{suffix}"), by);
    format!("{} / {}", part("sum"), part("count"))
}

/// The share of a histogram's values that is not above a bucket's edge.
pub fn share_below(name: &str, more: &str, edge: &str) -> String {
    let fast = per_second_where(&format!("{name}_bucket"), &format!("{more},le=\"{edge}\""), "");
    format!("{fast} / {}", per_second_where(&format!("{name}_count"), more, ""))
}

/// Cells of a heat map.
pub fn cells(name: &str, more: &str) -> String {
    let selector = if more.is_empty() {
        of(&format!("{name}_bucket"))
    } else {
        with(&format!("{name}_bucket"), more)
    };
    format!("sum by (le) (increase({selector}[$__rate_interval]))")
}

/// A figure of a stream as its leader tells it: replicas would count it again.
pub fn stream(name: &str) -> String {
    max("stream_name", &with(name, "is_stream_leader=\"true\""))
}

/// A figure of a consumer as its leader tells it.
pub fn consumer(name: &str) -> String {
    max("stream_name, consumer_name", &with(name, "is_consumer_leader=\"true\""))
}

/// A figure of a server.
pub fn server(name: &str) -> String {
    max("server_name", &of(name))
}

/// How fast a figure grows that a server reports as a gauge.
pub fn growth(by: &str, name: &str, more: &str) -> String {
    let selector = if more.is_empty() { of(name) } else { with(name, more) };
    max(by, &rate(&selector))
}

/// The expression, or zero where nothing has been counted yet.
pub fn or_zero(expr: &str) -> String {
    format!("({expr}) or vector(0)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_narrowed_and_windowed() {
        assert_eq!(
            quantile("a_seconds", "channel"),
            "histogram_quantile($quantile, sum by (le, channel) (rate(a_seconds_bucket{job=~\"$job\",instance=~\"$instance\"}[$__rate_interval])))"
        );
        assert_eq!(total("a", ""), "sum(a{job=~\"$job\",instance=~\"$instance\"})");
    }
}
