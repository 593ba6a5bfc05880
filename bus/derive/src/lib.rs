//! `#[derive(Event)]`, re-exported by `campana-bus` beside the trait of the same name.
//! Reads: the struct and its `#[event(…)]`. Writes: one `impl`. Never: hides behaviour; whatever the macro
//! writes, an author can write by hand.

mod subject;

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident, LitInt, LitStr, Path, parse_macro_input};

use subject::{Subject, Tenant};

/// Implements `campana_bus::Event` for a struct with named fields.
///
/// ```text
/// #[derive(Serialize, Deserialize, JsonSchema, Event)]
/// #[event(subject = "app.{tenant}.shop.order_created.{order}", version = 2, id = "order", upcast = from_v1)]
/// struct OrderCreated { tenant: String, order: u64 }
/// ```
///
/// * `subject` (required): `app.TENANT.SERVICE.EVENT`, or with a fifth token `{field}`, the ordering key. TENANT
///   is a name or a `{field}` that is `AsRef<str>`; the key's field is `Display`. Checked at compile time.
/// * `version`: 1 if left out.
/// * `id`: the field (`Display`) that is the same when the same event is told again.
/// * `upcast`: a function `fn(u32, Value) -> Result<Value, UpcastError>` for bodies of older versions.
///
/// The JSON Schema comes from `schemars::JsonSchema`, which the type must derive as well.
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// What stands in `#[event(…)]`.
#[derive(Default)]
struct Options {
    subject: Option<LitStr>,
    version: Option<LitInt>,
    id: Option<LitStr>,
    upcast: Option<Path>,
}

impl Options {
    fn of(input: &DeriveInput) -> syn::Result<Self> {
        let mut options = Self::default();
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("event")) {
            attribute.parse_nested_meta(|meta| {
                let name = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
                let twice = match name.as_str() {
                    "subject" => options.subject.replace(meta.value()?.parse()?).is_some(),
                    "version" => options.version.replace(meta.value()?.parse()?).is_some(),
                    "id" => options.id.replace(meta.value()?.parse()?).is_some(),
                    "upcast" => options.upcast.replace(meta.value()?.parse()?).is_some(),
                    _ => return Err(meta.error("expected `subject`, `version`, `id` or `upcast`")),
                };
                if twice { Err(meta.error("said twice")) } else { Ok(()) }
            })?;
        }
        Ok(options)
    }
}

fn expand(input: &DeriveInput) -> syn::Result<Tokens> {
    let fields = named_fields(input)?;
    let options = Options::of(input)?;
    let literal = options.subject.as_ref().ok_or_else(|| {
        let hint = "an event needs #[event(subject = \"app.{tenant}.service.event\")]";
        syn::Error::new(input.ident.span(), hint)
    })?;
    let Subject { tenant, service, event, key } =
        subject::parse(&literal.value()).map_err(|why| syn::Error::new(literal.span(), why))?;
    let version = version(options.version.as_ref())?;
    let tenant = match tenant {
        Tenant::Fixed(name) => quote!(#name),
        Tenant::Field(name) => {
            let (field, span) = find(fields, &name, literal.span())?;
            quote_spanned!(span=> ::core::convert::AsRef::<str>::as_ref(&self.#field))
        }
    };
    let key = key.map(|name| text_of(fields, "key", &name, literal.span())).transpose()?;
    let id = options.id.as_ref();
    let id = id.map(|id| text_of(fields, "id", &id.value(), id.span())).transpose()?;
    let upcast = options.upcast.map(|path| {
        quote! {
            fn upcast(
                version: u32,
                body: ::campana_bus::contract::Value,
            ) -> ::core::result::Result<::campana_bus::contract::Value, ::campana_bus::contract::UpcastError> {
                #path(version, body)
            }
        }
    });
    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::campana_bus::Event for #name #arguments #bounds {
            const SERVICE: &'static str = #service;
            const NAME: &'static str = #event;
            const VERSION: u32 = #version;
            const SUBJECT: &'static str = #literal;
            fn tenant(&self) -> &str { #tenant }
            #key
            #id
            #upcast
            fn schema() -> ::campana_bus::contract::Schema {
                ::campana_bus::contract::schema_of::<Self>()
            }
        }
    })
}

fn named_fields(input: &DeriveInput) -> syn::Result<&Fields> {
    match &input.data {
        Data::Struct(data) if matches!(data.fields, Fields::Named(_)) => Ok(&data.fields),
        _ => Err(syn::Error::new(
            input.ident.span(),
            "an event is a struct with named fields: only those can grow without breaking readers",
        )),
    }
}

fn version(literal: Option<&LitInt>) -> syn::Result<u32> {
    let Some(literal) = literal else { return Ok(1) };
    literal
        .base10_parse()
        .ok()
        .filter(|version| *version >= 1)
        .ok_or_else(|| syn::Error::new(literal.span(), "a version is a number from 1 on"))
}

/// The method that gives a field as text.
fn text_of(fields: &Fields, method: &str, name: &str, at: Span) -> syn::Result<Tokens> {
    let (field, span) = find(fields, name, at)?;
    let method = Ident::new(method, Span::call_site());
    let value = quote_spanned!(span=> ::std::string::ToString::to_string(&self.#field));
    Ok(quote! {
        fn #method(&self) -> ::core::option::Option<::std::string::String> {
            ::core::option::Option::Some(#value)
        }
    })
}

/// A field and where its type stands, so that a missing trait is reported there.
fn find<'a>(fields: &'a Fields, name: &str, at: Span) -> syn::Result<(&'a Ident, Span)> {
    let all: Vec<String> =
        fields.iter().filter_map(|field| Some(format!("`{}`", field.ident.as_ref()?))).collect();
    let found = fields.iter().find_map(|field| {
        let ident = field.ident.as_ref()?;
        (ident == name).then(|| (ident, Span::call_site().located_at(field.ty.span())))
    });
    found.ok_or_else(|| {
        let known = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        syn::Error::new(at, format!("there is no field `{name}`; the fields are {known}"))
    })
}

#[cfg(test)]
mod tests;
