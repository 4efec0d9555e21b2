//! A bearer token out of a file that an agent keeps fresh.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How soon a token that does not say when it ends is read again.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);

#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("kafka.token_file {} cannot be read: {why}", file.display())]
    File { file: PathBuf, why: std::io::Error },
    #[error("kafka.token_file {} is empty", file.display())]
    Empty { file: PathBuf },
    #[error("the token in kafka.token_file {} has ended; the agent that keeps it fresh must be looked at", file.display())]
    Ended { file: PathBuf },
}

pub(crate) fn read(file: &Path) -> Result<OAuthToken, TokenError> {
    let text = std::fs::read_to_string(file).map_err(|why| TokenError::File { file: file.to_owned(), why })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(TokenError::Empty { file: file.to_owned() });
    }
    let now_ms = milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let claims = claims(token);
    let lifetime_ms = match claims.as_ref().and_then(|c| c["exp"].as_i64()) {
        Some(exp) => exp.saturating_mul(1_000),
        None => now_ms + milliseconds(UNKNOWN_LIFE),
    };
    if lifetime_ms <= now_ms {
        return Err(TokenError::Ended { file: file.to_owned() });
    }
    let subject = claims.as_ref().and_then(|c| c["sub"].as_str()).unwrap_or("hearthline");
    Ok(OAuthToken { token: token.to_owned(), principal_name: subject.to_owned(), lifetime_ms })
}

/// The claims of a JWT; the broker judges them, here only their end matters.
fn claims(token: &str) -> Option<serde_json::Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn milliseconds(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_lives_as_long_as_it_says() {
        let read_back = read(file_of(&format!("{}\n", jwt(r#"{"exp": 4102444800, "sub": "call"}"#))).path()).unwrap();
        assert_eq!((read_back.lifetime_ms, read_back.principal_name.as_str()), (4_102_444_800_000, "call"));
        assert!(!read_back.token.contains('\n'));
        assert!(read(file_of("opaque").path()).unwrap().lifetime_ms > 0);
    }

    #[test]
    fn a_token_that_cannot_be_used_is_named_without_being_shown() {
        let ended = read(file_of(&jwt(r#"{"exp": 1}"#)).path()).err().unwrap().to_string();
        assert!(ended.contains("has ended") && !ended.contains("e30"), "{ended}");
        assert!(matches!(read(file_of(" \n").path()), Err(TokenError::Empty { .. })));
        assert!(matches!(read(Path::new("/no/such/file")), Err(TokenError::File { .. })));
    }
}
