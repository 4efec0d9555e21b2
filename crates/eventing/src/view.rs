//! Projections: what a service remembers of facts, its own and others', in tables that can be thrown away and rebuilt.

use crate::event::Fact;
use crate::tx::{DbError, Table, Tx};
use async_trait::async_trait;

/// A fact that a view cannot take, or a database that fails.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The fact does not decode or contradicts the view's rows; consumed alone it is parked.
    #[error("a view cannot take {0}")]
    Unreadable(&'static str),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A projection. The writer calls it once per batch, set-wise and in order, inside the transaction that makes the facts
/// durable; rebuild runs the same function over the archive. It is total over destroyed and withheld personal data and
/// does not depend on how streams interleave.
#[async_trait]
pub trait View: Send + Sync {
    fn tables(&self) -> &'static [Table];
    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError>;
}
