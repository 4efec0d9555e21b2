//! Every error code that the HTTP shell itself can answer with. Codes are part of the interface: one that has been
//! released keeps its meaning. `docs/error-codes.md` repeats this table and a test keeps the two alike.
//!
//! Services add rejection codes of their own (status 422), each named after the rule that refused.

/// One stable error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The word that clients match on.
    pub code: &'static str,
    /// The HTTP status that always goes with it.
    pub status: u16,
    /// The title of the problem, the same for every occurrence.
    pub title: &'static str,
    /// What the caller can do.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($($name:ident = $status:literal, $code:literal, $title:literal, $remedy:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code { code: $code, status: $status, title: $title, remedy: $remedy };)*
        /// All codes of the shell, ordered by status.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    JSON_MALFORMED = 400, "json_malformed", "The body is not well-formed JSON", "Correct the body at the line and column named.";
    FIELD_UNKNOWN = 400, "field_unknown", "The body has a field that this command does not take", "Remove the field named, or correct its spelling.";
    FIELD_MISSING = 400, "field_missing", "The body lacks a field", "Add the field named.";
    FIELD_INVALID = 400, "field_invalid", "A field has a value that cannot be taken", "Correct the field named; its allowed form is in the detail.";
    BODY_UNREADABLE = 400, "body_unreadable", "The body could not be read to its end", "Send the request again with the same Idempotency-Key.";
    QUERY_MALFORMED = 400, "query_malformed", "The query string cannot be taken", "Correct the parameter named.";
    IDEMPOTENCY_KEY_MISSING = 400, "idempotency_key_missing", "A command needs an Idempotency-Key", "Send the header Idempotency-Key, a fresh value for each command and the same one for its repeats.";
    IDEMPOTENCY_KEY_MALFORMED = 400, "idempotency_key_malformed", "The Idempotency-Key cannot be taken", "Use 1 to 200 visible ASCII characters.";
    IF_MATCH_MALFORMED = 400, "if_match_malformed", "The If-Match header cannot be taken", "Send a version as \"12\", or *.";
    REASON_MISSING = 400, "reason_missing", "Reading personal data needs a reason", "Send the header X-Access-Reason or the parameter reason, 3 to 200 characters, without personal data.";
    TOKEN_MISSING = 401, "token_missing", "A bearer token is needed", "Send Authorization: Bearer <token>.";
    TOKEN_MALFORMED = 401, "token_malformed", "The bearer token cannot be read", "Get a new token; it must be a JWT signed with ES256 or RS256.";
    TOKEN_EXPIRED = 401, "token_expired", "The bearer token has expired", "Get a new token.";
    TOKEN_NOT_YET_VALID = 401, "token_not_yet_valid", "The bearer token is not valid yet", "Compare the clocks of the issuer and of this machine.";
    TOKEN_AUDIENCE = 401, "token_audience", "The bearer token is for another audience", "Get a token for the audience that this system is configured with.";
    TOKEN_ISSUER = 401, "token_issuer", "The bearer token is from another issuer", "Get a token from the issuer that this system is configured with.";
    TOKEN_KEY_UNKNOWN = 401, "token_key_unknown", "The key that signed the bearer token is not known", "Get a new token; if that fails, check the published keys of the issuer.";
    TOKEN_SIGNATURE = 401, "token_signature", "The signature of the bearer token is wrong", "Get a new token.";
    TOKEN_CLAIMS = 401, "token_claims", "The bearer token lacks a claim that is needed", "The issuer must add the claim named.";
    ROLE_NOT_ALLOWED = 403, "role_not_allowed", "This role may not do this", "Ask somebody in one of the roles named.";
    HOME_NOT_OWN = 403, "home_not_own", "A home acts for itself only", "Name your own home.";
    ORGANISATION_NOT_OWN = 403, "organisation_not_own", "The body names another organisation", "Name your own organisation.";
    SESSION_NEEDED = 403, "session_needed", "This needs the person to be present in a session", "Sign in and repeat.";
    NOT_FOUND = 404, "not_found", "There is no such thing here", "Check the address; things of other organisations and homes are not shown.";
    METHOD_NOT_ALLOWED = 405, "method_not_allowed", "This address does not take this method", "Use a method named in the Allow header.";
    BODY_TIMEOUT = 408, "body_timeout", "The body did not arrive in time", "Send the request again with the same Idempotency-Key.";
    STILL_RUNNING = 409, "still_running", "The same command is still running", "Wait and repeat with the same Idempotency-Key.";
    VERSION_CONFLICT = 412, "version_conflict", "Somebody changed this in the meantime", "Read it again, decide again, and send the new version in If-Match.";
    BODY_TOO_LARGE = 413, "body_too_large", "The body is too large", "Stay below the limit named.";
    MEDIA_TYPE = 415, "media_type", "The body has a media type that is not taken", "Send the media type named.";
    KEY_REUSED = 422, "key_reused", "This Idempotency-Key was used with another body", "Use a fresh Idempotency-Key for a new command.";
    TOO_MANY_REQUESTS = 429, "too_many_requests", "Too many requests from this caller", "Wait as long as Retry-After says.";
    INTERNAL = 500, "internal", "Something broke here", "Give the operator the instance of this problem; commands may be repeated with the same Idempotency-Key.";
    NOT_HERE_YET = 503, "not_here_yet", "What this depends on has not arrived here yet", "Repeat with the same Idempotency-Key after Retry-After.";
    OUTCOME_UNKNOWN = 503, "outcome_unknown", "It is not known whether the command took effect", "Repeat with the same Idempotency-Key: it takes effect once.";
    UNAVAILABLE = 503, "unavailable", "Something that this needs is not available", "Repeat after Retry-After with the same Idempotency-Key.";
    COMMANDS_PAUSED = 503, "commands_paused", "No commands are taken just now", "Repeat after Retry-After with the same Idempotency-Key; see /readyz for the cause.";
    KEYS_UNAVAILABLE = 503, "keys_unavailable", "The keys that verify bearer tokens are not available", "Repeat after Retry-After; the operator must check the issuer's address.";
}
