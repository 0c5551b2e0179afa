//! The laws of derivatives on every operation and on random graphs.

#[allow(dead_code, unreachable_pub, reason = "it is shared with the tests of the crate itself")]
mod catalog;
#[allow(dead_code, unreachable_pub, reason = "it is shared with other tests")]
mod graphs;

use autodiff::check_grads;
use catalog::Case;
use graphs::graph;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_graphs_obey_every_law(graph in graph(), seed in any::<u64>()) {
        let Some(at) = graph.point() else { return Err(TestCaseError::reject("a kink is near everywhere")) };
        if let Err(e) = check_grads(&graph, &at, seed) {
            return Err(TestCaseError::fail(e.to_string()));
        }
    }
}

#[test]
fn every_operation_obeys_every_law() {
    for case in Case::all() {
        for examples in [0, 1, 3] {
            for seed in 0..10 {
                let checked = check_grads(&case, &case.point(examples, seed), seed);
                assert!(checked.is_ok(), "{case:?}, {examples} examples, seed {seed}: {}", checked.unwrap_err());
            }
        }
    }
}
