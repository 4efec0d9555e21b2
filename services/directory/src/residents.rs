//! Finding and loading residents: by id, by home, and by NHS number through a tag, so that no row holds a number.

use crate::domain::events::Event;
use crate::domain::state::Resident;
use crate::wire;
use hearthline_eventing::{Cause, Claim, ClaimKey, ClaimRule, Kernel, NotNow, Occurred, Write, identity};
use hearthline_nhs::{NhsNumber, OdsCode, ResidentId, StreamId};

/// Scopes of natural keys.
pub const HOME_ODS: &str = "home-ods";
pub const PRACTICE_ODS: &str = "practice-ods";
pub const PHARMACY_ODS: &str = "pharmacy-ods";
/// The key is the tag of an NHS number, never the number.
pub const RESIDENT_NHS: &str = "resident-nhs";

const LASTING: &str = "lasting";

/// The directory's grip on its streams.
#[derive(Clone)]
pub struct Streams {
    pub kernel: Kernel,
}

impl Streams {
    /// The events of a stream with their personal parts, folded by `evolve`, and the stream's version.
    pub async fn load<S: Default>(&self, stream: StreamId, evolve: impl Fn(S, &Event) -> S) -> Result<(S, u64), NotNow> {
        let opened = self.kernel.load(stream).await?;
        let version = opened.len() as u64;
        let mut state = S::default();
        for one in &opened {
            if let Some(event) = wire::decode(&one.fact, one.personal.as_ref()).map_err(unreadable)? {
                state = evolve(state, &event);
            }
        }
        Ok((state, version))
    }

    pub async fn resident(&self, id: ResidentId) -> Result<(Resident, u64), NotNow> {
        self.load(id.into(), Resident::evolve).await
    }

    /// The id that an id resolves to through alias edges, and whether the directory knows that person.
    pub async fn resolve(&self, id: ResidentId) -> Result<(ResidentId, bool), NotNow> {
        let found = identity::resolve(self.kernel.store.as_ref(), *id.bytes()).await?;
        Ok((ResidentId::from_bytes(found.id), found.registered))
    }

    /// Who has this number, resolved.
    pub async fn holder_of(&self, number: &NhsNumber) -> Result<Option<ResidentId>, NotNow> {
        let key = self.number_key(number).await?;
        match self.owner(&key).await? {
            Some(stream) => Ok(Some(self.resolve(ResidentId::of_stream(stream)).await?.0)),
            None => Ok(None),
        }
    }

    /// The claim that keeps a number one resident's.
    pub async fn number_claim(&self, number: &NhsNumber, owner: ResidentId, version: u64) -> Result<Claim, NotNow> {
        Ok(claim(self.number_key(number).await?, owner.into(), version))
    }

    /// The stream that holds a home's, practice's or pharmacy's ODS code.
    pub async fn by_ods(&self, scope: &'static str, ods: &OdsCode) -> Result<Option<StreamId>, NotNow> {
        self.owner(&ods_key(scope, ods)).await
    }

    /// Events for a stream, encoded and sealed. Nothing where there are none.
    pub async fn write(
        &self,
        stream: StreamId,
        expected: u64,
        events: &[Event],
        occurred: &Occurred,
        cause: &Cause,
        now: i64,
    ) -> Result<Option<Write>, NotNow> {
        if events.is_empty() {
            return Ok(None);
        }
        let events = events.iter().map(|event| wire::encode(event, occurred.clone())).collect();
        Ok(Some(self.kernel.composer.write(stream, expected, events, cause, now).await?))
    }

    async fn number_key(&self, number: &NhsNumber) -> Result<ClaimKey, NotNow> {
        let lookup = self.kernel.composer.keyring.lookup(LASTING).await?;
        Ok(ClaimKey { scope: RESIDENT_NHS, key: lookup.tag("nhs", number.as_str()).to_vec().into() })
    }

    async fn owner(&self, key: &ClaimKey) -> Result<Option<StreamId>, NotNow> {
        let rows = self.kernel.store.query("select owner from claims where scope = $1 and key = $2", &[key.scope.into(), key.key.clone().into()]).await?;
        Ok(rows.first().map(|row| row.stream(0)))
    }
}

pub fn ods_key(scope: &'static str, ods: &OdsCode) -> ClaimKey {
    ClaimKey { scope, key: ods.as_str().as_bytes().to_vec().into() }
}

/// A natural key that only `owner` may hold.
pub fn claim(key: ClaimKey, owner: StreamId, version: u64) -> Claim {
    Claim { scope: key.scope, key: key.key, digest: bytes::Bytes::copy_from_slice(owner.bytes()), owner, version, expires_at: None, rule: ClaimRule::Unique }
}

/// A stored event that does not decode is ours to mend, not the caller's.
pub fn unreadable(e: wire::Unreadable) -> NotNow {
    NotNow::Other(e.to_string())
}
