//! `/guides/…`: the repository's own documents as pages, so that a link on the landing page opens something.
//! Reads: documents built into the program. Writes: HTML. Never: a path of the file system (names are looked up in
//! what was built in), HTML that a document contains, a picture, a script.

use std::borrow::Cow;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pulldown_cmark::{Alignment, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use rust_embed::RustEmbed;

use super::escaped;

#[derive(RustEmbed)]
#[folder = "../docs"]
#[include = "*.md"]
struct Docs;

/// Documents that lie beside what they are about.
const OTHERS: [(&str, &str); 8] = [
    ("README.md", include_str!("../../../README.md")),
    ("CONTRIBUTING.md", include_str!("../../../CONTRIBUTING.md")),
    ("loadtest/README.md", include_str!("../../../loadtest/README.md")),
    ("services/clinic/README.md", include_str!("../../../services/clinic/README.md")),
    ("services/chat/README.md", include_str!("../../../services/chat/README.md")),
    ("services/shop/README.md", include_str!("../../../services/shop/README.md")),
    ("services/support/README.md", include_str!("../../../services/support/README.md")),
    ("ws-edge/web/README.md", include_str!("../../../ws-edge/web/README.md")),
];

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub fn router() -> Router {
    Router::new().route("/guides", get(|| async { index() })).route(
        "/guides/{*path}",
        get(|Path(path): Path<String>| async move { guide(path.trim_end_matches('/')) }),
    )
}

/// A document by its path in the repository; a folder stands for the page that explains it.
fn document(path: &str) -> Option<Cow<'static, str>> {
    if let Some((_, text)) = OTHERS.iter().find(|(known, _)| *known == path) {
        return Some(Cow::Borrowed(text));
    }
    let file = Docs::get(path.strip_prefix("docs/")?)?;
    String::from_utf8(file.data.into_owned()).ok().map(Cow::Owned)
}

fn guide(path: &str) -> Response {
    if let Some(text) = document(path) {
        let (title, body) = rendered(&text);
        return page(
            StatusCode::OK,
            &title,
            &format!("<p class=\"where\">{}</p>{body}", escaped(path)),
        );
    }
    let folder = format!("{path}/README.md");
    if document(&folder).is_some() {
        // Relative links of the document count from its own folder.
        return (StatusCode::SEE_OTHER, [(header::LOCATION, format!("/guides/{folder}"))])
            .into_response();
    }
    let path = escaped(path);
    let body = format!(
        "<h1>A file of the repository</h1><p><code>{path}</code> is not built into the program. Open it where you \
         have Campana's source.</p>"
    );
    page(StatusCode::NOT_FOUND, "A file of the repository", &body)
}

fn index() -> Response {
    let mut found: Vec<(String, String)> = Docs::iter()
        .filter(|name| !name.contains('/'))
        .map(|name| format!("docs/{name}"))
        .chain(OTHERS.iter().map(|(path, _)| (*path).to_owned()))
        .filter_map(|path| Some((title(&document(&path)?), path)))
        .collect();
    found.sort();
    let rows = found.iter().map(|(title, path)| {
        let (title, path) = (escaped(title), escaped(path));
        format!("<li><a href=\"/guides/{path}\">{title}</a> <small>{path}</small></li>")
    });
    let body = format!("<h1>Guides</h1><ul class=\"index\">{}</ul>", rows.collect::<String>());
    page(StatusCode::OK, "Guides", &body)
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escaped(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} – Campana</title>\n\
         <link rel=\"icon\" href=\"/assets/bell.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"/landing/landing.css\">\n</head>\n<body class=\"guide\">\n\
         <a class=\"skip\" href=\"#main\">Skip to the content</a>\n<header class=\"top\">\
         <a class=\"brand\" href=\"/\"><img src=\"/assets/bell.svg\" alt=\"\" width=\"28\" height=\"28\">Campana</a>\
         <nav aria-label=\"Guides\"><a href=\"/guides\">All guides</a></nav></header>\n\
         <main id=\"main\" class=\"words\">{body}</main>\n</body>\n</html>\n"
    );
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (status, kind, super::guards(POLICY), text).into_response()
}

fn rendered(text: &str) -> (String, String) {
    let mut events: Vec<Event<'_>> = Parser::new_ext(text, Options::ENABLE_TABLES).collect();
    name_headings(&mut events);
    let events = events.into_iter().filter_map(|event| match event {
        // A document is text: what looks like HTML in it is a comment for its tools.
        Event::Html(_) | Event::InlineHtml(_) => None,
        Event::Start(Tag::Image { .. }) => {
            Some(Event::InlineHtml(CowStr::Borrowed("<em class=\"picture\">")))
        }
        // An alignment would be an inline style, which the policy refuses.
        Event::Start(Tag::Table(columns)) => {
            Some(Event::Start(Tag::Table(vec![Alignment::None; columns.len()])))
        }
        Event::End(TagEnd::Image) => Some(Event::InlineHtml(CowStr::Borrowed("</em>"))),
        other => Some(other),
    });
    let mut body = String::new();
    html::push_html(&mut body, events);
    // What is wider than a phone scrolls by itself, by keyboard too.
    let body = body
        .replace(
            "<table>",
            "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>",
        )
        .replace("</table>", "</table></div>")
        .replace("<pre>", "<pre tabindex=\"0\">")
        .replace("<th></th>", "<td></td>");
    (title(text), body)
}

/// Ids by which other documents point at headings, as GitHub makes them.
fn name_headings(events: &mut [Event<'_>]) {
    let mut seen: Vec<String> = Vec::new();
    for at in 0..events.len() {
        if !matches!(events[at], Event::Start(Tag::Heading { .. })) {
            continue;
        }
        let words: String = events[at..]
            .iter()
            .take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))))
            .filter_map(|event| match event {
                Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
                _ => None,
            })
            .collect();
        let mut name = slug(&words);
        let same = seen.iter().filter(|known| **known == name).count();
        seen.push(name.clone());
        if same > 0 {
            name = format!("{name}-{same}");
        }
        if let Event::Start(Tag::Heading { id, .. }) = &mut events[at] {
            *id = Some(CowStr::from(name));
        }
    }
}

fn slug(words: &str) -> String {
    let kept = words.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The first heading's words.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut words = String::new();
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) => inside = true,
            Event::End(TagEnd::Heading(_)) => break,
            Event::Text(text) | Event::Code(text) if inside => words.push_str(&text),
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_page_without_what_is_not_text() {
        let (title, body) = rendered(
            "# One `two`\n\n<script>x</script>\n\n<!-- mark -->\n## A b\n\n## A b\n\n![Alt](x.png)\n\n| a | |\n|---:|---|\n| 1 | 2 |\n",
        );
        assert_eq!(title, "One two");
        assert!(body.contains("<h1 id=\"one-two\">One <code>two</code></h1>"), "{body}");
        assert!(body.contains("id=\"a-b\"") && body.contains("id=\"a-b-1\""), "{body}");
        assert!(body.contains("<em class=\"picture\">Alt</em>"), "{body}");
        assert!(!body.contains("script") && !body.contains("<!--") && !body.contains("<th></th>"));
        assert!(!body.contains("style="), "{body}");
    }

    #[test]
    fn paths_are_those_of_the_repository_and_none_leaves_it() {
        assert_eq!(guide("docs/guide-service.md").status(), StatusCode::OK);
        assert_eq!(guide("services/clinic/README.md").status(), StatusCode::OK);
        assert_eq!(guide("docs/adr").headers()[header::LOCATION], "/guides/docs/adr/README.md");
        for path in ["docs/../Cargo.toml", "../README.md", "docs/images/demo.png", "etc/passwd", ""]
        {
            assert_eq!(guide(path).status(), StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(index().status(), StatusCode::OK);
    }

    #[test]
    fn every_guide_that_the_landing_page_links_is_there() {
        let page = include_str!("../../web/src/landing/landing.html");
        let linked =
            page.split("href=\"/guides/").skip(1).filter_map(|rest| rest.split('"').next());
        let linked: Vec<&str> = linked.collect();
        assert!(linked.len() > 8, "{linked:?}");
        for path in linked {
            let path = path.split('#').next().unwrap();
            assert_eq!(guide(path).status(), StatusCode::OK, "{path}");
        }
    }
}
