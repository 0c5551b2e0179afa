//! The kernel, tile by tile, so that memory stays bounded.

use super::contract::{self, Target};
use super::jacobian::{self, Jacobian};
use super::plan::{Orders, Plan, Planned, planned};
use super::reduce::{Kernel, Outputs};
use super::request::{EmpiricalError, Request, Tile};
use super::structured::{Structure, Workers};
use super::tiles::{Column, Steps, Tiling, bands, blocks};
use super::uses::{Recorder, Survey};
use super::{Function, Real, Strategy, number, products, zeros};
use autodiff::{Refusal, Tape, Var};
use std::ops::Range;

/// The empirical neural tangent kernel of a function (Jacot, Gabriel and Hongler 2018),
///
/// `Θ[i, j, a, b] = ⟨∂f_a(x1_i)/∂θ, ∂f_b(x2_j)/∂θ⟩`,
///
/// between inputs `x1`, `[N1, ..]`, and `x2`, `[N2, ..]`, or of `x1` with itself, which is symmetric to the bit.
///
/// ```
/// use ntk::{Finite, Outputs, Strategy, empirical_ntk};
/// // f = (1/√2)·x·W with one output: Θ = x·x'/2.
/// let network = nn::Network::new([2], [nn::dense(1).without_bias()])?;
/// let parameters = vec![vec![3.0_f64, 4.0]];
/// let f = Finite { network: &network, parameters: &parameters };
/// let theta = empirical_ntk(&f, &[1.0, 2.0, 0.0, 1.0], None, Outputs::Trace, Strategy::Auto)?;
/// for (value, want) in theta.values.iter().zip([2.5, 1.0, 1.0, 0.5]) {
///     assert!((value - want).abs() < 1e-15);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the function mixes examples.
///
/// # Panics
/// If `x1` or `x2` are not whole examples.
#[track_caller]
pub fn empirical_ntk<T: Real>(
    f: &impl Function<T>,
    x1: &[T],
    x2: Option<&[T]>,
    kept: Outputs,
    strategy: Strategy,
) -> Result<Kernel<T>, Refusal> {
    empirical_ntk_in_blocks(f, x1, x2, kept, strategy, None, |_, _| ())
}

/// [`empirical_ntk`] in blocks of a given number of examples, or of as many as fit into 512 MiB of working memory; the bits do not depend
/// on it. `progress` hears how far the work is, `(done, of)`: thousandths of the time that it is expected to take.
///
/// # Errors
/// If the function mixes examples.
///
/// # Panics
/// If `x1` or `x2` are not whole examples, or if a block is to be empty.
#[track_caller]
pub fn empirical_ntk_in_blocks<T: Real>(
    f: &impl Function<T>,
    x1: &[T],
    x2: Option<&[T]>,
    kept: Outputs,
    strategy: Strategy,
    block: Option<usize>,
    progress: impl FnMut(usize, usize),
) -> Result<Kernel<T>, Refusal> {
    let tile = block.map(|examples| Tile { examples, outputs: usize::MAX });
    let request = Request { strategy, tile, ..Request::of(kept) };
    kernel(f, x1, x2, &request, progress).map_err(EmpiricalError::refusal)
}

/// The empirical neural tangent kernel, as [`empirical_ntk`], with everything that a [`Request`] can ask for. `progress` hears how far
/// the work is, `(done, of)`: thousandths of the time that it is expected to take, twice a second or so and last of all the whole.
///
/// # Errors
/// If the function mixes examples, if the rates do not belong to its parameters, or if the memory does not hold one pair of examples.
///
/// # Panics
/// If `x1` or `x2` are not whole examples, or if a tile is to be empty.
#[track_caller]
pub fn kernel<T: Real>(
    f: &impl Function<T>,
    x1: &[T],
    x2: Option<&[T]>,
    request: &Request,
    mut progress: impl FnMut(usize, usize),
) -> Result<Kernel<T>, EmpiricalError> {
    let Planned { recorder, survey, orders, plan, n1, n2 } = planned(f, x1, x2, request, false)?;
    let kept = request.outputs;
    let mut kernel = Kernel::zeros(n1, n2.unwrap_or(n1), survey.outputs, kept);
    if kernel.values.is_empty() {
        return Ok(kernel);
    }
    let n2 = kernel.n2;
    let right = x2.unwrap_or(x1);
    let tiling = Tiling::new(n1, x2.map(|_| n2), plan.strategy, plan.tile(), kept, survey.outputs);
    let mut engine = Engine::new(recorder, &survey, &orders, &plan, kept);
    let mut steps = Steps::new(&plan, &tiling, &mut progress);
    let mut tile = Vec::new();
    for row in tiling.rows() {
        let (r, above) = (&row.examples, &row.outputs);
        let left = engine.prepare(of(x1, n1, r), r.len(), above.clone(), &mut steps)?;
        for Column { examples: c, outputs: beside, same } in row.tiles() {
            let other = if same { None } else { Some(engine.prepare(of(right, n2, &c), c.len(), beside.clone(), &mut steps)?) };
            let sides = (&left, other.as_ref().unwrap_or(&left));
            let (sizes, outputs) = ([r.len(), c.len()], [above.clone(), beside.clone()]);
            let whole = (above.len() == survey.outputs && beside.len() == survey.outputs) || matches!(kept, Outputs::Trace | Outputs::Sum);
            if whole {
                let m = kept.entries(survey.outputs);
                let stride = n2 * m;
                let target = Target { data: &mut kernel.values[r.start * stride + c.start * m..], stride };
                engine.contract(sides, sizes, same, outputs, target, &mut steps)?;
            } else {
                let m = kept.entries_of(above.len(), beside.len());
                tile.clear();
                tile.resize(r.len() * c.len() * m, number(0.0));
                let target = Target { data: &mut tile, stride: c.len() * m };
                engine.contract(sides, sizes, same, outputs, target, &mut steps)?;
                place(&mut kernel, (r, &c), (above.clone(), beside.clone()), &tile);
            }
        }
    }
    steps.finish();
    if x2.is_none() {
        kernel.mirror();
    }
    Ok(kernel)
}

/// What examples have of inputs of `n`.
fn of<'x, T>(x: &'x [T], n: usize, examples: &Range<usize>) -> &'x [T] {
    let each = x.len() / n.max(1);
    &x[examples.start * each..examples.end * each]
}

/// A tile of some outputs along either side, where it belongs.
fn place<T: Real>(
    kernel: &mut Kernel<T>,
    (r, c): (&Range<usize>, &Range<usize>),
    (above, beside): (Range<usize>, Range<usize>),
    tile: &[T],
) {
    let o = kernel.outputs;
    let m = kernel.kept.entries(o);
    let entries = kernel.kept.entries_of(above.len(), beside.len());
    for (i, j) in r.clone().flat_map(|i| c.clone().map(move |j| (i, j))) {
        let from = &tile[((i - r.start) * c.len() + (j - c.start)) * entries..][..entries];
        let to = &mut kernel.values[(i * kernel.n2 + j) * m..][..m];
        match kernel.kept {
            Outputs::Full => {
                for (a, from) in above.clone().zip(from.chunks_exact(beside.len())) {
                    to[a * o + beside.start..][..beside.len()].copy_from_slice(from);
                }
            }
            Outputs::Diagonal => to[above.clone()].copy_from_slice(from),
            Outputs::Trace | Outputs::Sum => unreachable!("a tile of these has all outputs"),
        }
    }
}

/// A block of examples, made ready to be contracted with another.
enum Prepared<T: Real> {
    Jacobian(Jacobian<T>),
    Structured(Structure<T>),
    Recorded(Box<Tape<T>>, Var),
}

/// What makes blocks ready and contracts them.
struct Engine<'p, 'f, T: Real, F> {
    survey: &'p Survey,
    orders: &'p Orders,
    strategy: Strategy,
    kept: Outputs,
    maker: Maker<'f, T, F>,
}

enum Maker<'f, T: Real, F> {
    /// One tape for all examples of a block.
    Recorder(Box<Recorder<'f, T, F>>),
    Workers(Workers<'f, T, F>),
}

impl<'p, 'f, T: Real, F: Function<T>> Engine<'p, 'f, T, F> {
    fn new(recorder: Recorder<'f, T, F>, survey: &'p Survey, orders: &'p Orders, plan: &Plan, kept: Outputs) -> Self {
        let maker = match plan.strategy {
            Strategy::Jacobian | Strategy::Products => {
                let room = survey.constant + plan.examples * survey.values;
                Maker::Recorder(Box::new(recorder.with_room(room)))
            }
            Strategy::Auto | Strategy::Structured => {
                let lanes = kept.lanes(0..plan.outputs);
                Maker::Workers(Workers::new(recorder, survey, plan.workers, plan.chunk, lanes))
            }
        };
        Engine { survey, orders, strategy: plan.strategy, kept, maker }
    }

    fn prepare(&mut self, x: &[T], examples: usize, outputs: Range<usize>, steps: &mut Steps<'_>) -> Result<Prepared<T>, Refusal> {
        let (survey, kept) = (self.survey, self.kept);
        Ok(match &mut self.maker {
            Maker::Workers(workers) => Prepared::Structured(workers.prepare(survey, self.orders, (x, examples), kept, outputs, steps)?),
            Maker::Recorder(recorder) => {
                let output = recorder.record(x);
                let some = examples * outputs.len();
                let prepared = if self.strategy == Strategy::Products {
                    Prepared::Recorded(Box::new(recorder.tape.clone()), output)
                } else {
                    let scale = |p| jacobian::column_scale(survey, p);
                    Prepared::Jacobian(jacobian::of_lanes(&recorder.tape, output, kept, outputs, scale)?)
                };
                steps.prepared(some);
                prepared
            }
        })
    }

    /// Adds a tile of some outputs along the rows and along the columns to the target.
    fn contract(
        &self,
        (left, right): (&Prepared<T>, &Prepared<T>),
        [n1, n2]: [usize; 2],
        same: bool,
        [above, beside]: [Range<usize>; 2],
        mut target: Target<'_, T>,
        steps: &mut Steps<'_>,
    ) -> Result<(), Refusal> {
        let (kept, factor) = (self.kept, self.kept.factor(self.survey.outputs));
        let lengths = [above.len(), beside.len()];
        if let (Prepared::Recorded(t1, f1), Prepared::Recorded(t2, f2)) = (left, right) {
            products::contract((t1, *f1), (t2, *f2), self.survey, kept, beside, number(factor), target)?;
            steps.contracted(n1, n2, same, lengths);
            return Ok(());
        }
        let entries = kept.entries_of(above.len(), beside.len());
        for (r, c, same) in bands(n1, n2, steps.band(n1, n2, same, lengths, kept), same) {
            let target = target.at(r.start, c.start * entries);
            match (left, right) {
                (Prepared::Jacobian(left), Prepared::Jacobian(right)) => {
                    jacobian::contract((left, r.clone()), (right, c.clone()), same, kept, number(factor), target);
                }
                (Prepared::Structured(left), Prepared::Structured(right)) => {
                    let (left, right) = (left.some(r.clone()), right.some(c.clone()));
                    contract::contract((&left, &right), same, self.survey, self.orders, kept, factor, target);
                }
                (Prepared::Jacobian(_) | Prepared::Structured(_) | Prepared::Recorded(..), _) => {
                    unreachable!("both sides are prepared alike")
                }
            }
            steps.contracted(r.len(), c.len(), same, lengths);
        }
        Ok(())
    }
}

/// `Θ(x_i, x_i)` of every example and no other pair: `[N, O, O]`, `[N]`, `[N, O]` or `[N]`, as [`Outputs`] says. Its cost grows with the
/// number of examples and not with its square.
///
/// The [strategy](Request::strategy) counts as structured, and a tile holds as many examples as its memory has room for.
///
/// # Errors
/// As [`kernel`].
///
/// # Panics
/// As [`kernel`].
#[track_caller]
pub fn diagonal<T: Real>(
    f: &impl Function<T>,
    x: &[T],
    request: &Request,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<T>, EmpiricalError> {
    let request = Request { strategy: Strategy::Structured, ..request.clone() };
    let Planned { recorder, survey, orders, plan, n1, .. } = planned(f, x, None, &request, true)?;
    let kept = request.outputs;
    let (o, m) = (survey.outputs, kept.entries(survey.outputs));
    let mut values = zeros(n1 * m);
    if values.is_empty() {
        return Ok(values);
    }
    // All pairs of the outputs of one example are needed at once, and those of other examples are not.
    let outputs = match kept {
        Outputs::Full | Outputs::Sum => o,
        Outputs::Trace | Outputs::Diagonal => plan.outputs,
    };
    let (blocks, groups) = (blocks(n1, plan.examples), blocks(o, outputs));
    let mut engine = Engine::new(recorder, &survey, &orders, &plan, kept);
    let mut steps = Steps::of(&plan, n1 * o, n1 * o * o, &mut progress);
    for block in &blocks {
        for group in &groups {
            let prepared = engine.prepare(of(x, n1, block), block.len(), group.clone(), &mut steps)?;
            let Prepared::Structured(structure) = prepared else { unreachable!("the strategy is structured") };
            for (i, all) in block.clone().zip(values[block.start * m..].chunks_exact_mut(m)) {
                let view = structure.some(i - block.start..i - block.start + 1);
                let data = if kept == Outputs::Diagonal { &mut all[group.clone()] } else { &mut all[..] };
                let target = Target { stride: data.len(), data };
                contract::contract((&view, &view), true, &survey, &orders, kept, kept.factor(o), target);
                if kept == Outputs::Full {
                    (0..o).for_each(|a| (a + 1..o).for_each(|b| all[b * o + a] = all[a * o + b]));
                }
            }
            steps.contracted(block.len(), 1, false, [group.len(), o]);
        }
    }
    steps.finish();
    Ok(values)
}

/// The norm of the gradient of every output of every example with respect to the parameters, `[N, O]`: `√Σ_p η_p |∂f_a(x_i)/∂θ_p|²`, the
/// root of the [diagonal] of the kernel, without the rest of it. `progress` hears how far the work is, as in [`kernel`].
///
/// ```
/// use ntk::{Finite, Request, gradient_norms};
/// let network = nn::Network::new([2], [nn::dense(1).without_bias()])?;
/// let f = Finite { network: &network, parameters: &[vec![3.0_f64, 4.0]] };
/// // ∂z/∂W = x/√2.
/// let norms = gradient_norms(&f, &[1.0, 7.0], &Request::default(), |_, _| ())?;
/// assert!((norms[0] - 5.0).abs() < 1e-14);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`kernel`].
///
/// # Panics
/// As [`kernel`].
#[track_caller]
pub fn gradient_norms<T: Real>(
    f: &impl Function<T>,
    x: &[T],
    request: &Request,
    progress: impl FnMut(usize, usize),
) -> Result<Vec<T>, EmpiricalError> {
    let request = Request { outputs: Outputs::Diagonal, ..request.clone() };
    let squares = diagonal(f, x, &request, progress)?;
    Ok(squares.into_iter().map(|s| autodiff::Scalar::sqrt(s)).collect())
}
