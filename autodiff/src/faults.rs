//! Faults planted in the rule table, to show that the checks find them.
//!
//! [`plant`] wraps the reader of the rule table, and while the faulty edge is being read, [`apply`] carries out the wrong map in place of the
//! right one. The tests below plant every kind of fault at every edge of every operation, one at a time.

use crate::linear::Linear;
use crate::op::Var;
use crate::scalar::{Scalar, Scratch};
use simd::Accumulate;
use std::cell::Cell;

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The map has the opposite sign.
    Sign,
    /// The map is 1.5 times what it should be.
    Factor,
    /// The map is left out.
    Missing,
    /// The map takes the entries of its input in the opposite order.
    Transposed,
    /// What arrives overwrites what was there.
    Dropped,
    /// The transposed map has the opposite sign, the map itself is right: the two modes disagree.
    Backward,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [Kind::Sign, Kind::Factor, Kind::Missing, Kind::Transposed, Kind::Dropped, Kind::Backward];
}

/// One wrong rule: an operation, one of its edges, and what is wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) op: &'static str,
    pub(crate) edge: usize,
    pub(crate) kind: Kind,
}

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    static ACTIVE: Cell<Option<Kind>> = const { Cell::new(None) };
    static BACKWARD: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with a wrong rule.
pub(crate) fn with<R>(fault: Fault, f: impl FnOnce() -> R) -> R {
    PLANTED.set(Some(fault));
    let result = f();
    PLANTED.set(None);
    result
}

/// The reader of an operation's edges, with the planted fault in force while it reads the faulty one.
pub(crate) fn plant<'t, T: Scalar>(op: &'static str, mut edge: impl FnMut(Var, Linear<'t, T>)) -> impl FnMut(Var, Linear<'t, T>) {
    let mut i = 0;
    move |x, linear| {
        ACTIVE.set(PLANTED.get().filter(|fault| fault.op == op && fault.edge == i).map(|fault| fault.kind));
        edge(x, linear);
        ACTIVE.set(None);
        i += 1;
    }
}

/// What is wrong with the edge that is being read.
pub(crate) fn active() -> Option<Kind> {
    ACTIVE.get()
}

/// Runs `f`, which applies a transposed map.
pub(crate) fn backward<R>(f: impl FnOnce() -> R) -> R {
    BACKWARD.set(true);
    let result = f();
    BACKWARD.set(false);
    result
}

/// [`Linear::apply`] with something wrong. The same is wrong in the transposed map, as it would be in a table that both modes read.
pub(crate) fn apply<T: Scalar>(
    kind: Kind,
    map: &Linear<'_, T>,
    lanes: usize,
    dx: &[T],
    to: Accumulate,
    dy: &mut [T],
    scratch: &mut Scratch<T>,
) {
    let scaled = |a: f64| dx.iter().map(|&d| T::of(a) * d).collect::<Vec<_>>();
    let backward = BACKWARD.get();
    match kind {
        Kind::Sign => map.apply_right(lanes, &scaled(-1.0), to, dy, scratch),
        Kind::Factor => map.apply_right(lanes, &scaled(1.5), to, dy, scratch),
        Kind::Missing => map.apply_right(lanes, &scaled(0.0), to, dy, scratch),
        Kind::Backward => map.apply_right(lanes, &scaled(if backward { -1.0 } else { 1.0 }), to, dy, scratch),
        Kind::Dropped => map.apply_right(lanes, dx, Accumulate::Set, dy, scratch),
        Kind::Transposed => {
            let reversed = |x: &[T], len: usize| x.chunks(len.max(1)).flat_map(|lane| lane.iter().rev().copied()).collect::<Vec<_>>();
            if backward {
                let mut back = vec![T::ZERO; dy.len()];
                map.apply_right(lanes, dx, Accumulate::Set, &mut back, scratch);
                crate::apply::put(to, dy, reversed(&back, map.outputs()).into_iter());
            } else {
                map.apply_right(lanes, &reversed(dx, map.inputs()), to, dy, scratch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Kind, with};
    use crate::catalog::{Case, N_OPS, number};
    use crate::check::measure;
    use crate::{Differentiable, Point, Tape, Var, check_grads};
    use std::collections::{BTreeMap, BTreeSet};

    const SEED: u64 = 5;

    fn record(case: Case, at: &Point) -> Tape<f64> {
        let mut tape = Tape::new();
        let parameters: Vec<Var> = at.parameters.iter().map(|(shape, x)| tape.parameter(*shape, x)).collect();
        let inputs: Vec<Var> = at.inputs.iter().map(|(shape, x)| tape.input(*shape, x)).collect();
        case.record(&mut tape, &inputs, &parameters);
        tape
    }

    /// The cases in which each edge of each operation occurs.
    fn edges() -> BTreeMap<(&'static str, usize), Vec<Case>> {
        let mut found: BTreeMap<_, Vec<Case>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for case in Case::all() {
            let tape = record(case, &case.point(3, SEED));
            for v in tape.vars() {
                let mut i = 0;
                seen.insert(number(&tape.node(v).op));
                tape.edges(v, |_, _| {
                    let cases = found.entry((tape.node(v).op.name(), i)).or_default();
                    if cases.last() != Some(&case) {
                        cases.push(case);
                    }
                    i += 1;
                });
            }
        }
        assert_eq!(seen.len(), N_OPS, "every operation has a case, and only {seen:?} have");
        found
    }

    /// A letter for each law, in the order of [`Checked::laws`](crate::Checked).
    const LETTERS: [char; 7] = ['D', 'A', 'F', 'H', 'S', 'L', 'P'];

    /// The laws that a fault breaks, in one of the cases or another.
    fn broken(fault: Fault, cases: &[Case]) -> String {
        let found = cases.iter().map(|case| with(fault, || measure(case, &case.point(3, SEED), SEED)).laws());
        let mut letters = BTreeSet::new();
        for laws in found {
            letters.extend((0..LETTERS.len()).filter(|&k| laws[k].1 > laws[k].2));
        }
        letters.into_iter().map(|k| LETTERS[k]).collect()
    }

    #[test]
    fn every_planted_fault_is_caught() {
        let mut missed = Vec::new();
        let mut table =
            String::from("| rule | sign | factor | missing | transposed | dropped | backward |\n|---|---|---|---|---|---|---|\n");
        for ((op, edge), cases) in edges() {
            for case in &cases {
                assert_eq!(check_grads(case, &case.point(3, SEED), SEED).err(), None, "{case:?} without a fault");
            }
            table += &format!("| `{op}`, input {edge} |");
            for kind in Kind::ALL {
                let letters = broken(Fault { op, edge, kind }, &cases);
                table += &format!(" {letters} |");
                if letters.is_empty() {
                    missed.push((op, edge, kind));
                }
            }
            table += "\n";
        }
        assert!(missed.is_empty(), "faults that no law has found: {missed:#?}");
        // The table in the documentation is this one.
        let documented = include_str!("../FAULTS.md");
        assert!(documented.ends_with(&table), "FAULTS.md should end with this table:\n{table}");
    }
}
