//! Tokens: what is taken, what is refused and how, and how keys rotate.

mod support;

use std::fs;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hearthline_runtime::auth::{AuthError, Issuer, IssuerError, JWKS_FILE, KeySource, PRIVATE_KEY_FILE, Role, Verifier, VerifierOptions};
use hearthline_runtime::http::{Route, Scope, Shell};
use support::{AUDIENCE, HOME, ISSUER, grant, keys, serve};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_token_becomes_a_caller_with_a_pseudonym() {
    let keys = keys();
    let caller = keys.verifier.verify(&keys.token(Role::CareHome), SystemTime::now()).await.expect("taken");
    assert_eq!((caller.role, caller.org.as_str(), caller.home), (Role::CareHome, "VL001", Some(HOME)));
    let again = keys.verifier.verify(&keys.token(Role::CareHome), SystemTime::now()).await.expect("taken");
    let other = keys.verifier.verify(&keys.token(Role::Analyst), SystemTime::now()).await.expect("taken");
    assert_eq!(caller.subject, again.subject);
    assert_ne!(caller.subject, other.subject);
}

#[tokio::test]
async fn only_a_token_with_a_session_is_in_session() {
    let keys = keys();
    let now = SystemTime::now();
    let prescriber = keys.verifier.verify(&keys.token(Role::Prescriber), now).await.expect("taken");
    assert!(prescriber.must_be_in_session().is_ok());
    let clinician = keys.verifier.verify(&keys.token(Role::Clinician), now).await.expect("taken");
    assert_eq!(clinician.must_be_in_session().expect_err("none").code(), "session_needed");
}

#[tokio::test]
async fn time_is_judged_with_leeway_also_for_a_remembered_token() {
    let keys = keys();
    let now = SystemTime::now();
    let token = keys.issuer.token(&grant(Role::Analyst), now, HOUR).expect("token");
    let at = |s: i64| {
        if s < 0 { now - Duration::from_secs(s.unsigned_abs()) } else { now + Duration::from_secs(s as u64) }
    };
    assert!(keys.verifier.verify(&token, at(3602)).await.is_ok());
    assert_eq!(keys.verifier.verify(&token, at(3606)).await, Err(AuthError::Expired));
    assert_eq!(keys.verifier.verify(&token, at(-10)).await, Err(AuthError::NotYetValid));
    assert!(keys.verifier.verify(&token, at(-3)).await.is_ok());
}

#[tokio::test]
async fn issuer_and_audience_must_be_the_configured_ones() {
    let keys = keys();
    for (issuer, audience, expected) in [("another", AUDIENCE, AuthError::Issuer), (ISSUER, "another", AuthError::Audience)] {
        let stranger = Issuer::open(keys.folder.path(), issuer, audience).expect("same key");
        let token = stranger.token(&grant(Role::Analyst), SystemTime::now(), HOUR).expect("token");
        assert_eq!(keys.verifier.verify(&token, SystemTime::now()).await, Err(expected));
    }
}

#[tokio::test]
async fn a_token_of_another_key_or_with_altered_claims_is_refused() {
    let (keys, stranger) = (keys(), keys());
    assert_eq!(keys.verifier.verify(&stranger.token(Role::Operator), SystemTime::now()).await, Err(AuthError::KeyUnknown));
    let token = keys.token(Role::Analyst);
    let parts: Vec<&str> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64");
    let altered = String::from_utf8(claims).expect("text").replace("analyst", "operator");
    let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(altered), parts[2]);
    assert_eq!(keys.verifier.verify(&forged, SystemTime::now()).await, Err(AuthError::Signature));
}

#[tokio::test]
async fn a_token_cannot_choose_how_it_is_checked() {
    let keys = keys();
    let token = keys.token(Role::Analyst);
    let claims = token.split('.').nth(1).expect("claims");
    let key_id = jsonwebtoken::decode_header(&token).expect("header").kid.expect("kid");
    for algorithm in ["none", "HS256", "ES384"] {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}","kid":"{key_id}"}}"#));
        let forged = format!("{header}.{claims}.AAAA");
        assert_eq!(keys.verifier.verify(&forged, SystemTime::now()).await, Err(AuthError::Malformed), "{algorithm}");
    }
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"RS256","kid":"{key_id}"}}"#));
    let forged = format!("{header}.{claims}.AAAA");
    assert_eq!(keys.verifier.verify(&forged, SystemTime::now()).await, Err(AuthError::Signature));
    assert_eq!(keys.verifier.verify("not a token", SystemTime::now()).await, Err(AuthError::Malformed));
}

#[tokio::test]
async fn a_home_token_must_name_its_home() {
    let keys = keys();
    let mut homeless = grant(Role::CareHome);
    homeless.home = None;
    let refused = keys.issuer.token(&homeless, SystemTime::now(), HOUR);
    assert!(matches!(refused, Err(IssuerError::HomeNeeded)));
}

#[tokio::test]
async fn a_rotated_key_set_is_read_again_when_a_key_is_unknown() {
    let (keys, next) = (keys(), keys());
    keys.verifier.read_keys().await.expect("read");
    let old = keys.token(Role::Analyst);
    assert!(keys.verifier.verify(&old, SystemTime::now()).await.is_ok());
    fs::copy(next.folder.path().join(JWKS_FILE), keys.folder.path().join(JWKS_FILE)).expect("published");
    let new = next.token(Role::Analyst);
    assert!(keys.verifier.verify(&new, SystemTime::now()).await.is_ok());
    assert_eq!(keys.verifier.verify(&old, SystemTime::now()).await, Err(AuthError::KeyUnknown));
}

#[tokio::test]
async fn keys_are_fetched_from_an_address_too() {
    let keys = keys();
    let jwks = fs::read_to_string(keys.folder.path().join(JWKS_FILE)).expect("key set");
    let shell = Shell::builder(keys.verifier.clone()).build();
    let router = shell.mount(vec![Route::public("/jwks", move || async move { jwks })], ());
    let server = serve(&shell, router).await;
    let verifier = Verifier::new(VerifierOptions { keys: KeySource::Url(server.url("/jwks")), ..keys.issuer.verifier_options(5) }).expect("verifier");
    assert!(verifier.verify(&keys.token(Role::Analyst), SystemTime::now()).await.is_ok());
}

#[tokio::test]
async fn without_keys_the_answer_is_503_and_not_401() {
    let keys = keys();
    fs::remove_file(keys.folder.path().join(JWKS_FILE)).expect("removed");
    let refused = keys.verifier.verify(&keys.token(Role::Analyst), SystemTime::now()).await;
    assert_eq!(refused, Err(AuthError::KeysUnavailable));
    let shell = Shell::builder(keys.verifier.clone()).build();
    let routes = vec![Route::get("/x", &[Role::Analyst], Scope::Any, || async { "x" })];
    let server = serve(&shell, shell.mount(routes, ())).await;
    let request = hearthline_runtime::client::build(|c| c).expect("a client").get(server.url("/x")).bearer_auth(keys.token(Role::Analyst));
    let answer = request.send().await.expect("answered");
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
}

#[test]
fn the_key_is_made_once_kept_and_never_readable_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let keys = keys();
    let path = keys.folder.path().join(PRIVATE_KEY_FILE);
    let made = fs::read(&path).expect("key");
    assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    Issuer::open(keys.folder.path(), ISSUER, AUDIENCE).expect("again");
    assert_eq!(fs::read(&path).expect("key"), made);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
    let exposed = Issuer::open(keys.folder.path(), ISSUER, AUDIENCE);
    assert!(matches!(exposed, Err(IssuerError::Exposed { .. })));
}

#[test]
fn a_key_file_that_holds_no_key_is_said_and_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(PRIVATE_KEY_FILE);
    fs::write(&path, "nonsense").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
    let refused = Issuer::open(folder.path(), ISSUER, AUDIENCE);
    assert!(matches!(refused, Err(IssuerError::NotAKey { .. })));
    assert_eq!(fs::read_to_string(&path).expect("still there"), "nonsense");
}

/// An RSA public key and a token signed with it at 2025-06-15T15:06:40Z; the private key is not kept.
const RSA_MODULUS: &str = concat!(
    "xTUBPBc8aHbI9Gx4SxRHo9lbdM7tgH2xQdbevusonFcRrTXs0FmzCVHZHfxyxqcDQYcNf_C5x9-QTn989i7wJZhU",
    "6MoiSaW2QFTAV1jGUqlGO8JPXaFBO1hXUubjp148EmxFXgpdK9nq-UbGhFwAfhir5nCw5gwKFDIeM3KUMLvy7pom",
    "P5cgS6gTPdVkL0cB7JohP158H-nhTfwzhZlv5ykw4JwxJRL4yNa6-b88fTmMuq3u1SHHb4U4ZKD8kbKFzwGoAM37",
    "q2XMp9jm0m7q1Pve9JRJ2nOgiV7CIFwqrgdni7UJvGSEgVQEOrgxiNm5y-HTGMIfZTlhiiMzqfK4eQ",
);
const RSA_TOKEN: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYS0xIiwidHlwIjoiSldUIn0.eyJpc3MiOiJoZWFydGhsaW5lLXRlc3Qi",
    "LCJhdWQiOlsib3RoZXIiLCJoZWFydGhsaW5lIl0sInN1YiI6InNvbWVib2R5IiwiaWF0IjoxNzUwMDAwMDAwLCJu",
    "YmYiOjE3NTAwMDAwMDAsImV4cCI6MTc1MDAwMzYwMCwicm9sZSI6ImFuYWx5c3QiLCJvcmciOiJWTDAwMSJ9.KUl",
    "AyU8rvXdCjjHC0pum3jix8hPFMZy-29tThJ6FhpGaSZYr0Ao4le83Mj9FEwzAdWVChQJ1WrbZkNpnvhFfMrXeWuW",
    "HQN1IMAQMN2IbFJyinAWy9vPJqC0fzCukoZnauKlbmK3exjA8MDQe7cAd8XVIoB4XWRRmTwZwObJcTGuSJAWfhtF",
    "GS5wUn7iH7SyhKPab1EZ3Rzl8hBBYDCMGcUszOpfaG3EBFuGwtwcK95FR1rW5aV3BOkF5cPhQ8Kwgk6fZpiIeWbc",
    "vT00T1jVoTk7m7EoopQQQxfIciaAXNa8F0LlQQhOAFb5SsRCg9oL2ErnOlf0YLkEe4NPtPVTs7A",
);

#[tokio::test]
async fn rs256_tokens_of_other_issuers_are_taken() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("jwks.json");
    let key = format!(r#"{{"kty":"RSA","kid":"rsa-1","use":"sig","alg":"RS256","e":"AQAB","n":"{RSA_MODULUS}"}}"#);
    fs::write(&path, format!(r#"{{"keys":[{key}]}}"#)).expect("written");
    let verifier = Verifier::new(VerifierOptions { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned(), leeway_s: 5, keys: KeySource::File(path) })
        .expect("verifier");
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_600);
    let caller = verifier.verify(RSA_TOKEN, then).await.expect("taken");
    assert_eq!((caller.role, caller.session), (Role::Analyst, false));
    let later = then + HOUR;
    assert_eq!(verifier.verify(RSA_TOKEN, later).await, Err(AuthError::Expired));
}
