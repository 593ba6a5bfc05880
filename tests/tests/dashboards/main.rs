//! The committed dashboards: Grafana's schema, PromQL, and every query against a real Prometheus.
//! Reads: `dashboards/`, `CAMPANA_VENV`, `PROMETHEUS_BIN`, `CAMPANA_BIN`. Writes: temporary folders.
//! Never: starts a Grafana; there is none to be had as a package.

mod harness;
mod live;
mod load;
mod written;
