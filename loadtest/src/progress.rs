//! Progress on stderr, on a terminal only: a pipe or a log gets nothing but results.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whether there is anybody to show progress to.
pub fn is_shown(quiet: bool) -> bool {
    !quiet && std::io::stderr().is_terminal()
}

/// A bar of `length` steps under a title; hidden if it is to be quiet or stderr is not a terminal.
pub fn bar(title: &str, length: u64, quiet: bool) -> ProgressBar {
    let target =
        if is_shown(quiet) { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    // The template is a constant; should it ever be wrong, the default bar does.
    let style = ProgressStyle::with_template("{prefix:<28} {bar:32.cyan/dim} {pos:>6}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_prefix(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
