//! What a tape says about the uses of its parameters, from one example, before anything large is computed.

use super::{EmpiricalError, Function, Real};
use autodiff::{Features, Leaf, Linear, Mark, Op, Take, Tape, Var};

/// What multiplies the cotangents of a parameter at one of its uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Features `x`: a weight, `dW = Σ_s x_s ⊗ g_s`.
    Features,
    /// Ones: a bias, `dβ = Σ_s g_s`.
    Ones,
    /// The number of a row: an embedding, `dE = Σ_s e_{tok s} ⊗ g_s`.
    Tokens,
    /// Nothing that could be kept apart from the cotangents.
    Written,
}

/// One use of a parameter by one example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Use {
    pub(super) kind: Kind,
    /// The value at whose cotangents the parameter is.
    pub(super) node: usize,
    /// Sites of an example.
    pub(super) sites: usize,
    /// Extent of a feature, 1 for ones.
    pub(super) n_in: usize,
    /// Extent of a cotangent.
    pub(super) n_out: usize,
    pub(super) scale: f64,
    /// The value that sums over the sites, if the cotangents of an example are `g[a, s, c] = h[a, c]·m[s, c]` with its own `h`: between lie
    /// maps of single entries.
    pub(super) pool: Option<usize>,
    /// Operations that write the derivative of one cotangent out.
    pub(super) flops: f64,
}

impl Use {
    /// Numbers that an example keeps of what multiplies its cotangents.
    pub(super) fn features(&self) -> usize {
        match self.kind {
            Kind::Features => self.sites * self.n_in,
            Kind::Ones | Kind::Tokens => self.sites,
            Kind::Written => 0,
        }
    }

    /// Numbers of one cotangent of an example.
    pub(super) fn cotangents(&self) -> usize {
        self.sites * self.n_out
    }
}

/// A parameter with all its uses, those that were recorded last first, as a pull meets them.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) size: usize,
    /// What its part of the kernel is multiplied by; without it the parameter is left out.
    pub(super) rate: f64,
    pub(super) uses: Vec<Use>,
}

impl Parameter {
    pub(super) fn wanted(&self) -> bool {
        self.rate != 0.0
    }
}

/// What is known of a function.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    pub(super) outputs: usize,
    pub(super) parameters: Vec<Parameter>,
    /// Numbers on a tape without examples, and of each example.
    pub(super) constant: usize,
    pub(super) values: usize,
    /// Cotangents of one lane of an example.
    pub(super) cotangents: usize,
    /// Numbers of all tangents of one lane of an example.
    pub(super) tangents: usize,
    /// The largest value, and the largest border of an image with its panels: what operations need beside their results.
    pub(super) largest: usize,
    /// Operations that record an example, that pull a cotangent of it down to the parameters but not into them, and that push a tangent.
    pub(super) record: f64,
    pub(super) pull: f64,
    pub(super) push: f64,
}

/// A function with its parameters on a tape, which records examples on top of them.
pub(super) struct Recorder<'f, T: Real, F> {
    pub(super) f: &'f F,
    pub(super) tape: Tape<T>,
    parameters: Vec<Var>,
    start: Mark,
}

impl<'f, T: Real, F: Function<T>> Recorder<'f, T, F> {
    pub(super) fn new(f: &'f F) -> Self {
        let mut tape = Tape::new();
        let parameters = f.parameters(&mut tape);
        tape.lay_floor();
        Recorder { f, parameters, start: tape.mark(), tape }
    }

    /// Another one with the same parameters.
    pub(super) fn another(&mut self) -> Self {
        self.tape.rewind(self.start);
        Recorder { f: self.f, parameters: self.parameters.clone(), start: self.start, tape: self.tape.clone() }
    }

    /// With room for more.
    pub(super) fn with_room(mut self, room: usize) -> Self {
        self.tape.reserve(room);
        self
    }

    pub(super) fn record(&mut self, x: &[T]) -> Var {
        self.tape.rewind(self.start);
        let x = self.tape.input(self.f.input_shape(x.len()), x);
        self.f.record(&mut self.tape, &self.parameters, x)
    }
}

#[track_caller]
pub(super) fn examples<T: Real>(f: &impl Function<T>, x: &[T]) -> usize {
    f.input_shape(x.len()).dims()[0]
}

/// Records one example of `x`, or none if there is none, and looks at what is there.
pub(super) fn survey<T: Real, F: Function<T>>(
    recorder: &mut Recorder<'_, T, F>,
    x: &[T],
    rates: Option<&[f64]>,
) -> Result<Survey, EmpiricalError> {
    check_rates(rates, recorder.tape.parameters().len())?;
    let n = examples(recorder.f, x);
    let below = recorder.tape.used();
    let output = recorder.record(&x[..x.len().checked_div(n).unwrap_or(0)]);
    let tape = &recorder.tape;
    let found = tape.examples(output)?;
    let outputs = if found == 0 { tape.shape(output).cols() } else { tape.shape(output).len() };
    let parameters = tape.parameters();
    let rate = |p: usize| rates.map_or(1.0, |rates| rates[p]);
    let mut survey = Survey {
        outputs,
        parameters: parameters
            .iter()
            .enumerate()
            .map(|(p, &v)| Parameter { size: tape.shape(v).len(), rate: rate(p), uses: Vec::new() })
            .collect(),
        constant: below,
        values: tape.used() - below,
        cotangents: 0,
        tangents: 0,
        largest: 0,
        record: 0.0,
        pull: 0.0,
        push: 0.0,
    };
    let vars: Vec<Var> = tape.vars().collect();
    let index = |v: Var| vars.binary_search(&v).expect("an input is on the tape");
    // Whether something that is asked for lies below a value, and whether the output depends on it.
    let mut wanted = vec![false; vars.len()];
    for (i, &v) in vars.iter().enumerate() {
        let node = tape.node(v);
        wanted[i] = match node.leaf() {
            Some(Leaf::Parameter(p)) => survey.parameters[p].wanted(),
            Some(Leaf::Input(_) | Leaf::Constant) => false,
            None => node.op.inputs().any(|x| wanted[index(x)]),
        };
    }
    let mut reached = vec![false; vars.len()];
    reached[index(output)] = true;
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); vars.len()];
    for (i, &v) in vars.iter().enumerate().rev() {
        let node = tape.node(v);
        if !reached[i] || node.leaf().is_some() {
            continue;
        }
        survey.tangents += node.shape.len();
        survey.largest = survey.largest.max(node.shape.len());
        survey.cotangents += if wanted[i] { node.shape.len() } else { 0 };
        tape.edges(v, |x, edge| {
            let (j, flops) = (index(x), edge.flops() as f64);
            reached[j] = true;
            readers[j].push(i);
            survey.record += flops;
            survey.push += flops;
            match tape.node(x).leaf() {
                Some(Leaf::Parameter(p)) if wanted[j] => {
                    let apart = node.per_example && !tape.node(x).per_example;
                    let pool = pool(tape, &vars, &readers, i);
                    survey.parameters[p].uses.push(Use { flops, pool, ..read(&edge, apart, i) });
                }
                Some(_) => (),
                None if wanted[j] => survey.pull += flops,
                None => (),
            }
        });
    }
    Ok(survey)
}

/// The value that sums over all axes between the examples and the channels, if a value is read by one operation alone, entry by entry, and
/// so on until there.
fn pool<T: Real>(tape: &Tape<T>, vars: &[Var], readers: &[Vec<usize>], mut i: usize) -> Option<usize> {
    let rank = tape.shape(vars[i]).rank();
    while let [reader] = readers[i][..] {
        let op = tape.node(vars[reader]).op;
        if let Op::Sum(_, axes, _) = op {
            return (rank > 2 && std::ops::Range::from(axes) == (1..rank - 1)).then_some(reader);
        }
        if !matches!(op, Op::Map(..) | Op::Apply(..) | Op::Scale(..) | Op::Power(..)) {
            return None;
        }
        i = reader;
    }
    None
}

fn check_rates(rates: Option<&[f64]>, parameters: usize) -> Result<(), EmpiricalError> {
    let Some(rates) = rates else { return Ok(()) };
    if rates.len() != parameters {
        return Err(EmpiricalError::Rates { given: rates.len(), parameters });
    }
    match rates.iter().position(|rate| !rate.is_finite() || *rate < 0.0) {
        Some(parameter) => Err(EmpiricalError::Rate { parameter, rate: rates[parameter] }),
        None => Ok(()),
    }
}

/// The edge of one example at a parameter.
fn read<T: Real>(edge: &Linear<'_, T>, apart: bool, node: usize) -> Use {
    let of = |kind, sites, n_in, n_out, scale| Use { kind, node, sites, n_in, n_out, scale, pool: None, flops: 0.0 };
    match *edge {
        Linear::Left { x, a, cols, batches: 1 } if apart && transposed(&x).is_some() => {
            of(Kind::Features, x.rows(), x.cols(), cols, autodiff::Scalar::primal(a))
        }
        Linear::Broadcast { axis, a } if apart && axis.outer == 1 => of(Kind::Ones, axis.n, 1, axis.inner, autodiff::Scalar::primal(a)),
        Linear::Index { axis, take: Take::List(list) } if apart && axis.outer == 1 => of(Kind::Tokens, list.len(), axis.n, axis.inner, 1.0),
        Linear::Scale { .. }
        | Linear::Diag { .. }
        | Linear::Slope { .. }
        | Linear::Right { .. }
        | Linear::Left { .. }
        | Linear::Transpose { .. }
        | Linear::Sum { .. }
        | Linear::Broadcast { .. }
        | Linear::RowDot { .. }
        | Linear::RowSpread { .. }
        | Linear::Index { .. }
        | Linear::Scatter { .. }
        | Linear::Pool { .. }
        | Linear::Unpool { .. }
        | Linear::Patches { .. }
        | Linear::Unpatches { .. } => of(Kind::Written, 0, 0, 0, 1.0),
    }
}

/// `Some` of features whose rows are sites.
fn transposed<T: Copy>(x: &Features<'_, T>) -> Option<()> {
    match x {
        Features::Stack(_) | Features::Windows { transposed: false, .. } => Some(()),
        Features::Windows { transposed: true, .. } => None,
    }
}
