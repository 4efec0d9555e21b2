//! A page of received rows: the oldest of them, opened, with all that they are judged by.

use super::Run;
use crate::gateway::{HELD, Keys, RECEIVED, SHADOW};
use crate::inbox::OpenRow;
use crate::known::{Known, KnownVisit};
use crate::peer::Mode;
use crate::tags::Lasting;
use hearthline_eventing::{NotNow, Settled, query_pairs};
use hearthline_nhs::StreamId;
use std::collections::{HashMap, HashSet};

const PAGE_ROWS: u64 = 1_000;
/// Messages that are opened at once end with the one that passes this.
const PAGE_BYTES: i64 = 8 * 1024 * 1024;
/// The same body under another control id within this time is the same message.
const SAME_BODY_US: i64 = 10 * 60 * 1_000_000;

/// A row of a page.
pub(super) struct Row {
    pub(super) open: OpenRow,
    seq: i64,
    /// Its control id came before with another body.
    pub(super) control_reused: bool,
    body: Option<[u8; 16]>,
    /// Under its day's key.
    person_tag: Option<[u8; 16]>,
    pub(super) control_id: String,
    received_at: i64,
    /// The row of the same body under another control id.
    pub(super) same_as: Option<[u8; 16]>,
    /// Its peer's messages take no effect now.
    pub(super) is_shadowed: bool,
}

/// Rows in the order of receipt, and what they are judged by.
#[derive(Default)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    pub(super) known: Known,
    /// So many more could not be opened, and were settled.
    pub(super) unreadable: usize,
    /// Peers whose messages take no effect now.
    shadowed: HashSet<String>,
    /// There may be more behind it that can be looked at before it is settled.
    pub(super) is_followed: bool,
}

/// A page that is being settled, to the one behind it.
pub(super) struct Before {
    seq: i64,
    /// By all of their names.
    visits: HashSet<[u8; 16]>,
    /// The names that they go by beside the first.
    by_names: HashSet<[u8; 16]>,
    shadowed: HashSet<String>,
}

impl Before {
    pub(super) fn of(page: &mut Page) -> Self {
        Before {
            seq: page.rows.last().map_or(0, |row| row.seq),
            visits: page.rows.iter().flat_map(|row| row.open.keys.visits()).collect(),
            by_names: page.rows.iter().flat_map(|row| row.open.keys.by_names()).collect(),
            shadowed: std::mem::take(&mut page.shadowed),
        }
    }

    /// A message speaks of one of its visits by another name: what it is judged by is not known yet.
    pub(super) fn renames(&self, keys: &Keys) -> bool {
        keys.visits().any(|name| self.by_names.contains(&name)) || keys.by_names().any(|name| self.visits.contains(&name))
    }
}

impl Run<'_> {
    /// The oldest received rows, or those behind a page that is being settled, and what they are judged by.
    pub(super) async fn page(&self, lasting: &Lasting, before: Option<&Before>) -> Result<Page, NotNow> {
        let gateway = self.gateway;
        let mut page = self.open(lasting, before.map_or(0, |before| before.seq)).await?;
        if page.rows.is_empty() {
            return Ok(page);
        }
        page.is_followed &= !truncate(&mut page.rows);
        let mut keys: Vec<&mut Keys> = page.rows.iter_mut().map(|row| &mut row.open.keys).collect();
        gateway.follow_merges(lasting, &mut keys).await?;
        page.shadowed = self.shadowed(&page.rows).await?;
        for row in &mut page.rows {
            row.is_shadowed = page.shadowed.contains(&row.open.reading.peer.name);
        }
        let all: Vec<_> = page.rows.iter().map(|row| (&row.open.reading, &row.open.keys)).collect();
        let nobody = HashSet::new();
        let were_shadowed = before.map_or(&nobody, |before| &before.shadowed);
        let (known, same) = tokio::try_join!(gateway.know(lasting, &all), self.same_bodies(&page.rows, were_shadowed))?;
        for (row, same_as) in page.rows.iter_mut().zip(same) {
            row.same_as = same_as;
        }
        page.known = known;
        if let Some(before) = before {
            self.begin_visits(&page.rows, &mut page.known, &before.visits).await?;
        }
        Ok(page)
    }

    /// The oldest received rows behind `after`, opened; those that cannot be are settled.
    async fn open(&self, lasting: &Lasting, after: i64) -> Result<Page, NotNow> {
        let store = self.gateway.kernel.store.as_ref();
        let sql = "select r.seq, r.size from inbox r where (r.state || '') = 'received' and r.seq > $2 order by r.seq limit $1";
        let sizes = store.query(sql, &[PAGE_ROWS.into(), after.into()]).await?;
        let before = sizes.iter().scan(0, |bytes, row| Some(std::mem::replace(bytes, *bytes + row.int(1))));
        let taken = before.take_while(|bytes| *bytes < PAGE_BYTES).count();
        let Some(last) = taken.checked_sub(1).map(|last| sizes[last].int(0)) else { return Ok(Page::default()) };
        let sql = "select r.id, r.seq, r.day, b.sealed, r.traceparent, r.peer, r.control_id, r.body_tag, r.person_tag, r.received_at, \
            exists (select 1 from inbox p where p.control_id = r.control_id and p.peer = r.peer and p.seq < r.seq and p.digest <> r.digest and p.state <> 'refused' and p.outgoing = 0) \
            from inbox r left join inbox_bytes b on b.id = r.id where (r.state || '') = 'received' and r.seq > $1 and r.seq <= $2 order by r.seq";
        let found = store.query(sql, &[after.into(), last.into()]).await?;
        let (mut rows, mut unreadable) = (Vec::with_capacity(found.len()), 0);
        for row in &found {
            let id = row.id(0);
            let raw = match row.opt_blob(3) {
                Some(sealed) => self.gateway.unseal(id, row.text(2), sealed).await?,
                None => None,
            };
            let opened = raw.ok_or("its day is over").and_then(|raw| self.gateway.open_row(lasting, (id, row.int(9)), row.text(5), raw, row.opt_text(4)));
            match opened {
                Ok(open) => rows.push(Row {
                    open,
                    seq: row.int(1),
                    control_reused: row.flag(10),
                    body: row.opt_id(7),
                    person_tag: row.opt_id(8),
                    control_id: row.text(6).to_owned(),
                    received_at: row.int(9),
                    same_as: None,
                    is_shadowed: false,
                }),
                Err(why) => {
                    self.append(Settled::new(id, RECEIVED, HELD, why.to_owned())).await?;
                    unreadable += 1;
                }
            }
        }
        Ok(Page { rows, unreadable, is_followed: taken < sizes.len() || sizes.len() as u64 == PAGE_ROWS, ..Page::default() })
    }

    /// For each message the one whose body came a little earlier under another control id. What is just being settled is shadow's where its
    /// peer was among `were_shadowed`.
    async fn same_bodies(&self, rows: &[Row], were_shadowed: &HashSet<String>) -> Result<Vec<Option<[u8; 16]>>, NotNow> {
        let oldest = rows.iter().map(|row| row.received_at).min().unwrap_or(0);
        // By patient, which an index finds: under the day's key, and under the lasting one where they are a resident by now.
        let tags = |row: &Row| [row.person_tag, row.open.keys.person].into_iter().flatten();
        let pairs: HashSet<_> = rows.iter().filter_map(|row| Some((row, row.body?))).flat_map(|(row, body)| tags(row).map(move |tag| (tag, body))).collect();
        let pairs: Vec<_> = pairs.into_iter().collect();
        let sql = "select p.body_tag, p.peer, p.control_id, p.seq, p.received_at, p.id, p.state from pairs cross join inbox p \
            where p.person_tag is not null and p.person_tag = pairs.a and p.body_tag = pairs.b and p.received_at >= $1 and p.state not in ('refused', 'duplicate')";
        let earlier = query_pairs(self.gateway.kernel.store.as_ref(), sql, &[(oldest - SAME_BODY_US).into()], &pairs).await?;
        let mut by_body: HashMap<[u8; 16], Vec<&hearthline_eventing::Row>> = HashMap::new();
        for row in &earlier {
            by_body.entry(row.id(0)).or_default().push(row);
        }
        let same_as = |row: &Row| {
            let same = row.body.and_then(|body| by_body.get(&body)).into_iter().flatten().find(|other| {
                other.int(3) < row.seq
                    && other.int(4) >= row.received_at - SAME_BODY_US
                    && other.text(1) == row.open.reading.peer.name
                    && other.text(2) != row.control_id
                    // What a feed said in shadow had no effect, so that it can be no reason to leave out another.
                    && (row.is_shadowed || !(other.text(6) == SHADOW || other.text(6) == RECEIVED && were_shadowed.contains(other.text(1))))
            });
            same.map(|other| other.id(5))
        };
        Ok(rows.iter().map(same_as).collect())
    }

    /// The peers of these messages that are in shadow now.
    async fn shadowed(&self, rows: &[Row]) -> Result<HashSet<String>, NotNow> {
        let mut modes: HashMap<&str, Mode> = HashMap::new();
        for row in rows {
            let peer = &row.open.reading.peer;
            if !modes.contains_key(peer.name.as_str()) {
                modes.insert(&peer.name, self.gateway.mode(peer).await?);
            }
        }
        Ok(modes.into_iter().filter(|(_, mode)| *mode == Mode::Shadow).map(|(name, _)| name.to_owned()).collect())
    }

    /// Gives a stream to each visit that may begin, and makes their keys together. Whether `unsure` visits are there is not known yet.
    pub(super) async fn begin_visits(&self, rows: &[Row], known: &mut Known, unsure: &HashSet<[u8; 16]>) -> Result<(), NotNow> {
        let mut fresh = Vec::new();
        for row in rows {
            let Some(tag) = row.open.keys.visit.filter(|tag| !known.visits.contains_key(tag) && !unsure.contains(tag)) else { continue };
            let is_persons = row.open.keys.person.is_some_and(|person| known.persons.contains_key(&person));
            if !is_persons || row.same_as.is_some() || row.is_shadowed {
                continue;
            }
            let id = hearthline_runtime::service::fresh_id();
            known.visits.insert(tag, KnownVisit { stream: StreamId::from_bytes(id), visit: Default::default(), version: 0, is_renamed: false });
            fresh.push(id);
        }
        Ok(self.gateway.kernel.composer.keyring.ensure_many(&fresh).await?)
    }
}

/// Leaves to the next page what is judged by what this one settles; true where there is such.
fn truncate(rows: &mut Vec<Row>) -> bool {
    // What comes after a merge is named by it; of a merge of visits both are to be there as well.
    let merge = rows.iter().position(|row| !row.open.keys.edges.is_empty() || row.open.keys.retired_visit.is_some());
    let merge = merge.map(|at| if rows[at].open.keys.retired_visit.is_some() { at.max(1) } else { at + 1 });
    // A visit without a number may be told of under several identifiers of its patient.
    let mut names: HashMap<([u8; 16], i64), [u8; 16]> = HashMap::new();
    let twice = rows.iter().position(|row| {
        let Some((patient, at_us)) = row.open.keys.admission else { return false };
        let called = row.open.keys.also_called.iter().chain([&patient]);
        called.fold(false, |twice, tag| twice | (*names.entry((*tag, at_us)).or_insert(patient) != patient))
    });
    let cut = merge.into_iter().chain(twice).min();
    rows.truncate(cut.unwrap_or(rows.len()));
    cut.is_some()
}
