//! What shows a receiver that a body comes from this server, and when it was sent.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The header with the time, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "Spoor-Timestamp";
/// The header with the signature.
pub const SIGNATURE_HEADER: &str = "Spoor-Signature";

/// HMAC-SHA256, under `secret`, of the time as text, a point, and the body: in hexadecimal digits, after `v1=`.
#[must_use]
pub fn signature(secret: &str, timestamp: u64, body: &[u8]) -> String {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("v1={digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `printf '1767261600.{"changes":[]}' | openssl dgst -sha256 -hmac a-secret-of-sixteen`.
    #[test]
    fn a_signature_is_what_other_programs_make_of_it() {
        let signed = signature("a-secret-of-sixteen", 1_767_261_600, b"{\"changes\":[]}");
        assert_eq!(signed, "v1=50bf0696aa767bc2025e79b57f83e65d0eeff4932db7ae19158b23a7973ef70a");
    }
}
