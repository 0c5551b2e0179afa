//! What is planned.

use crate::common::inputs;
use nn::{Network, conv, dense, flatten, global_avg_pool, relu};
use ntk::{EmpiricalError, Finite, Order, Outputs, Plan, Request, Strategy, plan};

fn planned(network: &Network, n: usize, request: &Request) -> Result<Plan, EmpiricalError> {
    let parameters = network.init::<f32>(3).unwrap();
    let x = inputs::<f32>(n, network.n_inputs(), 1);
    plan(&Finite { network, parameters: &parameters }, &x, None, request)
}

fn orders(plan: &Plan) -> Vec<Order> {
    plan.parameters.iter().map(|p| p.order).collect()
}

#[test]
fn every_order_is_the_cheapest_somewhere() {
    let full = Request::of(Outputs::Full);
    let dense_only = Network::new([64], [dense(256), relu(), dense(10)]).unwrap();
    let plan = planned(&dense_only, 64, &full).unwrap();
    assert_eq!((plan.strategy, orders(&plan)), (Strategy::Structured, vec![Order::Gram; 4]));
    // Large images with few channels, of which the last are pooled.
    let images = Network::new([16, 16, 3], [conv(16, [3, 3]), relu(), conv(16, [3, 3]), relu(), global_avg_pool(), dense(10)]).unwrap();
    let plan = planned(&images, 32, &full).unwrap();
    assert_eq!(orders(&plan)[..4], [Order::Jacobian, Order::Jacobian, Order::Pooled, Order::Jacobian]);
    // Small images with many channels.
    let channels = Network::new([2, 2, 128], [conv(256, [3, 3]), relu(), flatten(), dense(10)]).unwrap();
    let plan = planned(&channels, 32, &full).unwrap();
    assert_eq!(orders(&plan)[0], Order::Sites);
    // More outputs than a layer has features: every example's tangents are fewer than its derivatives.
    let outputs = Network::new([4], [dense(8), relu(), dense(8), relu(), dense(300)]).unwrap();
    let plan = planned(&outputs, 300, &full).unwrap();
    assert!(plan.compared.iter().all(|(_, seconds)| *seconds > 0.0), "{plan:?}");
    let rated = Request { rates: Some(vec![0.0, 0.0, 1.0, 1.0]), ..full };
    assert_eq!(orders(&planned(&dense_only, 64, &rated).unwrap()), [Order::Nothing, Order::Nothing, Order::Gram, Order::Gram]);
}

#[test]
fn operations_are_those_of_the_formulas() {
    let network = Network::new([5, 4, 2], [conv(3, [3, 3]), relu(), flatten(), dense(7)]).unwrap();
    let of = |order, kept| {
        let request = Request { strategy: Strategy::Structured, order: Some(order), ..Request::of(kept) };
        planned(&network, 6, &request).unwrap()
    };
    let (s, i, o, k, n) = (20.0, 18.0, 3.0, 7.0, 6.0);
    let pairs = n * (n + 1.0) / 2.0;
    let flops = |plan: &Plan, p: usize| plan.parameters[p].cost.flops;
    let full = of(Order::Jacobian, Outputs::Full);
    assert_eq!(flops(&full, 0), 2.0 * (n * k * s * i * o + pairs * k * k * i * o));
    assert_eq!(flops(&of(Order::Jacobian, Outputs::Trace), 0), 2.0 * (n * k * s * i * o + pairs * k * i * o));
    assert_eq!(flops(&of(Order::Sites, Outputs::Full), 0), 2.0 * pairs * (s * s * (i + k * o) + s * k * k * o));
    assert_eq!(flops(&of(Order::Gram, Outputs::Full), 2), 2.0 * pairs * (s * o + k * k * k));
    assert_eq!(flops(&of(Order::Gram, Outputs::Full), 3), 0.0, "a bias is a shift in the term of its weight");
    // Forward through all, and back through the dense layer for each output.
    let forward = |plan: &Plan| plan.recording.flops;
    assert!(forward(&full) >= 2.0 * n * (s * i * o + k * s * o * k) && forward(&full) < 4.0 * n * (s * i * o + k * s * o * k));
}

#[test]
fn memory_decides_the_tile_and_too_little_is_an_error_that_says_the_least() {
    let network = Network::new([8, 8, 2], [conv(8, [3, 3]), relu(), conv(8, [3, 3]), relu(), flatten(), dense(5)]).unwrap();
    for kept in Outputs::ALL {
        for strategy in [Strategy::Jacobian, Strategy::Products, Strategy::Structured] {
            let request = |memory| Request { strategy, memory: Some(memory), ..Request::of(kept) };
            let error = planned(&network, 50, &request(1000)).unwrap_err();
            let EmpiricalError::Memory { given: 1000, least, strategy: name } = error else { panic!("{error}") };
            assert_eq!(name, strategy.name());
            assert!(error.to_string().contains(&least.to_string()), "{error}");
            let tile = planned(&network, 50, &request(least)).unwrap();
            assert_eq!((tile.examples, tile.memory), (1, least), "{kept:?}, {strategy:?}");
            planned(&network, 50, &request(least - 1)).unwrap_err();
            let mut before = 0;
            for memory in [2, 4, 16, 1000].map(|times| times * least) {
                let plan = planned(&network, 50, &request(memory)).unwrap();
                assert!(plan.memory <= memory && plan.examples >= before);
                before = plan.examples;
            }
            assert_eq!(before, 50, "{kept:?}, {strategy:?}");
        }
    }
}

#[test]
fn strategy_and_orders_depend_neither_on_memory_nor_on_threads() {
    let network = Network::new([8, 8, 2], [conv(8, [3, 3]), relu(), global_avg_pool(), dense(5)]).unwrap();
    let whole = planned(&network, 20, &Request::of(Outputs::Full)).unwrap();
    for threads in [1, 2, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for memory in [20 << 20, 1 << 30] {
            let request = Request { memory: Some(memory), ..Request::of(Outputs::Full) };
            let plan = pool.install(|| planned(&network, 20, &request).unwrap());
            assert_eq!((plan.strategy, orders(&plan)), (whole.strategy, orders(&whole)));
        }
    }
}
