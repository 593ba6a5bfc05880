//! What a dashboard is: rows of panels, with variables.
//! Reads: nothing. Writes: nothing; `render` turns it into the JSON that Grafana loads.
//! Never: knows a metric. Why: a panel without a title, a description, a unit or a query cannot be written
//! by mistake, because its constructors ask for them.

/// One dashboard.
pub struct Board {
    /// File name and the end of the uid.
    pub slug: &'static str,
    pub title: &'static str,
    /// The question that it answers.
    pub about: &'static str,
    pub variables: Vec<Variable>,
    pub rows: Vec<Row>,
    /// Start of the time range, for example `now-1h`.
    pub from: &'static str,
    /// How often it asks again.
    pub refresh: &'static str,
}

/// A heading and its panels, from left to right.
pub struct Row {
    pub title: &'static str,
    pub panels: Vec<Panel>,
}

/// Something that the reader chooses at the top.
pub enum Variable {
    Datasource,
    /// Values of a label.
    Labels {
        name: &'static str,
        label: &'static str,
        about: &'static str,
        query: &'static str,
        /// Several or all; otherwise exactly one.
        many: bool,
    },
    /// A fixed list; the first is chosen.
    Fixed {
        name: &'static str,
        label: &'static str,
        about: &'static str,
        values: &'static [&'static str],
    },
}

/// How a panel draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Lines,
    /// Areas on top of each other.
    Stacked,
    Stat,
    Gauge,
    Bars,
    Heatmap,
    Table,
    States,
    Text,
}

/// One query of a panel.
pub struct Target {
    pub expr: String,
    pub legend: &'static str,
}

/// From this value on, this colour.
pub type Step = (f64, &'static str);

/// One panel.
pub struct Panel {
    pub kind: Kind,
    pub title: &'static str,
    pub about: &'static str,
    pub unit: &'static str,
    /// Of 24 columns.
    pub width: i64,
    pub height: i64,
    pub targets: Vec<Target>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub decimals: Option<i64>,
    pub steps: Vec<Step>,
    /// Numbers that have a name and a colour.
    pub names: Vec<(&'static str, &'static str, &'static str)>,
    /// Columns of a table: label or `Value #A`, and its heading; other columns are hidden.
    pub columns: Vec<(&'static str, &'static str)>,
    /// Of a text panel.
    pub markdown: &'static str,
    /// Why its windows are fixed, if they are.
    pub fixed_window: Option<&'static str>,
}

impl Panel {
    fn new(
        kind: Kind,
        title: &'static str,
        about: &'static str,
        unit: &'static str,
        size: (i64, i64),
    ) -> Self {
        Self {
            kind,
            title,
            about,
            unit,
            width: size.0,
            height: size.1,
            targets: Vec::new(),
            min: Some(0.0),
            max: None,
            decimals: None,
            steps: Vec::new(),
            names: Vec::new(),
            columns: Vec::new(),
            markdown: "",
            fixed_window: None,
        }
    }

    /// Lines over time.
    pub fn lines(title: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self::new(Kind::Lines, title, about, unit, (8, 8))
    }

    /// Areas on top of each other over time: parts of one whole.
    pub fn stacked(title: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self::new(Kind::Stacked, title, about, unit, (8, 8))
    }

    /// One number.
    pub fn stat(title: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self::new(Kind::Stat, title, about, unit, (3, 4))
    }

    /// One number between two ends.
    pub fn gauge(title: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self::new(Kind::Gauge, title, about, unit, (6, 8))
    }

    /// A bar for each series.
    pub fn bars(title: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self::new(Kind::Bars, title, about, unit, (8, 8))
    }

    /// A histogram over time.
    pub fn heatmap(title: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self::new(Kind::Heatmap, title, about, unit, (12, 9))
    }

    /// A row for each set of labels.
    pub fn table(
        title: &'static str,
        about: &'static str,
        columns: &[(&'static str, &'static str)],
    ) -> Self {
        let panel = Self::new(Kind::Table, title, about, "short", (12, 9));
        Self { columns: columns.to_vec(), ..panel }
    }

    /// A band for each series, coloured by what the number means.
    pub fn states(
        title: &'static str,
        about: &'static str,
        names: &[(&'static str, &'static str, &'static str)],
    ) -> Self {
        let panel = Self::new(Kind::States, title, about, "none", (8, 8));
        Self { names: names.to_vec(), ..panel }
    }

    /// Words.
    pub fn text(title: &'static str, about: &'static str, markdown: &'static str) -> Self {
        Self { markdown, ..Self::new(Kind::Text, title, about, "none", (24, 4)) }
    }

    /// One more query.
    pub fn query(mut self, legend: &'static str, expr: impl Into<String>) -> Self {
        self.targets.push(Target { expr: expr.into(), legend });
        self
    }

    /// Of 24 columns.
    pub fn wide(self, width: i64) -> Self {
        Self { width, ..self }
    }

    pub fn high(self, height: i64) -> Self {
        Self { height, ..self }
    }

    /// The end of the scale.
    pub fn up_to(self, max: f64) -> Self {
        Self { max: Some(max), ..self }
    }

    pub fn decimals(self, decimals: i64) -> Self {
        Self { decimals: Some(decimals), ..self }
    }

    /// Colours from these values on; below the first it is `base`.
    pub fn colours(mut self, base: &'static str, steps: &[Step]) -> Self {
        self.steps = vec![(f64::NEG_INFINITY, base)];
        self.steps.extend_from_slice(steps);
        self
    }

    /// Numbers that have a name and a colour.
    pub fn named(self, names: &[(&'static str, &'static str, &'static str)]) -> Self {
        Self { names: names.to_vec(), ..self }
    }

    /// The windows of its queries are what the panel is about.
    pub fn fixed_window(self, why: &'static str) -> Self {
        Self { fixed_window: Some(why), ..self }
    }
}

/// Variables that every dashboard has.
pub fn common_variables() -> Vec<Variable> {
    vec![
        Variable::Datasource,
        Variable::Labels {
            name: "job",
            label: "Job",
            about: "Scrape jobs: the platform, and the load generator while it runs",
            query: "label_values({__name__=~\"campana_build_info|campana_loadtest_info\"}, job)",
            many: true,
        },
        Variable::Labels {
            name: "instance",
            label: "Instance",
            about: "Processes that are scraped",
            query: "label_values({__name__=~\"campana_build_info|campana_loadtest_info\",job=~\"$job\"}, instance)",
            many: true,
        },
        Variable::Fixed {
            name: "quantile",
            label: "Quantile",
            about: "Which quantile the panels of durations show",
            values: &["0.99", "0.5", "0.9", "0.95", "0.999"],
        },
    ]
}
