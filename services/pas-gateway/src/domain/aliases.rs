//! Which identifier stands for which: alias edges of a facility's merges (A34, A40, A47), resolved through chains in whatever order they
//! came. For names of visits that are made of a patient's identifier; who is who among residents the directory decides.

use super::rejection::Rejection;

/// What an identifier goes by now. `next` is the edge of one identifier, if it has one.
pub fn resolved<K: Clone>(key: &K, next: impl Fn(&K) -> Option<K>) -> K {
    let mut at = key.clone();
    while let Some(further) = next(&at) {
        at = further;
    }
    at
}

/// The edge that a merge adds: from what `retired` goes by now to what `survivor` goes by now. So there is never more than one edge from
/// an identifier, and never a cycle.
///
/// # Errors
/// [`Rejection::MergeCycle`] where the survivor was merged into the retired one, [`Rejection::NothingNew`] where they are one already.
pub fn edge<K: Clone + Eq>(retired: &K, survivor: &K, next: impl Fn(&K) -> Option<K>) -> Result<(K, K), Rejection> {
    if retired == survivor {
        return Err(Rejection::MergeWithItself);
    }
    let (from, into) = (resolved(retired, &next), resolved(survivor, &next));
    match from == into {
        true if from == *retired => Err(Rejection::MergeCycle),
        true => Err(Rejection::NothingNew),
        false => Ok((from, into)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn after(merges: &[(char, char)]) -> (BTreeMap<char, char>, Vec<Rejection>) {
        let (mut edges, mut refused) = (BTreeMap::new(), Vec::new());
        for (retired, survivor) in merges {
            match edge(retired, survivor, |key| edges.get(key).copied()) {
                Ok((from, into)) => assert_eq!(edges.insert(from, into), None),
                Err(rejection) => refused.push(rejection),
            }
        }
        (edges, refused)
    }

    #[test]
    fn chains_come_to_the_same_in_either_order() {
        let chain = [('a', 'b'), ('b', 'c'), ('d', 'c')];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let (edges, refused) = after(&order.map(|n| chain[n]));
            assert!(refused.is_empty());
            for key in ['a', 'b', 'c', 'd'] {
                assert_eq!(resolved(&key, |key| edges.get(key).copied()), 'c', "{order:?}");
            }
        }
    }

    #[test]
    fn a_cycle_is_refused_by_name_and_what_is_known_is_nothing_new() {
        assert_eq!(after(&[('a', 'b'), ('b', 'a')]).1, [Rejection::MergeCycle]);
        assert_eq!(after(&[('a', 'b'), ('b', 'c'), ('c', 'a')]).1, [Rejection::MergeCycle]);
        assert_eq!(after(&[('a', 'a')]).1, [Rejection::MergeWithItself]);
        assert_eq!(after(&[('a', 'b'), ('a', 'b')]).1, [Rejection::NothingNew]);
        assert!(Rejection::MergeCycle.why().contains("cycle"));
    }
}
