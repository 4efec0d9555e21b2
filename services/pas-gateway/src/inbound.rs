//! What the directory's facts mean to the gateway: residents become tags, homes become addresses, and messages that were held are
//! looked at again.

use crate::gateway::Gateway;
use crate::tags::{Lasting, RESIDENT_NHS, lasting_claim};
use crate::wire::{self, DirectoryFact};
use async_trait::async_trait;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::consumer::{Inbound, Reaction, Triage};
use hearthline_eventing::{ClaimKey, ClaimRule, Fact, NotNow, TimerChange, Unit, now_us};
use hearthline_nhs::StreamId;

/// Held messages of a person are looked at; the payload is the directory's fact, its personal part sealed as it came.
pub const PERSON_KNOWN: &str = "person-known";
/// Held messages of those who were made one with a resident are looked at; the payload is the resident.
pub const RESIDENTS_MERGED: &str = "residents-merged";
/// Held messages from an address are looked at; the payload is the postcode of a home, and its UPRN on a line of its own.
pub const HOME_KNOWN: &str = "home-known";

/// The gateway's policies.
pub struct Policies {
    pub gateway: Gateway,
}

#[async_trait]
impl Inbound for Policies {
    fn topics(&self) -> &'static [&'static Topic] {
        const { topics::read_by(crate::NAME) }
    }

    fn triage(&self, fact: &Fact) -> Triage {
        match wire::directory_fact(fact) {
            // Homes and deaths of residents are for the identities view.
            Ok(None) => Triage::Project,
            Ok(Some(_)) | Err(_) => Triage::Act,
        }
    }

    async fn act(&self, fact: &Fact) -> Result<Reaction, NotNow> {
        let now = now_us();
        let mut unit = Unit::default();
        match wire::directory_fact(fact) {
            Err(why) => return Ok(Reaction::Park(why.to_string())),
            Ok(None) => return Ok(Reaction::Project),
            Ok(Some(DirectoryFact::Home { postcode, uprn, .. })) => {
                let payload = format!("{}\n{uprn}", postcode.as_str()).into_bytes().into();
                unit.timers.push(TimerChange::Set { stream: fact.stream(), name: HOME_KNOWN, due_at: now, payload });
            }
            Ok(Some(DirectoryFact::Merged)) => {
                let (stream, payload) = (StreamId::from_bytes(fact.event_id()), fact.stream().bytes().to_vec().into());
                unit.timers.push(TimerChange::Set { stream, name: RESIDENTS_MERGED, due_at: now, payload });
            }
            Ok(Some(DirectoryFact::Destroyed)) => {
                let sql = format!("select key from claims where scope = '{RESIDENT_NHS}' and owner = $1");
                let rows = self.gateway.kernel.store.query(&sql, &[fact.stream().into()]).await?;
                unit.releases.extend(rows.iter().map(|row| ClaimKey { scope: RESIDENT_NHS, key: row.blob(0).clone() }));
            }
            Ok(Some(DirectoryFact::Identifiers)) => {
                let personal = self.gateway.kernel.composer.personal(fact).await?;
                let numbers = match wire::numbers(fact, personal.as_ref()) {
                    Ok(numbers) => numbers,
                    Err(why) => return Ok(Reaction::Park(why.to_string())),
                };
                let lasting = Lasting::open(&self.gateway.kernel.composer.keyring).await?;
                if let Some(former) = numbers.former.as_ref().filter(|former| numbers.number.as_ref() != Some(former)) {
                    unit.releases.extend(self.own_claim(lasting.number(former), fact.stream()).await?);
                }
                if let Some(number) = &numbers.number {
                    let born = numbers.date_of_birth.as_ref().map(|born| lasting.born(number, born).to_vec()).unwrap_or_default();
                    unit.claims.push(lasting_claim(RESIDENT_NHS, lasting.number(number), &born, fact.stream(), ClaimRule::Replace));
                    // On a stream of its own: a second fact of the resident must not take the place of the first.
                    let stream = StreamId::from_bytes(fact.event_id());
                    unit.timers.push(TimerChange::Set { stream, name: PERSON_KNOWN, due_at: now, payload: fact.payload.clone() });
                }
            }
        }
        Ok(Reaction::Apply(Box::new(unit)))
    }
}

impl Policies {
    /// A claim, if it is still this resident's: another may have got the number since.
    async fn own_claim(&self, key: [u8; 16], resident: StreamId) -> Result<Option<ClaimKey>, NotNow> {
        let sql = "select 1 from claims where scope = $1 and key = $2 and owner = $3";
        let rows = self.gateway.kernel.store.query(sql, &[RESIDENT_NHS.into(), key.into(), resident.into()]).await?;
        Ok((!rows.is_empty()).then(|| ClaimKey { scope: RESIDENT_NHS, key: key.to_vec().into() }))
    }
}
