//! The orders that the prescription service holds, and what became of them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::rules::Prescription;

/// What an item is to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemStatus {
    Active,
    Cancelled,
}

/// One item line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The item number, a UUID in lower case.
    pub item_id: String,
    pub status: ItemStatus,
}

/// An accepted order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Order {
    /// Short form, `RRRRRR-OOOOOO-SSSSSC`.
    pub prescription_id: String,
    /// Long form, a UUID in lower case.
    pub long_prescription_id: String,
    /// `Bundle.identifier` of the message that was accepted.
    pub bundle_id: String,
    pub items: Vec<Item>,
    /// How often an order with this id arrived, accepted or refused as a duplicate.
    pub times_submitted: u32,
    /// How many of those repeats carried another bundle than the accepted one.
    pub times_differing: u32,
    /// The message as accepted.
    pub bundle: Value,
}

/// One answer to a cancellation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cancellation {
    pub prescription_id: String,
    pub item_id: String,
    /// Code of the status history, such as `R-0001`.
    pub outcome: String,
}

/// How much arrived. Free of content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Orders kept, each prescription once.
    pub orders: usize,
    /// `$prepare` requests answered with a digest.
    pub prepared: u64,
    /// Orders refused because their prescription id was there already.
    pub duplicates: u64,
    /// Cancellations answered, whatever their outcome.
    pub cancellations: usize,
    /// Refusals by issue code.
    pub refused: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Orders {
    by_id: BTreeMap<String, Order>,
    cancellations: Vec<Cancellation>,
    prepared: u64,
    duplicates: u64,
    refused: BTreeMap<String, u64>,
}

impl Orders {
    /// Keeps a new order; false when its id, short or long, is known already.
    pub(super) fn accept(&mut self, prescription: Prescription, bundle_id: &str, bundle: Value) -> bool {
        let known = self.by_id.values_mut().find(|order| order.prescription_id == prescription.short_id || order.long_prescription_id == prescription.long_id);
        if let Some(order) = known {
            order.times_submitted += 1;
            order.times_differing += u32::from(order.bundle != bundle);
            self.duplicates += 1;
            return false;
        }
        let item = |item_id| Item { item_id, status: ItemStatus::Active };
        let order = Order {
            prescription_id: prescription.short_id.clone(),
            long_prescription_id: prescription.long_id,
            bundle_id: bundle_id.to_owned(),
            items: prescription.item_ids.into_iter().map(item).collect(),
            times_submitted: 1,
            times_differing: 0,
            bundle,
        };
        self.by_id.insert(prescription.short_id, order);
        true
    }

    /// Cancels the item, unless `scripted` says how it turns out instead; returns the outcome's code.
    pub(super) fn cancel(&mut self, prescription: &Prescription, scripted: Option<&str>) -> String {
        let wanted = prescription.item_ids.first().map(String::as_str).unwrap_or_default();
        let item = self.by_id.get_mut(&prescription.short_id).and_then(|order| order.items.iter_mut().find(|item| item.item_id == wanted));
        let outcome = match (scripted, item) {
            (Some(outcome), _) if outcome != "R-0001" => outcome,
            (_, None) => "R-0008",
            (_, Some(Item { status: ItemStatus::Cancelled, .. })) => "R-0006",
            (_, Some(item)) => {
                item.status = ItemStatus::Cancelled;
                "R-0001"
            }
        };
        self.cancellations.push(Cancellation { prescription_id: prescription.short_id.clone(), item_id: wanted.to_owned(), outcome: outcome.to_owned() });
        outcome.to_owned()
    }

    pub(super) fn prepared(&mut self) {
        self.prepared += 1;
    }

    pub(super) fn refused(&mut self, code: &str) {
        *self.refused.entry(code.to_owned()).or_default() += 1;
    }

    pub(super) fn order(&self, prescription_id: &str) -> Option<Order> {
        let by_long = || self.by_id.values().find(|order| order.long_prescription_id == prescription_id);
        self.by_id.get(prescription_id).or_else(by_long).cloned()
    }

    pub(super) fn all(&self) -> Vec<Order> {
        self.by_id.values().cloned().collect()
    }

    pub(super) fn cancellations(&self) -> Vec<Cancellation> {
        self.cancellations.clone()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            orders: self.by_id.len(),
            prepared: self.prepared,
            duplicates: self.duplicates,
            cancellations: self.cancellations.len(),
            refused: self.refused.clone(),
        }
    }
}
