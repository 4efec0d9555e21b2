-- Events of this service, numbered without gaps in commit order. (stream, version) is the judge of concurrent appends.
create table if not exists events (
  position integer primary key,
  stream blob not null,
  version integer not null,
  event_id blob not null,
  name text not null,
  payload blob not null,
  traceparent text
);
create unique index if not exists events_stream on events (stream, version);

-- Keys that only one may hold: idempotency keys, natural keys, residents' tags.
create table if not exists claims (
  scope text not null,
  key blob not null,
  digest blob not null,
  owner blob not null,
  version integer not null,
  position integer not null,
  expires_at integer,
  primary key (scope, key)
) without rowid;
create index if not exists claims_expiry on claims (expires_at) where expires_at is not null;
-- Whose several keys are asked for, by the scope's name in the statement.
create index if not exists claims_visit on claims (owner) where scope = 'visit';
create index if not exists claims_resident_nhs on claims (owner) where scope = 'resident-nhs';
create index if not exists claims_waiting on claims (owner) where scope = 'waiting';
create index if not exists claims_waiting_also on claims (owner) where scope = 'waiting-also';
create index if not exists claims_waiting_person on claims (owner) where scope = 'waiting-person';
create index if not exists claims_place_also on claims (owner) where scope = 'place-also';
create index if not exists claims_patient_alias on claims (owner) where scope = 'patient-alias';

-- How far each partition was taken, by whom.
create table if not exists checkpoints (
  subscription text not null,
  topic text not null,
  partition integer not null,
  next_offset integer not null,
  epoch integer not null,
  primary key (subscription, topic, partition)
) without rowid;

-- The newest version of each foreign stream that took effect here: the inbox that makes a redelivery harmless.
create table if not exists seen (
  subscription text not null,
  stream blob not null,
  version integer not null,
  event_id blob not null,
  primary key (subscription, stream)
) without rowid;

-- What became of every record.
create table if not exists dispositions (
  subscription text not null,
  topic text not null,
  kind text not null,
  why text not null,
  count integer not null,
  primary key (subscription, topic, kind, why)
) without rowid;

-- Records set aside, as the bytes received; personal data in them is sealed.
create table if not exists parked (
  subscription text not null,
  topic text not null,
  partition integer not null,
  record_offset integer not null,
  key blob not null,
  held integer not null,
  why text not null,
  payload blob not null,
  headers text not null,
  parked_at integer not null,
  request text,
  request_reason text,
  primary key (subscription, topic, partition, record_offset)
) without rowid;

create table if not exists timers (
  stream blob not null,
  name text not null,
  due_at integer not null,
  payload blob not null,
  primary key (stream, name)
) without rowid;
create index if not exists timers_due on timers (due_at);

create table if not exists deliveries (
  seq integer primary key,
  id blob not null unique,
  kind text not null,
  destination text not null,
  subject blob not null,
  stream blob not null,
  payload blob not null,
  state text not null,
  attempt integer not null,
  sender blob,
  deadline_at integer,
  next_at integer not null,
  expires_at integer,
  code text,
  reference text,
  traceparent text,
  created_at integer not null,
  updated_at integer not null
);
create index if not exists deliveries_open on deliveries (state, next_at) where state not in ('confirmed', 'refused', 'expired');
create index if not exists deliveries_subject on deliveries (destination, subject);
create index if not exists deliveries_stream on deliveries (stream);

-- With numbered rows: kept in the order of its key, so large a row would cost far more to add.
create table if not exists blobs (
  seq integer primary key,
  id blob not null unique,
  stream blob not null,
  media_type text not null,
  sealed blob not null,
  digest blob not null,
  at integer not null
);

-- Who saw or touched whose data, why and when. Append only.
create table if not exists audit (
  seq integer primary key,
  at integer not null,
  role text not null,
  pseudonym blob not null,
  organisation text not null,
  action text not null,
  whose blob,
  why text not null
);

-- HL7 messages as received and sent. Their bytes lie under their day's key (inbox_bytes), and once a message has moved to a resident's
-- visit under that visit's (blobs).
create table if not exists inbox (
  seq integer primary key,
  id blob not null unique,
  received_at integer not null,
  outgoing integer not null,
  peer text not null,
  control_id text not null,
  kind text not null,
  reply text not null,
  size integer not null,
  digest blob not null,
  body_tag blob,
  day text not null,
  person_tag blob,
  place_tag blob,
  occurred_at integer not null,
  moved integer not null default 0,
  state text not null,
  why text not null,
  effect text not null,
  stream blob,
  resident blob,
  traceparent text
);
-- Asked for in the same words, which lead to no other index: the backlog is read in its order, however long it is.
create index if not exists inbox_received on inbox (seq) where (state || '') = 'received';
create index if not exists inbox_time on inbox (received_at);
create index if not exists inbox_peer on inbox (peer, received_at);
create index if not exists inbox_kind on inbox (kind, received_at);
create index if not exists inbox_state on inbox (state, received_at);
create index if not exists inbox_control on inbox (control_id);
create index if not exists inbox_person on inbox (person_tag, body_tag) where person_tag is not null;
create index if not exists inbox_place on inbox (place_tag) where place_tag is not null and state in ('received', 'held');
-- What goes with its day: where the bytes moved to a visit, the row stays.
create index if not exists inbox_day on inbox (day) where moved = 0;

-- Apart from their rows, which are settled later: the smaller the row the cheaper that is.
create table if not exists inbox_bytes (
  seq integer primary key,
  id blob not null unique,
  sealed blob not null
);

-- Facts as consumed, without their sealed part, in arrival order: what a rebuild replays. `position` is that of this service's
-- newest event then, so that its own events are replayed in between.
create table if not exists archive (
  seq integer primary key,
  position integer not null,
  topic text not null,
  payload blob not null
);

-- One row per batch without events, for an hour: how a writer learns whether a commit whose answer was lost took place. A batch
-- with events is known by the last of them.
create table if not exists batches (
  batch_id blob primary key,
  at integer not null
) without rowid;

-- One row each: the relay's cursor and the lease of the service's single workers.
create table if not exists relay (
  one integer primary key check (one = 1),
  cursor integer not null
);
create table if not exists lease (
  one integer primary key check (one = 1),
  holder blob not null,
  until integer not null
);

-- For each partition of the service's topic, the offset behind the last record that this store is known to have: what tells a
-- partition that was emptied or cut short, and from where the log is read back.
create table if not exists relayed_ends (
  partition integer primary key,
  next_offset integer not null
);

-- A republish under way: every event up to `until` goes out again; `next` is where it stands.
create table if not exists republish (
  one integer primary key check (one = 1),
  next integer not null,
  until integer not null
);

-- The deployment as this store knows it. The incarnation rises with every recovery; no event above the finalised level is written.
create table if not exists deployment_state (
  one integer primary key check (one = 1),
  incarnation integer not null,
  finalised_level integer not null,
  recovering integer not null
);

-- Processes at work on this store, each seen every few seconds.
create table if not exists processes (
  instance blob primary key,
  release text not null,
  level integer not null,
  started_at integer not null,
  seen_at integer not null
) without rowid;
