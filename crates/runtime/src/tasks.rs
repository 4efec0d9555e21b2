//! Open tasks: what a person still has to do, as the service's own `TaskOpened` and `TaskClosed` facts say. They are alike in
//! every context, so that one view and one answer serve every service.

use crate::http::Problem;
use crate::service::{rfc3339, uuid_of};
use async_trait::async_trait;
use hearthline_contracts::envelope::ActorRole;
use hearthline_contracts::facts::fact_name;
use hearthline_contracts::topics::Topic;
use hearthline_contracts::types::{TaskClosed, TaskOpened};
use hearthline_contracts::wire;
use hearthline_eventing::{Fact, Store, StoreError, Table, Tx, Value, View, ViewError};
use hearthline_nhs::{StreamId, TaskId};
use prost::Message;
use serde::Serialize;

const TASKS: Table = Table {
    name: "tasks",
    columns: &["task_id", "stream", "kind", "role", "due_at", "overdue", "subject_id", "opened_at"],
    key: 1,
    ddl: "create table if not exists tasks (
  task_id blob primary key,
  stream blob not null,
  kind text not null,
  role text not null,
  due_at integer not null,
  overdue integer not null,
  subject_id blob,
  opened_at integer not null
);
create index if not exists tasks_stream on tasks (stream);",
};

/// The view of the open tasks on a service's own streams.
pub struct OpenTasks(pub &'static Topic);

/// One open task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTask {
    pub id: TaskId,
    pub stream: StreamId,
    pub kind: String,
    pub role: String,
    /// µs UTC.
    pub due_at: i64,
    /// The deadline had passed when it was opened.
    pub overdue: bool,
    pub subject: Option<[u8; 16]>,
    /// µs UTC.
    pub opened_at: i64,
}

/// One open task as `GET /tasks/<service>` answers it.
#[derive(Debug, Clone, Serialize)]
pub struct TaskLine {
    pub id: uuid::Uuid,
    pub stream: uuid::Uuid,
    pub kind: String,
    pub role: String,
    pub due_at: String,
    pub overdue: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<uuid::Uuid>,
    pub opened_at: String,
}

/// The answer of `GET /tasks/<service>`, the next due first.
#[derive(Debug, Clone, Serialize)]
pub struct TaskList {
    pub tasks: Vec<TaskLine>,
}

/// Every open task, the next due first; at most 1,000.
pub async fn list(store: &dyn Store) -> Result<TaskList, Problem> {
    let tasks = select(store, "order by due_at, task_id limit 1000", &[]).await?;
    let lines = tasks.into_iter().map(|t| TaskLine {
        id: uuid_of(*t.id.bytes()),
        stream: uuid_of(*t.stream.bytes()),
        kind: t.kind,
        role: t.role,
        due_at: rfc3339(t.due_at),
        overdue: t.overdue,
        subject_id: t.subject.map(uuid_of),
        opened_at: rfc3339(t.opened_at),
    });
    Ok(TaskList { tasks: lines.collect() })
}

/// The open tasks on one stream.
pub async fn of_stream(store: &dyn Store, stream: StreamId) -> Result<Vec<OpenTask>, StoreError> {
    select(store, "where stream = $1 order by due_at", &[stream.into()]).await
}

async fn select(store: &dyn Store, rest: &str, args: &[Value]) -> Result<Vec<OpenTask>, StoreError> {
    let sql = format!("select {} from tasks {rest}", TASKS.columns.join(","));
    let rows = store.query(&sql, args).await?;
    let tasks = rows.iter().map(|row| OpenTask {
        id: TaskId::from_bytes(row.id(0)),
        stream: row.stream(1),
        kind: row.text(2).to_owned(),
        role: row.text(3).to_owned(),
        due_at: row.int(4),
        overdue: row.flag(5),
        subject: row.opt_id(6),
        opened_at: row.int(7),
    });
    Ok(tasks.collect())
}

#[async_trait]
impl View for OpenTasks {
    fn tables(&self) -> &'static [Table] {
        &[TASKS]
    }

    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError> {
        for fact in facts.iter().filter(|fact| fact.topic == self.0.name) {
            let parts = wire::split(&fact.payload).map_err(|_| ViewError::Unreadable("an event"))?;
            match fact_name(self.0.context, parts.fact_number) {
                Some("TaskOpened") => open(tx, fact, &parts.fact)?,
                Some("TaskClosed") => {
                    let closed: TaskClosed = body(&parts.fact)?;
                    tx.execute("delete from tasks where task_id = $1", &[closed.task_id.into()]);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn open(tx: &mut Tx<'_>, fact: &Fact, bytes: &[u8]) -> Result<(), ViewError> {
    let task: TaskOpened = body(bytes)?;
    let subject = (!task.subject_id.is_empty()).then_some(task.subject_id);
    tx.execute(
        "insert into tasks (task_id, stream, kind, role, due_at, overdue, subject_id, opened_at) values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (task_id) do nothing",
        &[
            task.task_id.into(),
            fact.stream().into(),
            task.kind.into(),
            role_word(task.role).into(),
            task.due_at_us.into(),
            task.overdue.into(),
            subject.into(),
            fact.envelope.recorded_at_us.into(),
        ],
    );
    Ok(())
}

/// The message inside an encoded fact: behind its tag and length.
fn body<M: Message + Default>(fact: &[u8]) -> Result<M, ViewError> {
    let unreadable = |_| ViewError::Unreadable("a task");
    let mut rest = fact;
    prost::encoding::decode_key(&mut rest).map_err(unreadable)?;
    M::decode_length_delimited(rest).map_err(unreadable)
}

fn role_word(role: i32) -> String {
    let name = ActorRole::try_from(role).unwrap_or(ActorRole::Unspecified);
    name.as_str_name().trim_start_matches("ACTOR_ROLE_").to_ascii_lowercase()
}
