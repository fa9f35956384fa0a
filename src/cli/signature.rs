//! Whose the bmap is: its signatures are found and verified, and whoever signed is held against what the user asks for.

use std::collections::BTreeSet;

use bmaptool::signature::{self, Clearsigned, Keyring, Keys, Signer};
use bmaptool::sink::InputFile;
use bmaptool::source::{Location, Source, Stored};

use super::args::Copy;
use super::error::Error;
use super::network;

/// The largest file that is read as a detached signature, in bytes: a page that a server sends in its place has more than any.
const MAX_SIGNATURE_SIZE: u64 = 1 << 20;

/// The bmap's text as far as it may be believed: what was signed, where anything was.
pub struct Authentic {
    pub text: Vec<u8>,
    /// The files that it was verified with.
    pub read: Vec<InputFile>,
}

/// Verifies the signatures of a bmap as `arguments` ask for.
pub fn authenticate(bmap: Stored, arguments: &Copy) -> Result<Authentic, Error> {
    let location = bmap.location().clone();
    if arguments.no_sig_verify {
        return without_verifying(bmap, &location);
    }
    let keys = match &arguments.keyring {
        Some(path) => Keys::In(Keyring::read(path)?),
        None => Keys::OfUser,
    };
    let mut signers = Vec::new();
    let detached = find_detached(&location, arguments)?;
    if let Some(signature) = &detached {
        let verified = signature::verify_detached(bmap.bytes(), signature.bytes(), &keys);
        signers.extend(verified.map_err(|source| Error::signature(&location, signature.location(), source))?);
    }
    let unpacked = bmap.unpack()?;
    let text = match find_clearsigned(&unpacked, &location)? {
        Some(message) => {
            let signed = message.verify(&keys).map_err(|source| Error::signature(&location, &location, source))?;
            signers.extend(signed.signers);
            signed.text
        }
        None => unpacked,
    };
    judge(&signers, &location, arguments)?;

    let signature = detached.and_then(|signature| signature.id()).map(|id| InputFile { role: "signature", id });
    let keyring = match &keys {
        Keys::In(keyring) => Some(InputFile { role: "keyring", id: keyring.id() }),
        Keys::OfUser => None,
    };
    Ok(Authentic { text, read: signature.into_iter().chain(keyring).collect() })
}

/// The text of a clearsigned bmap must be taken out of it even if nobody cares who signed it.
fn without_verifying(bmap: Stored, location: &Location) -> Result<Authentic, Error> {
    let unpacked = bmap.unpack()?;
    let text = match find_clearsigned(&unpacked, location)? {
        Some(message) => {
            log::warn!("the signature of bmap file '{location}' is not verified, as '--no-sig-verify' asks for");
            message.unverified_text()
        }
        None => unpacked,
    };
    Ok(Authentic { text, read: Vec::new() })
}

fn find_clearsigned<'a>(text: &'a [u8], location: &Location) -> Result<Option<Clearsigned<'a>>, Error> {
    Clearsigned::find(text).map_err(|refusal| Error::signature(location, location, refusal.into()))
}

/// The detached signature that is named, or lies beside the bmap.
fn find_detached(bmap: &Location, arguments: &Copy) -> Result<Option<Stored>, Error> {
    let read = |source: Source| source.read_stored("signature", MAX_SIGNATURE_SIZE);
    if let Some(given) = &arguments.bmap_sig {
        return Ok(Some(read(network::open(&Location::parse(given)?)?)?));
    }
    for candidate in [".asc", ".sig"].into_iter().filter_map(|ending| bmap.with_ending(ending)) {
        match network::open(&candidate) {
            Err(error) if error.is_not_found() => {}
            result => {
                let signature = read(result?)?;
                if is_page(&signature) {
                    log::warn!("'{candidate}' is a web page, not a signature");
                    continue;
                }
                log::info!("discovered signature file '{candidate}'");
                return Ok(Some(signature));
            }
        }
    }
    Ok(None)
}

/// Whether a server sent a page in place of a file that it does not have. No signature begins with markup.
fn is_page(signature: &Stored) -> bool {
    signature.location().as_path().is_none() && signature.bytes().trim_ascii_start().starts_with(b"<")
}

/// Accepts the bmap or refuses it, by who signed it.
fn judge(signers: &[Signer], bmap: &Location, arguments: &Copy) -> Result<(), Error> {
    if let Some(expected) = &arguments.fingerprint
        && !signers.is_empty()
        && !signers.iter().any(|signer| signer.has(expected))
    {
        let found = signers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        return Err(Error::WrongSigner { bmap: bmap.clone(), found, expected: expected.clone() });
    }
    match (signers, arguments) {
        ([], Copy { fingerprint: Some(_), .. }) => Err(Error::NotSigned { bmap: bmap.clone(), flag: "--fingerprint" }),
        ([], Copy { keyring: Some(_), .. }) => Err(Error::NotSigned { bmap: bmap.clone(), flag: "--keyring" }),
        ([], _) => {
            log::info!("bmap file '{bmap}' is not signed");
            Ok(())
        }
        _ => {
            // Nobody gains by signing twice.
            let words: BTreeSet<_> = signers.iter().map(ToString::to_string).collect();
            for signer in words {
                log::info!("successfully verified bmap file signature of {signer}");
            }
            Ok(())
        }
    }
}
