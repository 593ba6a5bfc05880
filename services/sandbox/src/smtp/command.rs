//! One command line to one [`Command`]: pure. The grammar (paths, ESMTP parameters, mechanisms)
//! is the library's; this module keeps what the receiver offers and names the refusals.

use smtp_proto::{AUTH_LOGIN, AUTH_PLAIN, Error, MAIL_BODY_BINARYMIME, Request};

use super::reply::Reply;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Helo { host: String },
    Ehlo { host: String },
    Mail { from: String, size: usize },
    Rcpt { to: String },
    Data,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
    AuthPlain { initial: Option<String> },
    AuthLogin { initial: Option<String> },
}

/// Parses one line without its CRLF; a refusal is the answer to give.
pub fn parse(line: &[u8]) -> Result<Command, Reply> {
    let Ok(text) = std::str::from_utf8(line) else {
        return Err(Reply::new(500, "5.5.2", "command is not valid UTF-8"));
    };
    let whole = format!("{text}\r\n");
    let request = Request::parse(&mut whole.as_bytes().iter()).map_err(refusal)?;
    let command = match request.into_owned() {
        Request::Helo { host } => Command::Helo { host },
        Request::Ehlo { host } => Command::Ehlo { host },
        Request::Mail { from } if from.flags & MAIL_BODY_BINARYMIME != 0 => {
            return Err(Reply::new(555, "5.5.4", "BINARYMIME is not offered"));
        }
        Request::Mail { from } => Command::Mail { from: from.address, size: from.size },
        Request::Rcpt { to } if to.address.is_empty() => {
            return Err(Reply::new(553, "5.1.3", "recipient is empty"));
        }
        Request::Rcpt { to } => Command::Rcpt { to: to.address },
        Request::Data => Command::Data,
        Request::Rset => Command::Rset,
        Request::Noop { .. } => Command::Noop,
        Request::Vrfy { .. } => Command::Vrfy,
        Request::Help { .. } => Command::Help,
        Request::Quit => Command::Quit,
        Request::Auth { mechanism, initial_response } => {
            let initial = Some(initial_response).filter(|text| !text.is_empty());
            match mechanism {
                AUTH_PLAIN => Command::AuthPlain { initial },
                AUTH_LOGIN => Command::AuthLogin { initial },
                _ => return Err(Reply::new(504, "5.5.4", "mechanism is not offered")),
            }
        }
        _ => return Err(Reply::new(502, "5.5.1", "command is not offered")),
    };
    Ok(command)
}

fn refusal(error: Error) -> Reply {
    match error {
        Error::UnknownCommand => Reply::new(500, "5.5.2", "unknown command"),
        Error::InvalidSenderAddress => Reply::new(501, "5.1.7", "bad sender address"),
        Error::InvalidRecipientAddress => Reply::new(501, "5.1.3", "bad recipient address"),
        Error::SyntaxError { syntax } => Reply::new(501, "5.5.4", &format!("syntax: {syntax}")),
        Error::InvalidParameter { param } => {
            Reply::new(501, "5.5.4", &format!("bad parameter {param}"))
        }
        Error::UnsupportedParameter { .. } => Reply::new(555, "5.5.4", "parameter is not offered"),
        _ => Reply::new(500, "5.5.2", "syntax error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> u16 {
        parse(line.as_bytes()).unwrap_err().code
    }

    #[test]
    fn commands_are_case_insensitive_and_carry_their_parameters() {
        let mail = |from: &str, size| Ok(Command::Mail { from: from.to_owned(), size });
        assert_eq!(
            parse(b"ehlo [127.0.0.1]"),
            Ok(Command::Ehlo { host: "[127.0.0.1]".to_owned() })
        );
        assert_eq!(parse(b"MAIL FROM:<a@x.test> SIZE=12 BODY=8BITMIME"), mail("a@x.test", 12));
        assert_eq!(parse(b"mail from:<>"), mail("", 0));
        assert_eq!(
            parse(b"RCPT TO:<b+c@x.test>"),
            Ok(Command::Rcpt { to: "b+c@x.test".to_owned() })
        );
        assert_eq!(parse(b"AUTH PLAIN"), Ok(Command::AuthPlain { initial: None }));
        let initial = Some("AGEAYg==".to_owned());
        assert_eq!(parse(b"AUTH PLAIN AGEAYg=="), Ok(Command::AuthPlain { initial }));
        assert_eq!(parse(b"quit"), Ok(Command::Quit));
    }

    #[test]
    fn refusals_have_the_right_codes() {
        assert_eq!(code("HELLO"), 500);
        assert_eq!(code(""), 500);
        assert_eq!(code("GET / HTTP/1.1"), 500);
        assert_eq!(code("EHLO"), 501);
        assert_eq!(code("MAIL TO:<a@x>"), 501);
        assert_eq!(code("MAIL FROM:a@x.test"), 501);
        assert_eq!(code("MAIL FROM:<a@x.test> COLOUR=red"), 555);
        assert_eq!(code("MAIL FROM:<a@x.test> SIZE=many"), 501);
        assert_eq!(code("MAIL FROM:<a@x.test> BODY=BINARYMIME"), 555);
        assert_eq!(code("RCPT TO:<>"), 553);
        assert_eq!(code("AUTH CRAM-MD5"), 504);
        assert_eq!(code("STARTTLS"), 502);
        assert_eq!(code("BDAT 10 LAST"), 502);
        assert_eq!(parse(b"EHLO \xff\xfe").unwrap_err().code, 500);
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line: Vec<u8>) {
            let _ = parse(&line);
        }

        #[test]
        fn no_argument_makes_the_parser_panic(
            verb in "(EHLO|MAIL FROM:|RCPT TO:|AUTH|NOOP|BDAT|ATRN|BURL)",
            rest in "[ -~]{0,80}",
        ) {
            let answered = parse(format!("{verb}{rest}").as_bytes());
            if let Err(reply) = answered {
                proptest::prop_assert!((500..=555).contains(&reply.code));
                let safe = |line: &String| !line.contains(['\r', '\n']);
                proptest::prop_assert!(reply.lines.iter().all(safe));
            }
        }
    }
}
