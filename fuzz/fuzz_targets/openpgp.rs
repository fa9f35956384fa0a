//! OpenPGP, as far as it is verified in this process: whatever keyring and signature there are, no panic and little memory;
//! and what is accepted as a signature of some bytes is none of others.
#![no_main]

use bmaptool::trust::fuzzing::verified;
use bmaptool_fuzz::{Input, MIB, bounded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (ring_len, signature_len) = (input.number(), input.number());
    let ring = input.bytes(ring_len as usize);
    let signature = input.bytes(signature_len as usize);
    let file = input.bytes(data.len());
    bounded(16 * MIB, || {
        if verified(ring, file, Some(signature)).is_some() {
            let longer = [file, b"x"].concat();
            assert_eq!(verified(ring, &longer, Some(signature)), None);
        }
        // A clearsigned text encloses its signature.
        if let Some(signers) = verified(ring, file, None) {
            assert!(!signers.is_empty());
            let text = String::from_utf8_lossy(file);
            let changed = text.replacen("\n\n", "\n\nx", 1);
            assert!(changed == text || verified(ring, changed.as_bytes(), None).is_none());
        }
    });
});
