//! Limits and dialect of templates.

use serde_json::json;

use super::*;
use crate::plan::ChannelTemplate;

fn template(text: &str) -> Result<CompiledTemplate, RenderError> {
    CompiledTemplate::compile(&TemplateView {
        key: "t".to_owned(),
        channels: BTreeMap::from([(
            Channel::Email,
            ChannelTemplate {
                title: Some("  {{ name }}\n ok ".to_owned()),
                text: Some(text.to_owned()),
                html: Some(text.to_owned()),
                url: None,
            },
        )]),
    })
}

fn data() -> serde_json::Map<String, serde_json::Value> {
    let json = json!({
        "name": "{{7*7}} <b>&", "n": 3, "price": 2.5, "yes": true, "none": null,
        "list": ["a", "b", 3], "rows": [{"k": "x", "v": 1}, {"k": "y", "v": 2}], "big": "x".repeat(60_000),
        "many": (0..1000).collect::<Vec<_>>(),
    });
    json.as_object().unwrap().clone()
}

fn render(text: &str) -> Result<Rendered, RenderError> {
    template(text)?.render(Channel::Email, &data(), "alice").map(Option::unwrap)
}

#[test]
fn data_is_data_and_only_html_is_escaped() {
    let rendered = render("Hello {{ name }}").unwrap();
    assert_eq!(rendered.text, "Hello {{7*7}} <b>&");
    assert_eq!(rendered.html.unwrap(), "Hello {{7*7}} &lt;b&gt;&amp;");
    assert_eq!(rendered.title, "{{7*7}} <b>& ok");
}

#[test]
fn the_dialect_has_what_messages_need() {
    for (source, expected) in [
        ("{{ n }}/{{ price }}/{{ yes }}/{{ none }}", "3/2.5/True/"),
        ("{{ list|join(', ') }}", "a, b, 3"),
        ("{% for row in rows %}{{ row.k }}={{ row['v'] }};{% endfor %}", "x=1;y=2;"),
        (
            "{% for row in rows if row.v > 1 %}{{ loop.index }}{{ row.k }}{% else %}none{% endfor %}",
            "1y",
        ),
        ("{% if missing %}a{% elif n == 3 and not none %}b{% else %}c{% endif %}", "b"),
        ("{{ missing|default('friend') }}", "friend"),
        ("{{ 'ab'|upper }}{{ 'AB'|lower }}{{ 'hELLO'|capitalize }}{{ ' x '|trim }}", "ABabHellox"),
        ("{{ rows[0].k ~ '-' ~ (n + 1) }}", "x-4"),
        (
            "{{ price|round(2) }} {{ price|int }} {{ list|length }} {{ list|first }} {{ list|last }}",
            "2.50 2 3 a 3",
        ),
        ("{{ 'a.b.c'|replace('.', '-') }} {{ 'abcdef'|truncate(4) }}", "a-b-c abc…"),
        ("{# a comment * [1,2] #}price * 2 + [1, 2] { } ~", "price * 2 + [1, 2] { } ~"),
        ("{{ name|upper | lower|e }}", "{{7*7}} &lt;b&gt;&amp;"),
        ("{{ recipient.id }}", "alice"),
    ] {
        assert_eq!(
            render(source).map(|rendered| rendered.text).as_deref(),
            Ok(expected),
            "{source}"
        );
    }
}

#[test]
fn what_has_no_value_is_an_error_that_names_the_part() {
    let error = render("{{ missing }}").unwrap_err();
    assert_eq!(error.part, "email.text");
    assert!(render("{{ missing.deeper }}").is_err());
    assert!(render("{{ list }}").is_err(), "a list has no text");
}

#[test]
fn constructs_that_grow_values_are_refused() {
    let doubling: String = (0..40).map(|_| "{% set a = a ~ a %}").collect();
    let loops = |list: &str| format!("{{% for b in {list} %}}{{{{ b }}}}{{% endfor %}}");
    for source in [
        doubling.as_str(),
        "{% set a %}{{ n }}{{ n }}{% endset %}",
        "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('x') }}",
        "{% for x in rows recursive %}{{ loop(rows) }}{% endfor %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% raw %}{{ }}{% endraw %}",
        "{%- filter upper %}x{% endfilter %}",
        "{{ 'x' * 100000000 }}",
        "{{ 2 ** 100 }}",
        "{{ name ~ name ~ name ~ name ~ name ~ name ~ name ~ name ~ name ~ name }}",
        "{{ [n, n]|join }}",
        "{{ {'a': n} }}",
        &loops("[n, n]"),
        &loops("(n, n)"),
        &loops("n, n"),
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{{ namespace(x=1) }}",
        "{{ big|replace('x', 'yyyyyyyyyyyyyyyy') }}",
        "{{ 'a'|tojson }}",
        "{{ n",
    ] {
        assert!(render(source).is_err(), "{source}");
    }
}

#[test]
fn steps_and_output_are_bounded() {
    let error = render("{% for a in many %}{% for b in many %}{% for c in many %}{% endfor %}{% endfor %}{% endfor %}").unwrap_err();
    assert!(error.reason.contains("steps"), "{error}");
    let error = render("{{ big }}{{ big }}{{ big }}{{ big }}{{ big }}").unwrap_err();
    assert!(error.reason.contains("longer"), "{error}");
    assert!(template(&"x".repeat(SOURCE_BYTES_MAX + 1)).is_err());
}

#[test]
fn equal_sources_have_equal_fingerprints() {
    assert_eq!(template("a").unwrap().hash, template("a").unwrap().hash);
    assert_ne!(template("a").unwrap().hash, template("b").unwrap().hash);
}

#[test]
fn what_leaves_the_dialect_is_found_before_anything_is_sent() {
    for source in [
        "{{ a|nosuch }}",
        "{{ a | nosuch('x') }}",
        "{% if a|tojson == 1 %}{% endif %}",
        "{% set a = 1 %}",
        "{{ a",
        "{{ [1] }}",
    ] {
        assert!(template(source).is_err(), "{source}");
    }
    for filter in guard::FILTERS {
        assert!(template(&format!("{{{{ a|{filter} }}}}")).is_ok(), "{filter}");
        let error = render(&format!("{{{{ n|{filter} }}}}")).err().map(|error| error.reason);
        assert!(
            !error.as_deref().unwrap_or_default().contains("unknown filter"),
            "{filter}: {error:?}"
        );
    }
}
