//! What the macro writes, and what it says when it cannot.

use syn::parse_quote;

use super::*;

fn written(input: &DeriveInput) -> String {
    expand(input).unwrap().to_string().replace([' ', '\n'], "")
}

fn said(input: &DeriveInput) -> String {
    expand(input).unwrap_err().to_string()
}

#[test]
fn everything_that_is_said_is_written() {
    let code = written(&parse_quote! {
        #[event(subject = "app.{shop}.shop.order_created.{order}", version = 3)]
        #[event(id = "number", upcast = old::bring_up)]
        struct OrderCreated { shop: String, order: u64, number: String }
    });
    for part in [
        "impl::campana_bus::EventforOrderCreated",
        "SERVICE:&'staticstr=\"shop\"",
        "NAME:&'staticstr=\"order_created\"",
        "VERSION:u32=3u32",
        "SUBJECT:&'staticstr=\"app.{shop}.shop.order_created.{order}\"",
        "AsRef::<str>::as_ref(&self.shop)",
        "fnkey(&self)",
        "to_string(&self.order)",
        "fnid(&self)",
        "to_string(&self.number)",
        "old::bring_up(version,body)",
    ] {
        assert!(code.contains(part), "{part} is not in {code}");
    }
}

#[test]
fn what_is_not_said_is_left_to_the_trait() {
    let code = written(&parse_quote! {
        #[event(subject = "app.default.shop.order_created")]
        struct OrderCreated<T> where T: Clone { body: T }
    });
    assert!(code.contains("fntenant(&self)->&str{\"default\"}"), "{code}");
    assert!(code.contains("VERSION:u32=1u32"), "{code}");
    assert!(code.contains("impl<T>::campana_bus::EventforOrderCreated<T>whereT:Clone"), "{code}");
    for part in ["fnkey", "fnid", "fnupcast"] {
        assert!(!code.contains(part), "{part} is in {code}");
    }
}

#[test]
fn mistakes_are_explained() {
    let cases: [(DeriveInput, &str); 10] = [
        (parse_quote! { struct A { x: u8 } }, "needs #[event(subject ="),
        (
            parse_quote! { #[event(subject = "app.{tenant}.shop.ordered")] struct A { x: u8 } },
            "there is no field `tenant`; the fields are `x`",
        ),
        (
            parse_quote! { #[event(subject = "app.default.shop.ordered.{order}")] struct A {} },
            "there is no field `order`; the fields are none",
        ),
        (
            parse_quote! { #[event(subject = "app.default.shop.ordered", id = "y")] struct A { x: u8 } },
            "there is no field `y`",
        ),
        (
            parse_quote! { #[event(subject = "app.default.Shop.ordered")] struct A { x: u8 } },
            "is not a name",
        ),
        (
            parse_quote! { #[event(subject = "app.default.shop.ordered", version = 0)] struct A { x: u8 } },
            "a number from 1 on",
        ),
        (
            parse_quote! { #[event(subject = "app.default.shop.ordered", version = 4294967296)] struct A {} },
            "a number from 1 on",
        ),
        (
            parse_quote! { #[event(subject = "app.default.shop.ordered", key = "x")] struct A { x: u8 } },
            "expected `subject`, `version`, `id` or `upcast`",
        ),
        (parse_quote! { #[event(version = 1, version = 2)] struct A { x: u8 } }, "said twice"),
        (
            parse_quote! { #[event(subject = "app.default.shop.ordered")] enum A { B } },
            "a struct with named fields",
        ),
    ];
    for (input, expected) in cases {
        let said = said(&input);
        assert!(said.contains(expected), "{said}");
    }
}
