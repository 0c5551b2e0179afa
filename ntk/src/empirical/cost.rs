//! What a kernel costs: operations, bytes, seconds, and the order of every parameter that follows from it.

use super::Strategy;
use super::memory::{CHUNK, LIGHT};
use super::plan::{Order, Orders};
use super::reduce::Outputs;
use super::uses::{Kind, Parameter, Survey, Use};
use simd::Level;

/// How fast a machine is, all its threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Operations of a large matrix product, in 10⁹ a second.
    pub gflops: f64,
    /// What can be read from or written to memory, in 10⁹ bytes a second.
    pub gbytes: f64,
}

impl Machine {
    /// A usual one for numbers of `size` bytes, with as many threads. The rates of a thread, by level in single precision: 90 (AVX-512), 85
    /// (AVX2), 8 (portable), and half of that in double precision; 6 GB/s. Measured on two cores of an AMD EPYC, the first with AVX-512, the
    /// others without.
    pub fn usual(size: usize, threads: usize) -> Self {
        let rate = match Level::best() {
            Level::Avx512(_) => 90.0,
            Level::Avx2(_) => 85.0,
            Level::Portable => 8.0,
        };
        Machine { gflops: threads as f64 * rate * 4.0 / size.max(4) as f64, gbytes: threads as f64 * 6.0 }
    }

    /// Seconds of so many operations and bytes, where `share` of the rate of a large product is reached.
    fn seconds(&self, cost: Cost, share: f64) -> f64 {
        (cost.flops / (share * self.gflops) + cost.bytes / self.gbytes) * 1e-9
    }
}

/// Operations, and bytes to and from memory.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Cost {
    /// Floating-point operations; a multiplication and an addition count as two.
    pub flops: f64,
    /// Bytes that are written or read, counted once for each array.
    pub bytes: f64,
    /// What both are expected to take.
    pub seconds: f64,
}

impl std::ops::Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost { flops: self.flops + other.flops, bytes: self.bytes + other.bytes, seconds: self.seconds + other.seconds }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), |sum, cost| sum + cost)
    }
}

/// How much of the rate of a large product is reached where images are convolved, in Gram matrices of long rows, in small products with
/// maps and sums beside them, and in pushes of which every lane has weights of its own.
const CONVOLVED: f64 = 0.8;
const CONTRACTED: f64 = 0.8;
const SMALL: f64 = 0.3;
const PUSHED: f64 = 0.5;

/// Sizes of a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Pairs of examples that are contracted, and examples that are made ready for it, as often as they are.
    pub(super) pairs: f64,
    pub(super) prepared: f64,
    pub(super) kept: Outputs,
    pub(super) outputs: usize,
    /// Bytes of a number.
    pub(super) number: usize,
}

impl Sizes {
    pub(super) fn new(n1: usize, n2: Option<usize>, kept: Outputs, outputs: usize, number: usize) -> Self {
        let (n, m) = (n1 as f64, n2.unwrap_or(n1) as f64);
        let pairs = if n2.is_none() { n * (n + 1.0) / 2.0 } else { n * m };
        Sizes { pairs, prepared: if n2.is_none() { n } else { n + m }, kept, outputs, number }
    }

    /// Cotangents of an example.
    fn lanes(&self) -> f64 {
        self.kept.lanes(0..self.outputs) as f64
    }

    /// Scalar products of cotangents of a pair.
    fn products(&self) -> f64 {
        match self.kept {
            Outputs::Full => self.lanes() * self.lanes(),
            Outputs::Trace | Outputs::Diagonal | Outputs::Sum => self.lanes(),
        }
    }
}

/// How much cheaper derivatives that are written out must be than factors that are kept apart, which need less memory.
pub(super) const ROOMIER: f64 = 1.25;

/// Recording all examples and pulling their cotangents back, but for what is done at parameters. The Jacobian strategy records a tile at
/// once, in memory; the structured one records few examples at a time, which stay in a cache unless their weights are larger.
pub(super) fn recording(strategy: Strategy, survey: &Survey, sizes: &Sizes, machine: &Machine) -> Cost {
    let flops = sizes.prepared * (survey.record + sizes.lanes() * survey.pull);
    let each = survey.values as f64 + sizes.lanes() * survey.cotangents as f64;
    let number = sizes.number as f64;
    let in_cache = match strategy {
        Strategy::Jacobian | Strategy::Products => false,
        Strategy::Auto | Strategy::Structured => {
            each * number <= CHUNK as f64 && each * sizes.prepared >= LIGHT as f64 * survey.constant as f64
        }
    };
    let bytes = 2.0 * (if in_cache { 0.0 } else { sizes.prepared * each } + survey.constant as f64) * number;
    let cost = Cost { flops, bytes, seconds: 0.0 };
    Cost { seconds: machine.seconds(cost, CONVOLVED), ..cost }
}

/// `K²·I·O` a pair and `K·S·I·O` an example: derivatives written out, and their Gram matrix.
fn jacobian(parameter: &Parameter, sizes: &Sizes, machine: &Machine) -> Cost {
    let size = parameter.size as f64;
    let written = sizes.prepared * sizes.lanes() * parameter.uses.iter().map(|u| u.flops).sum::<f64>();
    let flops = written + 2.0 * sizes.pairs * sizes.products() * size;
    let bytes = 3.0 * sizes.prepared * sizes.lanes() * size * sizes.number as f64;
    let cost = Cost { flops, bytes, seconds: 0.0 };
    Cost { seconds: machine.seconds(cost, CONTRACTED), ..cost }
}

/// `I + K²·O` a pair: the Gram matrix of features times that of cotangents, of uses with one site.
fn gram(parameter: &Parameter, beside: bool, sizes: &Sizes, machine: &Machine) -> Cost {
    if beside {
        return Cost::default();
    }
    let (uses, number) = (&parameter.uses, sizes.number as f64);
    let repeated = match sizes.kept {
        // The Gram matrix of features is computed again for each output.
        Outputs::Diagonal => sizes.lanes(),
        Outputs::Full | Outputs::Trace | Outputs::Sum => 1.0,
    };
    let of = |u: &Use| if u.kind == Kind::Ones { 0.0 } else { repeated * u.n_in as f64 } + sizes.products() * u.n_out as f64;
    let flops = 2.0 * sizes.pairs * uses.len() as f64 * uses.iter().map(of).sum::<f64>();
    let bytes =
        3.0 * sizes.prepared * uses.iter().map(|u| u.features() as f64 + sizes.lanes() * u.cotangents() as f64).sum::<f64>() * number
            + sizes.pairs * sizes.products() * number;
    let cost = Cost { flops, bytes, seconds: 0.0 };
    Cost { seconds: machine.seconds(cost, CONTRACTED), ..cost }
}

/// `O·(I + K²)` a pair and `S·I·O` an example: derivatives written out for one output.
fn pooled(parameter: &Parameter, sizes: &Sizes, machine: &Machine) -> Cost {
    let (u, size) = (&parameter.uses[0], parameter.size as f64);
    let repeated = if sizes.kept == Outputs::Diagonal { sizes.lanes() } else { 1.0 };
    let flops = sizes.prepared * u.flops + 2.0 * sizes.pairs * u.n_out as f64 * (repeated * u.n_in as f64 + sizes.products());
    let bytes = (5.0 * sizes.prepared * size + sizes.pairs * u.n_out as f64 * sizes.products()) * sizes.number as f64;
    let cost = Cost { flops, bytes, seconds: 0.0 };
    Cost { seconds: machine.seconds(cost, CONTRACTED), ..cost }
}

/// `S²(I + K·O) + S·K²·O` a pair: uses with several sites.
fn sites(parameter: &Parameter, sizes: &Sizes, machine: &Machine) -> Cost {
    let (uses, number) = (&parameter.uses, sizes.number as f64);
    let pair = |a: &Use, b: &Use| {
        let (s, t, o) = (a.sites as f64, b.sites as f64, a.n_out as f64);
        let features = if a.kind == Kind::Tokens || b.kind == Kind::Tokens { 0.0 } else { a.n_in as f64 };
        s * t * (features + sizes.lanes() * o) + s * sizes.products() * o
    };
    let flops = 2.0 * sizes.pairs * uses.iter().flat_map(|a| uses.iter().map(move |b| pair(a, b))).sum::<f64>();
    let bytes =
        2.0 * sizes.prepared * uses.iter().map(|u| u.features() as f64 + sizes.lanes() * u.cotangents() as f64).sum::<f64>() * number;
    let cost = Cost { flops, bytes, seconds: 0.0 };
    // Handing a product over costs about as much as 2·10⁴ operations.
    let calls = sizes.pairs * sizes.lanes() * (uses.len() * uses.len()) as f64;
    Cost { seconds: machine.seconds(Cost { flops: flops + 2e4 * calls, ..cost }, SMALL), ..cost }
}

/// `K` pushes a pair and `K` pulls an example.
pub(super) fn products(survey: &Survey, sizes: &Sizes, machine: &Machine) -> Cost {
    let lanes = sizes.lanes();
    let size: f64 = survey.parameters.iter().filter(|p| p.wanted()).map(|p| p.size as f64).sum();
    let leaves: f64 = survey.parameters.iter().filter(|p| p.wanted()).flat_map(|p| &p.uses).map(|u| u.flops).sum();
    let flops = sizes.prepared * (survey.record + lanes * (survey.pull + leaves)) + sizes.pairs * lanes * survey.push;
    let bytes = (sizes.prepared * lanes * (survey.cotangents as f64 + 2.0 * size) + 2.0 * sizes.pairs * lanes * survey.tangents as f64)
        * sizes.number as f64;
    let cost = Cost { flops, bytes, seconds: 0.0 };
    // Each right example is a lane with weights of its own: a product apart for each.
    Cost { seconds: machine.seconds(cost, PUSHED), ..cost }
}

/// The order of each parameter: the cheaper one, or that of the Jacobian for all.
pub(super) fn orders(survey: &Survey, sizes: &Sizes, machine: &Machine, forced: Option<Order>) -> Orders {
    let of = |parameter: &Parameter| if parameter.wanted() { order(parameter, sizes, machine, forced) } else { Order::Nothing };
    let mut of: Vec<Order> = survey.parameters.iter().map(of).collect();
    // A bias of one site beside a weight of one site has the same cotangents, and costs nothing.
    let one = |p: usize, kind: Kind| match survey.parameters[p].uses[..] {
        [u] if u.kind == kind && u.sites == 1 => Some(u.node),
        _ => None,
    };
    for p in 0..of.len() {
        let weight = |node| (0..of.len()).any(|q| of[q] == Order::Gram && one(q, Kind::Features) == Some(node));
        if of[p] == Order::Jacobian && forced.is_none() && one(p, Kind::Ones).is_some_and(weight) {
            of[p] = Order::Gram;
        }
    }
    let single = |p: usize, kind: Kind| match (&survey.parameters[p].uses[..], of[p]) {
        ([u], Order::Gram) if u.kind == kind => Some(u.node),
        _ => None,
    };
    let beside = |p: usize| {
        let node = single(p, Kind::Ones)?;
        (0..of.len()).find(|&q| single(q, Kind::Features) == Some(node))
    };
    let beside = (0..of.len()).map(beside).collect();
    Orders { of, beside }
}

/// What each parameter costs in its order.
pub(super) fn costs(survey: &Survey, orders: &Orders, sizes: &Sizes, machine: &Machine) -> Vec<Cost> {
    let cost = |(p, parameter): (usize, &Parameter)| match orders.of[p] {
        Order::Nothing => Cost::default(),
        Order::Jacobian => jacobian(parameter, sizes, machine),
        Order::Pooled => pooled(parameter, sizes, machine),
        Order::Gram => gram(parameter, orders.beside[p].is_some(), sizes, machine),
        Order::Sites => sites(parameter, sizes, machine),
    };
    survey.parameters.iter().enumerate().map(cost).collect()
}

/// The order that was asked for if the parameter can be contracted in it, else the cheapest. One that keeps factors apart may cost a
/// quarter more, as it saves memory.
fn order(parameter: &Parameter, sizes: &Sizes, machine: &Machine, forced: Option<Order>) -> Order {
    let uses = &parameter.uses;
    if uses.is_empty() || uses.iter().any(|u| u.kind == Kind::Written) {
        return Order::Jacobian;
    }
    let can = |order: Order| match order {
        Order::Nothing => false,
        Order::Jacobian | Order::Sites => true,
        Order::Gram => uses.iter().all(|u| u.sites == 1 && u.kind != Kind::Tokens),
        Order::Pooled => uses.len() == 1 && uses[0].pool.is_some() && uses[0].kind == Kind::Features && sizes.lanes() > 1.0,
    };
    if let Some(order) = forced.filter(|&order| can(order)) {
        return order;
    }
    let jacobian = (Order::Jacobian, ROOMIER * jacobian(parameter, sizes, machine).seconds);
    let apart = [Order::Gram, Order::Pooled, Order::Sites].into_iter().filter(|&order| can(order));
    let seconds = |order: Order| match order {
        Order::Nothing | Order::Jacobian => jacobian.1,
        Order::Gram => gram(parameter, false, sizes, machine).seconds,
        Order::Pooled => pooled(parameter, sizes, machine).seconds,
        Order::Sites => sites(parameter, sizes, machine).seconds,
    };
    let cheaper = |best: (Order, f64), order: Order| if seconds(order) <= best.1 { (order, seconds(order)) } else { best };
    apart.fold(jacobian, cheaper).0
}
