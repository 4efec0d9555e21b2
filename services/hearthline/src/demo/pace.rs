//! Counts the driver's steps and says at which of them a serving process is killed, and which one: the same seed kills the same ones
//! at the same steps.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// What kind of step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Loading registers and residents.
    Register,
    /// A command of a call.
    Command,
    /// A hospital message.
    Message,
    /// Waiting for what the hub does by itself.
    Wait,
}

/// When the process dies, seen from the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    /// This long after the request or message has left.
    During(Duration),
    /// After the answer has come, before the driver does anything with it.
    After,
}

/// How many steps of each kind a run has.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    pub registers: usize,
    pub commands: usize,
    pub messages: usize,
    pub waits: usize,
}

pub struct Pace {
    points: HashMap<(Step, usize), Moment>,
    taken: Mutex<HashMap<Step, usize>>,
}

impl Pace {
    /// Chooses `kills` different steps: half of them commands, the rest messages, waits and registers.
    pub fn new(kills: u32, seed: u64, steps: Steps) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 0x6b69_6c6c);
        let mut points = HashMap::new();
        let wanted = (kills as usize).min(steps.commands / 2);
        for turn in 0.. {
            if points.len() >= wanted {
                break;
            }
            let (step, count) = match turn % 8 {
                1 | 5 => (Step::Message, steps.messages),
                3 => (Step::Wait, steps.waits),
                7 => (Step::Register, steps.registers),
                _ => (Step::Command, steps.commands),
            };
            let moment = match (step, random.random_range(0..4)) {
                (Step::Wait, _) => Moment::During(Duration::from_micros(random.random_range(0..40_000))),
                (_, 0) => Moment::Before,
                (_, 1) => Moment::After,
                _ => Moment::During(Duration::from_micros(random.random_range(0..6_000))),
            };
            if count > 0 {
                points.entry((step, random.random_range(0..count))).or_insert(moment);
            }
        }
        Self { points, taken: Mutex::default() }
    }

    /// The next step of a kind, and whether the process dies at it.
    pub fn next(&self, step: Step) -> Option<Moment> {
        let mut taken = self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = taken.entry(step).or_default();
        let moment = self.points.get(&(step, *count)).copied();
        *count += 1;
        moment
    }
}

/// Which process is killed next, for ever: one of each service first, in an order of the seed's, then any.
pub fn victims(seed: u64, groups: Vec<Vec<usize>>) -> impl Iterator<Item = usize> {
    let mut random = StdRng::seed_from_u64(seed ^ 0x7669_6374);
    let mut first: Vec<usize> = groups.iter().filter(|group| !group.is_empty()).map(|group| group[random.random_range(0..group.len())]).collect();
    first.shuffle(&mut random);
    let all: Vec<usize> = groups.into_iter().flatten().collect();
    first.into_iter().chain(std::iter::from_fn(move || (!all.is_empty()).then(|| all[random.random_range(0..all.len())])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps = Steps { registers: 200, commands: 150, messages: 1_500, waits: 30 };

    fn kills(seed: u64) -> Vec<(Step, usize, Moment)> {
        let pace = Pace::new(20, seed, STEPS);
        let mut found = Vec::new();
        for (step, count) in [(Step::Register, 200), (Step::Command, 150), (Step::Message, 1_500), (Step::Wait, 30)] {
            found.extend((0..count).filter_map(|n| pace.next(step).map(|moment| (step, n, moment))));
        }
        found
    }

    #[test]
    fn there_are_as_many_kills_as_asked_for_spread_over_all_kinds_of_steps() {
        let found = kills(1);
        assert_eq!(found.len(), 20);
        for step in [Step::Register, Step::Command, Step::Message, Step::Wait] {
            assert!(found.iter().any(|(of, ..)| *of == step), "{step:?}");
        }
    }

    #[test]
    fn the_same_seed_kills_at_the_same_steps() {
        assert_eq!(kills(3), kills(3));
        assert_ne!(kills(3), kills(4));
    }

    #[test]
    fn each_service_is_killed_once_before_any_is_killed_twice() {
        let groups = vec![vec![0, 1], vec![2], vec![3, 4]];
        for seed in 0..20 {
            let killed: Vec<usize> = victims(seed, groups.clone()).take(12).collect();
            let of = |process: &usize| groups.iter().position(|group| group.contains(process));
            let mut first: Vec<_> = killed[..3].iter().map(of).collect();
            first.sort_unstable();
            assert_eq!(first, [Some(0), Some(1), Some(2)]);
            assert_eq!(killed, victims(seed, groups.clone()).take(12).collect::<Vec<_>>());
        }
    }

    #[test]
    fn without_kills_nothing_dies() {
        let pace = Pace::new(0, 9, STEPS);
        assert!((0..1_500).all(|_| pace.next(Step::Message).is_none()));
    }
}
