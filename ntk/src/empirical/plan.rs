//! The plan of a kernel: its strategy, the order of every parameter, its tile, and what all this takes.

use super::cost::{self, Cost, Machine, Sizes};
use super::memory::Planner;
use super::request::{EmpiricalError, Request, Tile};
use super::tiles::Tiling;
use super::uses::{Recorder, Survey, Use};
use super::{Function, Real, Strategy, uses};

/// The order in which the part of a parameter in a kernel is summed, with `S` sites, `I` features, `K` outputs and `O` channels out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Not at all: its rate is 0.
    Nothing,
    /// Derivatives of each example written out, then their scalar products: `K·S·I·O` multiply-adds an example and `K²·I·O` a pair.
    Jacobian,
    /// Of one site: the Gram matrix of features times that of cotangents, `I + K²·O` a pair.
    Gram,
    /// Of sites that are summed with one weight for each output and channel, as before a global pool: derivatives of each example written
    /// out for one output, and for each channel their Gram matrix times that of the weights, `S·I·O` an example and `O·(I + K²)` a pair.
    Pooled,
    /// Of several sites: Gram matrices of features between all sites, times cotangents, `S²(I + K·O) + S·K²·O` a pair.
    Sites,
}

impl Order {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Order::Nothing => "nothing",
            Order::Jacobian => "jacobian",
            Order::Gram => "gram",
            Order::Pooled => "pooled",
            Order::Sites => "sites",
        }
    }
}

/// The orders of all parameters.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    pub(super) of: Vec<Order>,
    /// For a bias the parameter of the weight beside it, whose cotangents are its own.
    pub(super) beside: Vec<Option<usize>>,
}

/// What is planned for one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedParameter {
    /// Which order.
    pub order: Order,
    /// Number of its uses, and of the sites, the features and the channels out of the first of them.
    pub uses: usize,
    /// Sites of an example.
    pub sites: usize,
    /// Extent of a feature.
    pub n_in: usize,
    /// Extent of a cotangent.
    pub n_out: usize,
    /// What it costs beyond the recording and the pull.
    pub cost: Cost,
}

/// How a kernel is going to be computed. Strategy and orders depend on the function, the numbers of examples and the precision alone, and
/// so the bits of the kernel do; memory and threads decide the tile.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The strategy, never [`Strategy::Auto`].
    pub strategy: Strategy,
    /// Every parameter in the order of recording. None for [`Strategy::Products`], which has no orders.
    pub parameters: Vec<PlannedParameter>,
    /// Recording and pulling, or for [`Strategy::Products`] all.
    pub recording: Cost,
    /// Examples along either side of a tile.
    pub examples: usize,
    /// Outputs along either side of a tile.
    pub outputs: usize,
    /// Pairs of tiles.
    pub tiles: usize,
    /// Bytes of working memory, beyond inputs, weights and the result.
    pub memory: usize,
    /// The least working memory of this strategy, in bytes.
    pub least: usize,
    /// The strategies that were compared, with the seconds that each is expected to take.
    pub compared: Vec<(Strategy, f64)>,
    /// Examples that a thread records at once, and threads that do.
    pub(super) chunk: usize,
    pub(super) workers: usize,
}

impl Plan {
    pub(super) fn tile(&self) -> Tile {
        Tile { examples: self.examples, outputs: self.outputs }
    }

    /// Everything together.
    pub fn cost(&self) -> Cost {
        self.recording + self.parameters.iter().map(|p| p.cost).sum()
    }
}

/// What is taken where no memory is given.
const USUAL_MEMORY: usize = 512 << 20;

impl Planner<'_> {
    fn plan(&self, tile: Tile, compared: Vec<(Strategy, f64)>) -> Plan {
        let machine = Machine::usual(self.number, self.threads);
        let (rows, columns) = (self.n1.div_ceil(tile.examples), self.n2.unwrap_or(self.n1).div_ceil(tile.examples));
        let pairs = if self.n2.is_none() { rows * (rows + 1) / 2 } else { rows * columns };
        let mut sizes = Sizes::new(self.n1, self.n2, self.kept, self.survey.outputs, self.number);
        // Every tile along the columns is made ready again for every tile along the rows.
        let again = if self.n2.is_none() { (pairs - rows) as f64 } else { pairs.saturating_sub(columns) as f64 };
        sizes.prepared += again * tile.examples.min(self.most_examples()) as f64;
        let (parameters, recording) = match self.strategy {
            Strategy::Products => (Vec::new(), cost::products(self.survey, &sizes, &machine)),
            Strategy::Auto | Strategy::Jacobian | Strategy::Structured => {
                let costs = cost::costs(self.survey, self.orders, &sizes, &machine);
                let of = |(p, cost): (usize, Cost)| {
                    let uses = &self.survey.parameters[p].uses;
                    let first = uses.first();
                    let get = |f: fn(&Use) -> usize| first.map_or(0, f);
                    PlannedParameter {
                        order: self.orders.of[p],
                        uses: uses.len(),
                        sites: get(|u| u.sites),
                        n_in: get(|u| u.n_in),
                        n_out: get(|u| u.n_out),
                        cost,
                    }
                };
                (costs.into_iter().enumerate().map(of).collect(), cost::recording(self.strategy, self.survey, &sizes, &machine))
            }
        };
        let (chunk, workers) = self.chunk(tile);
        Plan {
            strategy: self.strategy,
            parameters,
            recording,
            examples: tile.examples,
            outputs: tile.outputs,
            tiles: Tiling::new(self.n1, self.n2, self.strategy, tile, self.kept, self.survey.outputs).len(),
            memory: self.bytes(tile),
            least: self.least(),
            compared,
            chunk,
            workers,
        }
    }
}

/// Plans a kernel: surveys the function with one example, chooses the strategy and the order of each parameter, and the largest tile that
/// memory has room for.
///
/// # Errors
/// If the function mixes examples, if the rates do not belong to its parameters, or if the memory does not hold one pair of examples.
///
/// # Panics
/// If `x1` or `x2` are not whole examples.
#[track_caller]
pub fn plan<T: Real>(f: &impl Function<T>, x1: &[T], x2: Option<&[T]>, request: &Request) -> Result<Plan, EmpiricalError> {
    Ok(planned(f, x1, x2, request, false)?.plan)
}

/// A plan with everything that it was made from.
pub(super) struct Planned<'f, T: Real, F> {
    pub(super) recorder: Recorder<'f, T, F>,
    pub(super) survey: Survey,
    pub(super) orders: Orders,
    pub(super) plan: Plan,
    pub(super) n1: usize,
    pub(super) n2: Option<usize>,
}

/// Plans a kernel, or with `diagonal` only its pairs of an example with itself.
#[track_caller]
pub(super) fn planned<'f, T: Real, F: Function<T>>(
    f: &'f F,
    x1: &[T],
    x2: Option<&[T]>,
    request: &Request,
    diagonal: bool,
) -> Result<Planned<'f, T, F>, EmpiricalError> {
    let (n1, n2) = (uses::examples(f, x1), x2.map(|x| uses::examples(f, x)));
    let mut recorder = Recorder::new(f);
    let survey = uses::survey(&mut recorder, x2.filter(|_| n1 == 0).unwrap_or(x1), request.rates.as_deref())?;
    let (number, threads) = (size_of::<T>(), rayon::current_num_threads());
    let kept = request.outputs;
    let mut sizes = Sizes::new(n1, n2, kept, survey.outputs, number);
    if diagonal {
        sizes.pairs = n1 as f64;
    }
    // One thread, whatever there are, because bits follow from what is decided here.
    let machine = Machine::usual(number, 1);
    let structured = cost::orders(&survey, &sizes, &machine, request.order);
    let written = cost::orders(&survey, &sizes, &machine, Some(Order::Jacobian));
    let seconds = |strategy: Strategy, orders: &Orders| {
        let costs: Cost = cost::costs(&survey, orders, &sizes, &machine).into_iter().sum();
        (costs + cost::recording(strategy, &survey, &sizes, &machine)).seconds
    };
    let mut compared = vec![
        (Strategy::Structured, seconds(Strategy::Structured, &structured)),
        (Strategy::Jacobian, seconds(Strategy::Jacobian, &written)),
        (Strategy::Products, cost::products(&survey, &sizes, &machine).seconds),
    ];
    let strategy = match request.strategy {
        Strategy::Auto => {
            // Structured comes first, and needs the least memory of them.
            let cheaper = |best: (Strategy, f64), one: &(Strategy, f64)| if cost::ROOMIER * one.1 < best.1 { *one } else { best };
            compared.iter().fold(compared[0], cheaper).0
        }
        Strategy::Jacobian | Strategy::Products | Strategy::Structured => request.strategy,
    };
    compared.iter_mut().for_each(|(_, seconds)| *seconds /= threads as f64);
    let orders = if strategy == Strategy::Jacobian { written } else { structured };
    let planner = Planner { survey: &survey, orders: &orders, strategy, kept, n1, n2, number, threads };
    let tile = match (request.tile, request.memory) {
        (Some(tile), _) => {
            assert!(tile.examples > 0 && tile.outputs > 0, "a tile holds at least one example and one output, and {tile:?} was given");
            let outputs = tile.outputs.clamp(planner.least_outputs(), planner.most_outputs());
            Tile { examples: tile.examples.min(planner.most_examples()), outputs }
        }
        (None, Some(given)) => {
            let least = planner.least();
            planner.tile(given).ok_or(EmpiricalError::Memory { given, least, strategy: strategy.name() })?
        }
        (None, None) => {
            let tile = planner.tile(USUAL_MEMORY.max(planner.least()));
            tile.expect("the least memory holds a tile")
        }
    };
    let plan = planner.plan(tile, compared);
    Ok(Planned { recorder, survey, orders, plan, n1, n2 })
}
