//! Who is who, by random id: the alias edges, followed on reading.

use crate::rows::AliasEdge;
use hearthline_nhs::ResidentId;
use std::collections::HashMap;

/// Edges are followed this far; a longer chain is a cycle, and the id stands for itself.
const CHAIN_MAX: usize = 32;

/// The standing edges. Where two stand for one id the later merge holds.
#[derive(Debug, Clone, Default)]
pub struct People {
    edges: HashMap<ResidentId, (i64, ResidentId)>,
}

impl People {
    pub fn of(edges: &[AliasEdge]) -> Self {
        let mut people = People::default();
        for edge in edges.iter().filter(|edge| edge.standing) {
            let newer = (edge.merged_at, edge.into_id);
            let kept = people.edges.entry(edge.from_id).or_insert(newer);
            *kept = newer.max(*kept);
        }
        people
    }

    /// The person whom an id names.
    pub fn who(&self, id: ResidentId) -> ResidentId {
        let mut at = id;
        for _ in 0..CHAIN_MAX {
            match self.edges.get(&at) {
                Some((_, into)) => at = *into,
                None => return at,
            }
        }
        tracing::error!("alias edges form a cycle; the id is left unresolved");
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ResidentId {
        ResidentId::from_bytes([n; 16])
    }

    fn edge(from: u8, into: u8, merged_at: i64, standing: bool) -> AliasEdge {
        AliasEdge { from_id: id(from), into_id: id(into), standing, merged_at }
    }

    #[test]
    fn edges_are_followed_to_the_survivor_whatever_their_order() {
        let mut edges = vec![edge(1, 2, 5, true), edge(2, 3, 1, true)];
        assert_eq!(People::of(&edges).who(id(1)), id(3));
        edges.reverse();
        assert_eq!(People::of(&edges).who(id(1)), id(3));
        assert_eq!(People::of(&edges).who(id(9)), id(9));
    }

    #[test]
    fn a_reversed_edge_leads_nowhere_and_the_later_of_two_holds() {
        assert_eq!(People::of(&[edge(1, 2, 5, false)]).who(id(1)), id(1));
        let edges = [edge(1, 2, 5, true), edge(1, 3, 9, true)];
        assert_eq!(People::of(&edges).who(id(1)), id(3));
    }

    #[test]
    fn a_cycle_leaves_the_id_as_it_is() {
        assert_eq!(People::of(&[edge(1, 2, 1, true), edge(2, 1, 2, true)]).who(id(1)), id(1));
    }
}
