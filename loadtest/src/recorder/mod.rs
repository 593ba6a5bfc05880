//! HdrHistogram interval logs: one file for each step and channel, a histogram a second, in the
//! text form that the standard tools read. Untagged lines are from the intended send, lines with
//! `Tag=actual` from the actual one; values are nanoseconds, the maximum column milliseconds.
//! Writes these files only; decides nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use time::OffsetDateTime;

use crate::failure::Failure;
use crate::ledger::IntervalLog;

const ACTUAL: &str = "actual";
const NAME_CHARS_MAX: usize = 60;

/// The logs of a run.
pub struct Recorder {
    dir: PathBuf,
    started_at: OffsetDateTime,
    steps: BTreeMap<u32, String>,
    files: BTreeMap<(u32, &'static str), BufWriter<File>>,
}

impl Recorder {
    /// Logs into a folder, which is made; seconds count from `started_at`.
    pub fn new(dir: &Path, started_at: OffsetDateTime) -> Result<Self, Failure> {
        fs::create_dir_all(dir).map_err(|error| Failure::failed(dir.display(), error))?;
        Ok(Self { dir: dir.to_owned(), started_at, steps: BTreeMap::new(), files: BTreeMap::new() })
    }

    /// Names the files of a step: `<number>-<name>-<channel>.hlog`.
    pub fn open_step(&mut self, number: u32, name: &str) {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = name.chars().take(NAME_CHARS_MAX).map(plain).collect();
        self.steps.insert(number, name);
    }

    /// Writes what [`crate::ledger::Ledger::take_intervals`] gave.
    pub fn write(&mut self, intervals: &[IntervalLog]) -> Result<(), Failure> {
        for interval in intervals {
            self.write_one(interval).map_err(|error| Failure::failed("interval log", error))?;
        }
        Ok(())
    }

    fn write_one(&mut self, interval: &IntervalLog) -> Result<(), String> {
        let key = (interval.step, interval.channel.name());
        let fresh = !self.files.contains_key(&key);
        if fresh {
            let path = self.path(interval.step, key.1);
            let file = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            self.files.insert(key, BufWriter::new(file));
        }
        let Some(file) = self.files.get_mut(&key) else { return Ok(()) };
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_max_value_divisor(1e6);
        let mut head = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        if fresh {
            builder
                .add_comment("[Histogram log format version 1.3]")
                .add_comment("nanoseconds from the intended send; Tag=actual from the actual one")
                .with_base_time(self.started_at.into())
                .with_start_time(self.started_at.into());
        }
        let mut log = builder
            .begin_log_with(&mut head, &mut serializer)
            .map_err(|error| error.to_string())?;
        let from = Duration::from_secs(u64::from(interval.from_s));
        for (histogram, tag) in [(&interval.intended, None), (&interval.actual, Tag::new(ACTUAL))] {
            log.write_histogram(histogram, from, Duration::from_secs(1), tag)
                .map_err(|error| format!("{error:?}"))?;
        }
        // Only the first lines of a file belong at its head.
        let text = if fresh { &head[..] } else { without_comments(&head) };
        file.write_all(text).map_err(|error| error.to_string())
    }

    fn path(&self, step: u32, channel: &str) -> PathBuf {
        let name = self.steps.get(&step).map_or("step", String::as_str);
        self.dir.join(format!("{:02}-{name}-{channel}.hlog", step + 1))
    }

    /// Ends the files of a step; `saturated` values were above what a histogram holds.
    pub fn close_step(&mut self, number: u32, saturated: u64) -> Result<(), Failure> {
        let keys: Vec<_> = self.files.keys().filter(|key| key.0 == number).copied().collect();
        for key in keys {
            let Some(mut file) = self.files.remove(&key) else { continue };
            let note = if saturated > 0 {
                writeln!(file, "#{saturated} values above ten minutes are written as ten minutes")
            } else {
                Ok(())
            };
            note.and_then(|()| file.flush())
                .map_err(|error| Failure::failed("interval log", error))?;
        }
        Ok(())
    }
}

fn without_comments(mut text: &[u8]) -> &[u8] {
    while text.first() == Some(&b'#') {
        let end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
        text = &text[end..];
    }
    text
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::intake::Channel;
    use crate::model;

    #[test]
    fn a_log_is_read_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder =
            Recorder::new(&dir.path().join("hdr"), OffsetDateTime::UNIX_EPOCH).unwrap();
        recorder.open_step(0, "open 5000/s");
        for from_s in 0..3_u32 {
            let mut intended = model::histogram();
            intended.record_n(5_000_000, u64::from(from_s) + 1).unwrap();
            let mut actual = model::histogram();
            actual.record(1_000_000).unwrap();
            let log = IntervalLog { step: 0, channel: Channel::InApp, from_s, intended, actual };
            recorder.write(&[log]).unwrap();
        }
        recorder.close_step(0, 2).unwrap();
        let text = fs::read_to_string(dir.path().join("hdr/01-open-5000-s-in_app.hlog")).unwrap();
        assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
        assert_eq!(text.matches("BaseTime").count(), 1);
        assert!(text.contains("#2 values above"));
        let (mut sum, mut tagged) = (model::histogram(), 0);
        for entry in IntervalLogIterator::new(text.as_bytes()) {
            let LogEntry::Interval(interval) = entry.unwrap() else { continue };
            let bytes = base64::Engine::decode(
                &base64::engine::general_purpose::STANDARD,
                interval.encoded_histogram(),
            )
            .unwrap();
            let read: Histogram<u64> =
                Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            match interval.tag() {
                Some(tag) => {
                    assert_eq!(tag.as_str(), ACTUAL);
                    tagged += 1;
                }
                None => sum.add(read).unwrap(),
            }
        }
        assert_eq!((sum.len(), tagged), (6, 3));
        assert!(sum.equivalent(sum.max(), 5_000_000));
    }
}
