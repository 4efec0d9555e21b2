//! What the gateway remembers of the directory to tell homes by their addresses. Residents it knows by tag only, as claims.

use crate::wire::{self, DirectoryFact};
use async_trait::async_trait;
use hearthline_contracts::topics;
use hearthline_eventing::{Fact, Table, Tx, View, ViewError};

const HOMES: Table = Table {
    name: "homes",
    columns: &["id", "name", "first_line", "postcode", "uprn"],
    key: 1,
    ddl: "create table if not exists homes (
  id blob primary key,
  name text not null,
  first_line text not null,
  postcode text not null,
  uprn text not null
);
create index if not exists homes_uprn on homes (uprn) where uprn <> '';
create index if not exists homes_postcode on homes (postcode);",
};

/// Homes by address.
pub struct Homes;

#[async_trait]
impl View for Homes {
    fn tables(&self) -> &'static [Table] {
        &[HOMES]
    }

    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError> {
        for fact in facts.iter().filter(|f| f.topic == topics::DIRECTORY.name) {
            let Some(DirectoryFact::Home { name, first_line, postcode, uprn }) =
                wire::directory_fact(fact).map_err(|_| ViewError::Unreadable("a directory event"))?
            else {
                continue;
            };
            tx.execute(
                "insert into homes (id, name, first_line, postcode, uprn) values ($1,$2,$3,$4,$5) \
                 on conflict (id) do update set name = excluded.name, first_line = excluded.first_line, postcode = excluded.postcode, uprn = excluded.uprn",
                &[fact.stream().into(), name.into(), first_line.into(), postcode.as_str().into(), uprn.into()],
            );
        }
        Ok(())
    }
}
