//! The structure of a block of examples: what the kernel needs to know of each use of each parameter, in the order that was planned.

use super::plan::{Order, Orders};
use super::reduce::Outputs;
use super::tiles::Steps;
use super::uses::{Kind, Parameter, Recorder, Survey};
use super::{Function, Real, number};
use autodiff::{Accumulate, Contribution, Examples, Features, Flow, Leaf, Linear, Refusal, Scratch, Sink, Take, Tape, Wrt};
use rayon::prelude::*;
use simd::Lent;
use std::ops::Range;
use std::sync::Mutex;

/// One use of a parameter: what multiplies its cotangents, and these.
pub(super) struct Factor<T: Real> {
    pub(super) kind: Kind,
    pub(super) sites: usize,
    pub(super) n_in: usize,
    pub(super) n_out: usize,
    pub(super) scale: T,
    /// Features `[examples, sites, n_in]`, or tokens or ones `[examples, sites]`.
    pub(super) x: Lent<T>,
    /// Cotangents `[examples, lanes, sites, n_out]`; none if they are those of the weight of another parameter.
    pub(super) g: Lent<T>,
    /// The parameter with the same cotangents.
    pub(super) beside: Option<usize>,
}

/// What is known of a parameter.
pub(super) enum Part<T: Real> {
    /// It was not asked for.
    Nothing,
    /// The derivatives, `[examples, lanes, size]`.
    Rows(Lent<T>),
    /// The uses.
    Factors(Vec<Factor<T>>),
    /// The derivatives of one output for each channel, `[examples, n_out, n_in]`, and how much of them every output has, `[examples, lanes,
    /// n_out]`.
    Pooled { sums: Lent<T>, shares: Lent<T>, n_in: usize, n_out: usize },
}

/// What the kernel needs to know of a block of examples.
pub(super) struct Structure<T: Real> {
    pub(super) examples: usize,
    pub(super) lanes: usize,
    pub(super) parts: Vec<Part<T>>,
}

impl<T: Real> Structure<T> {
    fn new(survey: &Survey, orders: &Orders, examples: usize, lanes: usize) -> Self {
        let part = |(p, parameter): (usize, &Parameter)| match orders.of[p] {
            Order::Nothing => Part::Nothing,
            Order::Jacobian => Part::Rows(Lent::new(examples * lanes * parameter.size)),
            Order::Pooled => {
                let u = &parameter.uses[0];
                let (sums, shares) = (Lent::new(examples * parameter.size), Lent::new(examples * lanes * u.n_out));
                Part::Pooled { sums, shares, n_in: u.n_in, n_out: u.n_out }
            }
            Order::Gram | Order::Sites => {
                let beside = orders.beside[p];
                let factor = |u: &super::uses::Use| Factor {
                    kind: u.kind,
                    sites: u.sites,
                    n_in: u.n_in,
                    n_out: u.n_out,
                    scale: autodiff::Scalar::of(u.scale),
                    x: Lent::new(examples * u.features()),
                    g: Lent::new(if beside.is_some() { 0 } else { examples * lanes * u.cotangents() }),
                    beside,
                };
                Part::Factors(parameter.uses.iter().map(factor).collect())
            }
        };
        Structure { examples, lanes, parts: survey.parameters.iter().enumerate().map(part).collect() }
    }

    /// Pieces of so many examples to be filled, which lie side by side because the examples come first.
    fn pieces(&mut self, survey: &Survey, chunk: usize) -> Vec<Piece<'_, T>> {
        let lanes = self.lanes;
        let n = self.examples.div_ceil(chunk);
        let mut pieces: Vec<Piece<T>> =
            (0..n).map(|k| Piece { examples: chunk.min(self.examples - k * chunk), lanes, parts: Vec::new() }).collect();
        for (part, parameter) in self.parts.iter_mut().zip(&survey.parameters) {
            match part {
                Part::Nothing => pieces.iter_mut().for_each(|piece| piece.parts.push(PartOf::Nothing)),
                Part::Rows(rows) => {
                    let mut rows = cut(rows, chunk * lanes * parameter.size);
                    pieces.iter_mut().for_each(|piece| piece.parts.push(PartOf::Rows { rows: rows.next(), touched: false }));
                }
                Part::Pooled { sums, shares, n_out, .. } => {
                    let (mut sums, mut shares) = (cut(sums, chunk * parameter.size), cut(shares, chunk * lanes * *n_out));
                    let n_out = *n_out;
                    pieces
                        .iter_mut()
                        .for_each(|piece| piece.parts.push(PartOf::Pooled { sums: sums.next(), shares: shares.next(), n_out }));
                }
                Part::Factors(factors) => {
                    pieces.iter_mut().for_each(|piece| piece.parts.push(PartOf::Factors { factors: Vec::new(), met: 0 }));
                    for (factor, u) in factors.iter_mut().zip(&parameter.uses) {
                        let mut x = cut(&mut factor.x, chunk * u.features());
                        let mut g = cut(&mut factor.g, chunk * lanes * u.cotangents());
                        for piece in &mut pieces {
                            let Some(PartOf::Factors { factors, .. }) = piece.parts.last_mut() else { continue };
                            factors.push((x.next(), g.next()));
                        }
                    }
                }
            }
        }
        pieces
    }
}

/// Pieces of a length, and nothing of what is empty.
fn cut<T>(all: &mut [T], len: usize) -> impl Iterator<Item = &mut [T]> + use<'_, T> {
    all.chunks_mut(len.max(1))
}

/// Some examples of a structure that is being filled.
struct Piece<'s, T> {
    examples: usize,
    lanes: usize,
    parts: Vec<PartOf<'s, T>>,
}

/// Features and cotangents of one use, where they are not those of another parameter.
type FactorsOf<'s, T> = (Option<&'s mut [T]>, Option<&'s mut [T]>);

enum PartOf<'s, T> {
    Nothing,
    Rows { rows: Option<&'s mut [T]>, touched: bool },
    Factors { factors: Vec<FactorsOf<'s, T>>, met: usize },
    Pooled { sums: Option<&'s mut [T]>, shares: Option<&'s mut [T]>, n_out: usize },
}

/// A piece as the sink of a pull, with memory for derivatives before their axes are exchanged.
struct Filling<'p, 's, T> {
    piece: &'p mut Piece<'s, T>,
    rows: &'p mut Vec<T>,
}

impl<T: Real> Sink<T> for Filling<'_, '_, T> {
    const EXAMPLES: Examples = Examples::Apart;

    fn wrt(&self) -> Wrt {
        Wrt::PARAMETERS
    }

    fn wants(&self, leaf: Leaf) -> bool {
        match leaf {
            Leaf::Parameter(p) => !matches!(self.piece.parts[p], PartOf::Nothing),
            Leaf::Input(_) | Leaf::Constant => false,
        }
    }

    fn start(&mut self, _: &Tape<T>, _: usize, _: Option<usize>) {}

    fn take(&mut self, contribution: Contribution<'_, T>, scratch: &mut Scratch<T>) {
        let Leaf::Parameter(p) = contribution.leaf else { unreachable!("only parameters are wanted") };
        let (n, lanes) = (self.piece.examples, self.piece.lanes);
        match &mut self.piece.parts[p] {
            PartOf::Nothing => unreachable!("the parameter is not wanted"),
            PartOf::Rows { rows: None, .. } => (),
            PartOf::Rows { rows: Some(rows), touched } => {
                let first = !std::mem::replace(touched, true);
                if n == 1 || lanes == 1 {
                    return contribution.pull(if first { Accumulate::Set } else { Accumulate::Add }, rows, scratch);
                }
                let len = rows.len();
                if self.rows.len() < len {
                    self.rows.resize(len, number(0.0));
                }
                let found = &mut self.rows[..len];
                contribution.pull(Accumulate::Set, found, scratch);
                let size = len / (n * lanes).max(1);
                for (to, from) in examples_first(rows, found, n, lanes, size) {
                    if first {
                        to.copy_from_slice(from);
                    } else {
                        to.iter_mut().zip(from).for_each(|(to, &d)| *to += d);
                    }
                }
            }
            // It is pulled by itself, from where the sites are summed.
            PartOf::Pooled { .. } => (),
            PartOf::Factors { factors, met } => {
                let (x, g) = &mut factors[*met];
                *met += 1;
                if let Some(x) = x {
                    features(&contribution.edge, x, scratch);
                }
                if let Some(g) = g {
                    let size = g.len() / (n * lanes).max(1);
                    examples_first(g, contribution.g, n, lanes, size).for_each(|(to, from)| to.copy_from_slice(from));
                }
            }
        }
    }

    /// Derivatives that nothing reaches are zero, and the memory held anything.
    fn finish(&mut self) {
        for part in &mut self.piece.parts {
            if let PartOf::Rows { rows: Some(rows), touched: false } = part {
                rows.fill(number(0.0));
            }
        }
    }
}

/// The derivatives of one parameter for the cotangents `m`, as the sink of a pull of one lane.
struct Pool<'p, T> {
    parameter: usize,
    rows: &'p mut Vec<T>,
    examples: usize,
}

impl<T: Real> Sink<T> for Pool<'_, T> {
    const EXAMPLES: Examples = Examples::Apart;

    fn wrt(&self) -> Wrt {
        Wrt::PARAMETERS
    }

    fn wants(&self, leaf: Leaf) -> bool {
        leaf == Leaf::Parameter(self.parameter)
    }

    fn start(&mut self, _: &Tape<T>, _: usize, _: Option<usize>) {}

    fn take(&mut self, contribution: Contribution<'_, T>, scratch: &mut Scratch<T>) {
        self.rows.clear();
        self.rows.resize(self.examples * contribution.edge.inputs(), number(0.0));
        contribution.pull(Accumulate::Set, self.rows, scratch);
    }

    fn finish(&mut self) {}
}

/// The rows of `to`, `[examples, lanes, size]`, each with its own of `from`, `[lanes, examples, size]`.
fn examples_first<'a, T>(
    to: &'a mut [T],
    from: &'a [T],
    examples: usize,
    lanes: usize,
    size: usize,
) -> impl Iterator<Item = (&'a mut [T], &'a [T])> {
    let rows = to.chunks_exact_mut(size.max(1)).enumerate();
    rows.map(move |(r, to)| (to, &from[((r % lanes) * examples + r / lanes) * size..][..size]))
}

/// What multiplies the cotangents of an edge.
fn features<T: Real>(edge: &Linear<'_, T>, to: &mut [T], scratch: &mut Scratch<T>) {
    match *edge {
        Linear::Left { x: Features::Windows { images, n, windows, .. }, .. } => {
            Linear::Patches { windows, images: n }.apply(1, images, Accumulate::Set, to, scratch);
        }
        Linear::Left { x: Features::Stack(x), .. } => {
            let x = x.matrix(0);
            for (i, to) in to.chunks_exact_mut(x.cols().max(1)).enumerate() {
                match x.row(i) {
                    Some(row) => to.copy_from_slice(row),
                    None => to.iter_mut().enumerate().for_each(|(j, to)| *to = x.at(i, j)),
                }
            }
        }
        Linear::Broadcast { .. } => to.fill(number(1.0)),
        Linear::Index { take: Take::List(list), .. } => to.copy_from_slice(list),
        Linear::Scale { .. }
        | Linear::Diag { .. }
        | Linear::Slope { .. }
        | Linear::Right { .. }
        | Linear::Transpose { .. }
        | Linear::Sum { .. }
        | Linear::RowDot { .. }
        | Linear::RowSpread { .. }
        | Linear::Index { .. }
        | Linear::Scatter { .. }
        | Linear::Pool { .. }
        | Linear::Unpool { .. }
        | Linear::Patches { .. }
        | Linear::Unpatches { .. } => unreachable!("whether a use has features depends on the function, not on the examples"),
    }
}

/// What fills structures, with a tape and a buffer of cotangents for each of some threads.
pub(super) struct Workers<'f, T: Real, F> {
    workers: Vec<Worker<'f, T, F>>,
    chunk: usize,
}

struct Worker<'f, T: Real, F> {
    recorder: Recorder<'f, T, F>,
    flow: Flow<T>,
    /// Of the one lane between a pool and a weight before it.
    short: Flow<T>,
    rows: Vec<T>,
}

impl<'f, T: Real, F: Function<T>> Workers<'f, T, F> {
    /// As many as were planned, each for so many examples and lanes at a time.
    pub(super) fn new(first: Recorder<'f, T, F>, survey: &Survey, n: usize, chunk: usize, lanes: usize) -> Self {
        let worker = |mut recorder: Recorder<'f, T, F>| {
            recorder.tape.reserve_in(simd::lend(survey.values * chunk.max(1)));
            let flow = Flow::with_memory(simd::lend(chunk * lanes * survey.cotangents));
            Worker { recorder, flow, short: Flow::new(), rows: Vec::new() }
        };
        let mut first = first;
        let mut workers: Vec<_> = (1..n).map(|_| worker(first.another())).collect();
        workers.push(worker(first));
        Workers { workers, chunk }
    }

    /// The structure of examples, of the cotangents of some outputs.
    pub(super) fn prepare(
        &mut self,
        survey: &Survey,
        orders: &Orders,
        (x, examples): (&[T], usize),
        kept: Outputs,
        outputs: Range<usize>,
        steps: &mut Steps<'_>,
    ) -> Result<Structure<T>, Refusal> {
        let lanes = kept.lanes(outputs.clone());
        let mut structure = Structure::new(survey, orders, examples, lanes);
        if examples == 0 {
            return Ok(structure);
        }
        let entries = x.len() / examples;
        {
            let pieces = structure.pieces(survey, self.chunk);
            let at_once = pieces.len().div_ceil(steps.groups(examples * outputs.len())).max(2 * self.workers.len());
            let mut rest = pieces.into_iter().zip(x.chunks((self.chunk * entries).max(1)));
            let mut ready = 0;
            while rest.len() > 0 {
                let all = Mutex::new(rest.by_ref().take(at_once));
                let fill = |worker: &mut Worker<T, F>| -> Result<(), Refusal> {
                    loop {
                        let next = all.lock().expect("nobody panics with the pieces in hand").next();
                        let Some((mut piece, x)) = next else { return Ok(()) };
                        let output = worker.recorder.record(x);
                        let seed = kept.seed(piece.examples, survey.outputs, outputs.clone());
                        let mut sink = Filling { piece: &mut piece, rows: &mut worker.rows };
                        worker.recorder.tape.pull(output, lanes, &seed, &mut worker.flow, &mut sink)?;
                        worker.pool(&mut piece, survey)?;
                    }
                };
                if let [worker] = &mut self.workers[..] {
                    fill(worker)?;
                } else {
                    self.workers.par_iter_mut().map(fill).collect::<Result<Vec<()>, _>>()?;
                }
                let more = (self.chunk * at_once).min(examples - ready);
                ready += more;
                steps.prepared(more * outputs.len());
            }
        }
        Ok(structure)
    }
}

impl<T: Real, F> Drop for Worker<'_, T, F> {
    fn drop(&mut self) {
        simd::give_back(std::mem::take(&mut self.recorder.tape).into_memory());
        simd::give_back(std::mem::take(&mut self.flow).into_memory());
    }
}

impl<T: Real, F: Function<T>> Worker<'_, T, F> {
    /// Fills what is summed over sites with the same weight for each output: the derivatives of the sum of every channel, and the
    /// cotangents of that sum.
    fn pool(&mut self, piece: &mut Piece<'_, T>, survey: &Survey) -> Result<(), Refusal> {
        let tape = &self.recorder.tape;
        let (n, lanes) = (piece.examples, piece.lanes);
        for (parameter, part) in piece.parts.iter_mut().enumerate() {
            let PartOf::Pooled { sums: Some(sums), shares: Some(shares), n_out } = part else { continue };
            let n_out = *n_out;
            let pool = survey.parameters[parameter].uses[0].pool.and_then(|i| tape.vars().nth(i)).expect("the order is for what is pooled");
            let h = self.flow.get(pool).expect("the parameter is wanted, so its cotangents come by");
            examples_first(shares, h, n, lanes, n_out).for_each(|(to, from)| to.copy_from_slice(from));
            let ones = vec![number(1.0); n * n_out];
            let mut sink = Pool { parameter, rows: &mut self.rows, examples: n };
            tape.pull(pool, 1, &ones, &mut self.short, &mut sink)?;
            // The channels of an example first.
            let size = sums.len() / n;
            for (sums, found) in sums.chunks_exact_mut(size.max(1)).zip(self.rows.chunks_exact(size.max(1))) {
                for (c, sums) in sums.chunks_exact_mut((size / n_out).max(1)).enumerate() {
                    sums.iter_mut().zip(found[c..].iter().step_by(n_out)).for_each(|(to, &d)| *to = d);
                }
            }
        }
        Ok(())
    }
}
