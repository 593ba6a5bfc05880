//! One SMTP answer: basic code, enhanced code (RFC 2034) and text lines.
//!
//! Text comes from constants and checked rules only, never from what the client sent, so an
//! answer cannot smuggle a second one.

use bytes::{BufMut, BytesMut};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// Empty for the answers that carry none: greeting, EHLO, 3xx.
    pub enhanced: String,
    pub lines: Vec<String>,
}

impl Reply {
    pub fn new(code: u16, enhanced: &str, text: &str) -> Self {
        Self { code, enhanced: enhanced.to_owned(), lines: vec![text.to_owned()] }
    }

    pub fn lines(code: u16, lines: Vec<String>) -> Self {
        Self { code, enhanced: String::new(), lines }
    }

    pub fn write(&self, out: &mut BytesMut) {
        let last = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate() {
            let mark = if index == last { ' ' } else { '-' };
            let space = if self.enhanced.is_empty() { "" } else { " " };
            let text = format!("{}{mark}{}{space}{line}\r\n", self.code, self.enhanced);
            out.put_slice(text.as_bytes());
        }
    }
}
