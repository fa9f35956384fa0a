//! Attributes that register integration tests, so that no list repeats their names. What they expand to is a call of
//! `crate::registry` in the program that uses them; the registry says how the tests are run.

use proc_macro::{TokenStream, TokenTree};

/// Registers a function as a test, with what it needs: `#[test(Root, Program("xz"))]`. The words are those of
/// `registry::Need`, or constants of the module.
#[proc_macro_attribute]
pub fn test(needs: TokenStream, function: TokenStream) -> TokenStream {
    register(function, |name| {
        format!("single(module_path!(), \"{name}\", {{ use crate::registry::Need::*; &[{needs}] }}, {name})")
    })
}

/// Registers the tests that a function returns, which are the same for several cases.
#[proc_macro_attribute]
pub fn test_cases(_: TokenStream, function: TokenStream) -> TokenStream {
    register(function, |name| format!("cases(module_path!(), {name})"))
}

/// Adds to a function the registration that is made of its name.
fn register(function: TokenStream, registration: impl FnOnce(&str) -> String) -> TokenStream {
    let is_fn = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn");
    let name = function.clone().into_iter().skip_while(|token| !is_fn(token)).nth(1).expect("this is for functions");
    let submit = format!("::inventory::submit! {{ crate::registry::Entry::{} }}", registration(&name.to_string()));
    let submit: TokenStream = submit.parse().expect("this is well-formed");
    function.into_iter().chain(submit).collect()
}
