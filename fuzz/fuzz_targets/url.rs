//! Locations: a user's name and password are never shown, and the names beside an image lie beside it.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bmaptool::source::{InvalidUrl, Location, Url};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let location = match Location::parse(OsStr::from_bytes(data)) {
        Ok(location) => location,
        Err(error) => {
            return assert_hidden(&String::from_utf8_lossy(data), &error);
        }
    };
    location.named_format();
    let beside = location.bmap_candidates();
    for name in beside.iter().chain(&location.with_ending(".asc")) {
        assert_beside(name, &location);
    }
    if let Location::Url(url) = &location {
        let shown = parse(&url.to_string());
        assert_eq!((shown.user(), shown.password()), (None, None));
        assert_eq!((shown.host(), shown.port(), shown.path()), (url.host(), url.port(), url.path()));
        assert_eq!(shown.protocol(), url.protocol());
        assert_eq!(format!("{url:?}"), url.to_string());
        assert_eq!(format!("{location:?}"), format!("Url({url})"));
        // What is shown of one without credentials is all of it.
        assert!(shown == *url || url.user().is_some() || url.password().is_some());
    }
});

fn parse(text: &str) -> Url {
    match Location::parse(OsStr::new(text)) {
        Ok(Location::Url(url)) => url,
        other => panic!("{text} is shown as a URL, but is {other:?}"),
    }
}

/// Between the scheme and the last `@` nothing is shown.
fn assert_hidden(text: &str, error: &InvalidUrl) {
    let Some((scheme, rest)) = text.split_once("://") else { return };
    if let Some((_, host)) = rest.rsplit_once('@') {
        let shown = format!("{scheme}://…@{host}");
        assert_eq!(error.to_string(), format!("'{shown}' is not a valid URL"));
        let debug = format!("{error:?}");
        let source = debug.strip_prefix(&format!("InvalidUrl {{ shown: {shown:?}, source: ")).expect("it is like this");
        assert!(source.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" ()}".contains(&byte)), "{debug}");
    }
}

/// `name` is in the same directory, on the same server, for the same user.
fn assert_beside(name: &Location, location: &Location) {
    match (name, location) {
        (Location::Path(name), Location::Path(path)) => assert_eq!(name.parent(), path.parent()),
        (Location::Url(name), Location::Url(url)) => {
            assert_eq!((name.host(), name.port(), name.protocol()), (url.host(), url.port(), url.protocol()));
            assert_eq!((name.user(), name.password()), (url.user(), url.password()));
            let directory = |url: &Url| {
                let shown = url.to_string();
                let path = shown.split(['?', '#']).next().unwrap_or_default();
                path.rsplit_once('/').map(|(directory, _)| directory.to_owned())
            };
            assert_eq!(directory(name), directory(url));
            let query = |url: &Url| url.to_string().find(['?', '#']).map(|at| url.to_string()[at..].to_owned());
            assert_eq!(query(name), query(url));
            let again = parse(&name.to_string());
            assert_eq!(again.path(), name.path());
        }
        _ => panic!("{name:?} {location:?}"),
    }
}
