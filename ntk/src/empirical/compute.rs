//! The kernel, tile by tile, so that memory stays bounded.

use super::contract::{self, Target, View};
use super::jacobian::{self, Jacobian};
use super::plan::{Orders, Plan, Planned, planned};
use super::reduce::{Kernel, Outputs};
use super::request::{EmpiricalError, Request, Tile};
use super::structured::{Structure, Workers};
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
/// on it. `progress` hears how many pairs of blocks are done, and of how many.
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

/// The empirical neural tangent kernel, as [`empirical_ntk`], with everything that a [`Request`] can ask for. `progress` hears how many
/// pairs of tiles are done, and of how many.
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
    let symmetric = x2.is_none();
    let (right, n2) = (x2.unwrap_or(x1), kernel.n2);
    let (rows, columns) = (blocks(n1, plan.examples), blocks(n2, plan.examples));
    let groups = if kept == Outputs::Sum { blocks(1, 1) } else { blocks(survey.outputs, plan.outputs) };
    let every = 0..survey.outputs;
    // Of these outputs along the rows, and of these along the columns.
    let groups: Vec<(Range<usize>, &[Range<usize>])> = match (kept, plan.strategy) {
        (Outputs::Full, Strategy::Products) => vec![(0..survey.outputs, &groups)],
        (Outputs::Full, Strategy::Auto | Strategy::Jacobian | Strategy::Structured) => {
            groups.iter().map(|g| (g.clone(), &groups[..])).collect()
        }
        (Outputs::Trace | Outputs::Diagonal, _) => groups.iter().enumerate().map(|(i, g)| (g.clone(), &groups[i..=i])).collect(),
        (Outputs::Sum, _) => vec![(every.clone(), std::slice::from_ref(&every))],
    };
    let mut engine = Engine::new(recorder, &survey, &orders, &plan, kept);
    let mut done = 0;
    let mut tile = Vec::new();
    for (above, beside) in groups {
        for (i, r) in rows.iter().enumerate() {
            let left = engine.prepare(of(x1, n1, r), r.len(), above.clone())?;
            for (j, c) in columns.iter().enumerate().skip(if symmetric { i } else { 0 }) {
                for b in beside {
                    let same = symmetric && i == j && above == *b;
                    let other = if same { None } else { Some(engine.prepare(of(right, n2, c), c.len(), b.clone())?) };
                    let sides = (&left, other.as_ref().unwrap_or(&left));
                    let outputs = (above.clone(), b.clone());
                    let whole =
                        (above.len() == survey.outputs && b.len() == survey.outputs) || matches!(kept, Outputs::Trace | Outputs::Sum);
                    if whole {
                        let m = kept.entries(survey.outputs);
                        let stride = n2 * m;
                        let start = r.start * stride + c.start * m;
                        let target = Target { data: &mut kernel.values[start..], stride };
                        engine.contract(sides, same, outputs.1, target)?;
                    } else {
                        let m = kept.entries_of(above.len(), b.len());
                        tile.clear();
                        tile.resize(r.len() * c.len() * m, number(0.0));
                        let target = Target { data: &mut tile, stride: c.len() * m };
                        engine.contract(sides, same, outputs.1.clone(), target)?;
                        place(&mut kernel, (r, c), outputs, &tile);
                    }
                    done += 1;
                    progress(done, plan.tiles);
                }
            }
        }
    }
    if symmetric {
        kernel.mirror();
    }
    Ok(kernel)
}

/// What examples have of inputs of `n`.
fn of<'x, T>(x: &'x [T], n: usize, examples: &Range<usize>) -> &'x [T] {
    let each = x.len() / n.max(1);
    &x[examples.start * each..examples.end * each]
}

pub(super) fn blocks(n: usize, block: usize) -> Vec<Range<usize>> {
    (0..n).step_by(block).map(|i| i..(i + block).min(n)).collect()
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

    fn prepare(&mut self, x: &[T], examples: usize, outputs: Range<usize>) -> Result<Prepared<T>, Refusal> {
        let (survey, kept) = (self.survey, self.kept);
        Ok(match &mut self.maker {
            Maker::Workers(workers) => Prepared::Structured(workers.prepare(survey, self.orders, x, examples, kept, outputs)?),
            Maker::Recorder(recorder) => {
                let output = recorder.record(x);
                if self.strategy == Strategy::Products {
                    Prepared::Recorded(Box::new(recorder.tape.clone()), output)
                } else {
                    let scale = |p| jacobian::column_scale(survey, p);
                    Prepared::Jacobian(jacobian::of_lanes(&recorder.tape, output, kept, outputs, scale)?)
                }
            }
        })
    }

    fn contract(
        &self,
        (left, right): (&Prepared<T>, &Prepared<T>),
        same: bool,
        outputs: Range<usize>,
        target: Target<'_, T>,
    ) -> Result<(), Refusal> {
        let factor = self.kept.factor(self.survey.outputs);
        match (left, right) {
            (Prepared::Jacobian(left), Prepared::Jacobian(right)) => {
                jacobian::contract(left, right, same, self.kept, number(factor), target);
            }
            (Prepared::Structured(left), Prepared::Structured(right)) => {
                let (left, right) = (left.all(), right.all());
                contract_views((&left, &right), same, self, factor, target);
            }
            (Prepared::Recorded(t1, f1), Prepared::Recorded(t2, f2)) => {
                products::contract((t1, *f1), (t2, *f2), self.survey, self.kept, outputs, number(factor), target)?;
            }
            (Prepared::Jacobian(_) | Prepared::Structured(_) | Prepared::Recorded(..), _) => unreachable!("both sides are prepared alike"),
        }
        Ok(())
    }
}

fn contract_views<T: Real, F: Function<T>>(
    sides: (&View<'_, T>, &View<'_, T>),
    same: bool,
    engine: &Engine<'_, '_, T, F>,
    factor: f64,
    target: Target<'_, T>,
) {
    contract::contract(sides, same, engine.survey, engine.orders, engine.kept, factor, target);
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
    let mut done = 0;
    for block in &blocks {
        for group in &groups {
            let Prepared::Structured(structure) = engine.prepare(of(x, n1, block), block.len(), group.clone())? else {
                unreachable!("the strategy is structured")
            };
            for (i, all) in block.clone().zip(values[block.start * m..].chunks_exact_mut(m)) {
                let view = structure.one(i - block.start);
                let data = if kept == Outputs::Diagonal { &mut all[group.clone()] } else { &mut all[..] };
                let stride = data.len();
                contract_views((&view, &view), true, &engine, kept.factor(o), Target { data, stride });
                if kept == Outputs::Full {
                    (0..o).for_each(|a| (a + 1..o).for_each(|b| all[b * o + a] = all[a * o + b]));
                }
            }
            done += 1;
            progress(done, blocks.len() * groups.len());
        }
    }
    Ok(values)
}

/// The norm of the gradient of every output of every example with respect to the parameters, `[N, O]`: `√Σ_p η_p |∂f_a(x_i)/∂θ_p|²`, the
/// root of the [diagonal] of the kernel, without the rest of it.
///
/// ```
/// use ntk::{Finite, Request, gradient_norms};
/// let network = nn::Network::new([2], [nn::dense(1).without_bias()])?;
/// let f = Finite { network: &network, parameters: &[vec![3.0_f64, 4.0]] };
/// // ∂z/∂W = x/√2.
/// let norms = gradient_norms(&f, &[1.0, 7.0], &Request::default())?;
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
pub fn gradient_norms<T: Real>(f: &impl Function<T>, x: &[T], request: &Request) -> Result<Vec<T>, EmpiricalError> {
    let request = Request { outputs: Outputs::Diagonal, ..request.clone() };
    let squares = diagonal(f, x, &request, |_, _| ())?;
    Ok(squares.into_iter().map(|s| autodiff::Scalar::sqrt(s)).collect())
}
