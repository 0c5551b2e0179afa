//! Every operation of the tape, each among other uses of its operands, so that cotangents have something to be added to.

use autodiff::{Differentiable, Elementwise, Op, Phi, Point, Scalar, Shape, Tape, Var, Windows};

/// Windows of every kind on images of 4 × 3 cells with 2 channels, none of which tile the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Same,
    Valid,
    Circular,
    Padded,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Same, Kind::Valid, Kind::Circular, Kind::Padded];

    fn windows(self) -> Windows {
        let (image, c, window) = ([4, 3], 2, [2, 3]);
        let border = autodiff::Border::Zeros;
        match self {
            Kind::Same => Windows::same(image, c, window, [2, 1]),
            Kind::Valid => Windows::valid(image, c, window, [1, 1]),
            Kind::Circular => Windows::circular(image, c, window, [1, 2]),
            Kind::Padded => Windows::padded(image, c, window, [2, 2], autodiff::Padding { rows: [2, 1], cols: [0, 1], border }),
        }
    }
}

/// An own function with its slope, and one without.
pub const GIVEN: Elementwise = Elementwise::new("x·atan(x)", |x| x * x.atan()).with_slope(|x| x.atan() + x / (1.0 + x * x));
pub const DIFFERENCES: Elementwise = Elementwise::new("sin(x + 1)", |x| (x + 1.0).sin());

/// One way to use one operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Case {
    Affine {
        scale: f64,
        bias: bool,
    },
    /// A product of two weights.
    Weights,
    /// A product for each example.
    Product {
        scale: f64,
    },
    /// A parameter on the left side of a value.
    LeftParameter,
    /// A transposed, reshaped and sliced weight.
    TurnedWeight,
    Transpose,
    Reshape,
    Add,
    Sub,
    Mul,
    Square,
    Div,
    Scale,
    Map(Phi),
    Apply(Elementwise),
    Power(f64),
    RowDot,
    Norm,
    LogSumExp,
    Softmax,
    CrossEntropy,
    SumColumns,
    SumSites,
    SumExamples,
    BroadcastScalar,
    BroadcastRow,
    BroadcastColumn,
    Slice,
    SliceExamples,
    Concat,
    ConcatExamples,
    Gather,
    Patches(Kind),
    Conv(Kind),
    Pool(Kind),
    MaxPool(Kind),
}

/// The variant of an operation as a number below [`N_OPS`]. The match lists all of them, so that a new one cannot be forgotten.
pub fn number(op: &Op) -> usize {
    match op {
        Op::Leaf(_) => 0,
        Op::Affine { .. } => 1,
        Op::Product { .. } => 2,
        Op::Transpose(_) => 3,
        Op::Reshape(_) => 4,
        Op::Add(..) => 5,
        Op::Sub(..) => 6,
        Op::Mul(..) => 7,
        Op::Div(..) => 8,
        Op::Scale(..) => 9,
        Op::Map(..) => 10,
        Op::Power(..) => 11,
        Op::RowDot(..) => 12,
        Op::Norm(_) => 13,
        Op::LogSumExp(_) => 14,
        Op::Sum(..) => 15,
        Op::Broadcast(..) => 16,
        Op::Slice { .. } => 17,
        Op::Concat(..) => 18,
        Op::Gather { .. } => 19,
        Op::Patches(..) => 20,
        Op::Pool(..) => 21,
        Op::MaxPool(..) => 22,
        Op::Conv { .. } => 23,
        Op::Apply(..) => 24,
    }
}

pub const N_OPS: usize = 25;

impl Case {
    /// All of them.
    pub fn all() -> Vec<Case> {
        let mut all = vec![
            Case::Affine { scale: 1.0, bias: false },
            Case::Affine { scale: 0.7, bias: true },
            Case::Weights,
            Case::Product { scale: 1.0 },
            Case::Product { scale: 0.7 },
            Case::LeftParameter,
            Case::TurnedWeight,
            Case::Transpose,
            Case::Reshape,
            Case::Add,
            Case::Sub,
            Case::Mul,
            Case::Square,
            Case::Div,
            Case::Scale,
            Case::RowDot,
            Case::Norm,
            Case::LogSumExp,
            Case::Softmax,
            Case::CrossEntropy,
            Case::SumColumns,
            Case::SumSites,
            Case::SumExamples,
            Case::BroadcastScalar,
            Case::BroadcastRow,
            Case::BroadcastColumn,
            Case::Slice,
            Case::SliceExamples,
            Case::Concat,
            Case::ConcatExamples,
            Case::Gather,
        ];
        all.extend(Phi::ALL.map(Case::Map));
        all.extend([GIVEN, DIFFERENCES].map(Case::Apply));
        all.extend([3.0, -1.5, 0.5, 1.0, 0.0].map(Case::Power));
        for kind in Kind::ALL {
            all.extend([Case::Patches(kind), Case::Conv(kind), Case::Pool(kind), Case::MaxPool(kind)]);
        }
        all
    }

    /// Shapes of an example of each input, and of the parameters.
    fn shapes(self) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
        let (inputs, parameters): (&[&[usize]], &[&[usize]]) = match self {
            Case::Affine { .. } => (&[&[2]], &[&[2, 3], &[3]]),
            Case::Weights => (&[&[3]], &[&[3, 2], &[2, 3]]),
            Case::Product { .. } => (&[&[2, 3], &[3, 2]], &[]),
            Case::LeftParameter => (&[&[3, 2]], &[&[4, 3]]),
            Case::TurnedWeight => (&[&[2]], &[&[3, 4]]),
            Case::Transpose | Case::Reshape | Case::Slice | Case::SumSites | Case::SumColumns => (&[&[3, 2]], &[]),
            Case::Add | Case::Sub | Case::Mul | Case::Div | Case::RowDot | Case::CrossEntropy => (&[&[3], &[3]], &[]),
            Case::Square | Case::Scale | Case::Map(_) | Case::Apply(_) | Case::Power(_) | Case::Norm | Case::LogSumExp | Case::Softmax => {
                (&[&[3]], &[])
            }
            Case::SumExamples | Case::SliceExamples | Case::ConcatExamples => (&[&[3]], &[&[3]]),
            Case::BroadcastScalar => (&[&[2]], &[&[]]),
            Case::BroadcastRow => (&[&[3, 2]], &[&[2]]),
            Case::BroadcastColumn => (&[&[3, 2], &[3]], &[]),
            Case::Concat => (&[&[2, 2], &[3, 2], &[1, 2]], &[]),
            Case::Gather => (&[&[2]], &[&[4, 2]]),
            Case::Patches(_) | Case::Pool(_) | Case::MaxPool(_) => (&[&[4, 3, 2]], &[]),
            Case::Conv(_) => (&[&[4, 3, 2]], &[&[12, 2], &[2]]),
        };
        let owned = |shapes: &[&[usize]]| shapes.iter().map(|s| s.to_vec()).collect();
        (owned(inputs), owned(parameters))
    }

    /// Values between −1 and 1 for all leaves.
    pub fn point(self, examples: usize, seed: u64) -> Point {
        let (inputs, parameters) = self.shapes();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let mut leaf = |dims: &[usize]| {
            let shape = Shape::from(dims);
            let values = (0..shape.len()).map(|_| next()).collect();
            (shape, values)
        };
        Point {
            inputs: inputs.iter().map(|dims| leaf(&[&[examples], &dims[..]].concat())).collect(),
            parameters: parameters.iter().map(|dims| leaf(dims)).collect(),
        }
    }

    /// Records the operation, and returns its value with the operands that are to be used again.
    fn operation<T: Scalar>(self, tape: &mut Tape<T>, x: &[Var], p: &[Var]) -> (Var, Vec<Var>) {
        let n = tape.shape(x[0]).dims()[0];
        // What a function needs to be where it is smooth: far from zero and positive.
        let positive = |tape: &mut Tape<T>, x: Var| tape.map(Phi::Exp, x);
        match self {
            Case::Affine { scale, bias } => {
                let x = tape.map(Phi::Tanh, x[0]);
                let [w, b] = [p[0], p[1]].map(|p| tape.scale(p, 1.1));
                (tape.affine(x, w, scale, bias.then_some((b, 0.3))), vec![x, w, b])
            }
            Case::Weights => {
                let [v, w] = [p[0], p[1]].map(|p| tape.map(Phi::Tanh, p));
                let u = tape.affine(v, w, 0.8, None);
                (tape.affine(x[0], u, 0.5, None), vec![u, v, w, x[0]])
            }
            Case::Product { scale } => {
                let [x, y] = [x[0], x[1]].map(|x| tape.map(Phi::Tanh, x));
                (tape.product(x, y, scale), vec![x, y])
            }
            Case::LeftParameter => {
                let (x, w) = (tape.map(Phi::Tanh, x[0]), tape.map(Phi::Tanh, p[0]));
                (tape.product(w, x, 0.7), vec![x, w, p[0]])
            }
            Case::TurnedWeight => {
                // [3, 4] → [4, 3] → [2, 6] → its columns 1 to 3.
                let t = tape.transpose(p[0]);
                let r = tape.reshape(t, [2, 6]);
                let w = tape.slice(r, 1, 1..4);
                (tape.affine(x[0], w, 0.9, None), vec![t, r, w, p[0]])
            }
            Case::Transpose => {
                let x = tape.map(Phi::Tanh, x[0]);
                let y = tape.transpose(x);
                let y = tape.log_sum_exp(y);
                (y, vec![x])
            }
            Case::Reshape => {
                let x = tape.map(Phi::Tanh, x[0]);
                let y = tape.reshape(x, [n, 2, 3]);
                (tape.log_sum_exp(y), vec![x, y])
            }
            Case::Add | Case::Sub | Case::Mul | Case::Div | Case::RowDot | Case::CrossEntropy => {
                let (x, y) = (tape.map(Phi::Tanh, x[0]), positive(tape, x[1]));
                let z = match self {
                    Case::Add => tape.add(x, y),
                    Case::Sub => tape.sub(x, y),
                    Case::Mul => tape.mul(x, y),
                    Case::Div => tape.div(x, y),
                    Case::RowDot => tape.row_dot(x, y),
                    _ => tape.cross_entropy(x, y),
                };
                (z, vec![x, y])
            }
            Case::Square => {
                let x = tape.map(Phi::Tanh, x[0]);
                (tape.mul(x, x), vec![x])
            }
            Case::Scale => {
                let x = tape.map(Phi::Tanh, x[0]);
                (tape.scale(x, -2.5), vec![x])
            }
            Case::Map(phi) => {
                let x = if domain_is_positive(phi) { positive(tape, x[0]) } else { tape.scale(x[0], 1.3) };
                (tape.map(phi, x), vec![x])
            }
            Case::Apply(f) => {
                let x = tape.scale(x[0], 1.3);
                (tape.apply(f, x), vec![x])
            }
            Case::Power(p) => {
                let x = if p == 3.0 { tape.scale(x[0], 1.3) } else { positive(tape, x[0]) };
                (tape.powf(x, p), vec![x])
            }
            Case::Norm | Case::LogSumExp | Case::Softmax => {
                let x = tape.scale(x[0], 1.3);
                let z = match self {
                    Case::Norm => tape.norm(x),
                    Case::LogSumExp => tape.log_sum_exp(x),
                    _ => tape.softmax(x),
                };
                (z, vec![x])
            }
            Case::SumColumns | Case::SumSites => {
                let x = tape.map(Phi::Tanh, x[0]);
                let z = if self == Case::SumSites { tape.sum_axes(x, 1..2, 0.6) } else { tape.mean_axes(x, 2..3) };
                (z, vec![x])
            }
            Case::SumExamples => {
                let x = tape.map(Phi::Tanh, x[0]);
                (tape.sum_axes(x, 0..1, 0.6), vec![x, p[0]])
            }
            Case::BroadcastScalar | Case::BroadcastRow => {
                let b = tape.scale(p[0], 1.1);
                let y = tape.broadcast(b, 0..2, x[0]);
                (tape.mul(y, x[0]), vec![b])
            }
            Case::BroadcastColumn => {
                let c = tape.map(Phi::Tanh, x[1]);
                let y = tape.broadcast(c, 2..3, x[0]);
                (tape.mul(y, x[0]), vec![c])
            }
            Case::Slice => {
                let x = tape.map(Phi::Tanh, x[0]);
                let (a, b) = (tape.slice(x, 1, 1..3), tape.slice(x, 1, 0..2));
                (tape.mul(a, b), vec![x])
            }
            Case::SliceExamples => {
                let x = tape.map(Phi::Tanh, x[0]);
                (tape.slice(x, 0, n / 3..n - n / 3), vec![x])
            }
            Case::Concat => {
                let parts = [x[0], x[1], x[2]].map(|x| tape.map(Phi::Tanh, x));
                let z = tape.concat(&parts, 1);
                let z = tape.transpose(z);
                (tape.log_sum_exp(z), parts.to_vec())
            }
            Case::ConcatExamples => {
                let x = tape.map(Phi::Tanh, x[0]);
                let z = tape.concat(&[x, x], 0);
                (tape.log_sum_exp(z), vec![x])
            }
            Case::Gather => {
                let table = tape.map(Phi::Tanh, p[0]);
                // A word that depends on the example alone, wherever that stands.
                let word = |x: &[T]| T::of((2.0 * (x[0].primal() + 1.0)).floor().clamp(0.0, 3.0));
                let words: Vec<T> = tape.value(x[0]).chunks(2).map(word).collect();
                let words = tape.target([n], &words);
                let (one, two) = (tape.gather(table, words), tape.gather(p[0], words));
                (tape.mul(one, two), vec![table])
            }
            Case::Conv(kind) => {
                let x = tape.map(Phi::Tanh, x[0]);
                let [w, b] = [p[0], p[1]].map(|p| tape.scale(p, 1.1));
                (tape.conv(x, w, kind.windows(), 0.7, Some((b, 0.3))), vec![x, w, b])
            }
            Case::Patches(kind) | Case::Pool(kind) | Case::MaxPool(kind) => {
                let (x, windows) = (tape.map(Phi::Tanh, x[0]), kind.windows());
                let z = match self {
                    Case::Patches(_) => {
                        let patches = tape.patches(x, windows);
                        tape.log_sum_exp(patches)
                    }
                    Case::Pool(_) => tape.avg_pool(x, windows),
                    _ => tape.max_pool(x, windows),
                };
                // Windows beyond the edge have the maximum −∞, which no derivative passes.
                (if let Case::MaxPool(_) = self { tape.map(Phi::Exp, z) } else { z }, vec![x])
            }
        }
    }
}

/// Whether a function is defined for positive numbers only.
pub fn domain_is_positive(phi: Phi) -> bool {
    matches!(phi, Phi::Ln | Phi::Sqrt)
}

/// `Σ z² + Σ over operands` for every example: curved in all of them, which are used once more behind the operation.
impl Differentiable for Case {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let (z, operands) = self.operation(tape, inputs, parameters);
        let n = tape.shape(inputs[0]).dims()[0];
        let first = tape.shape(inputs[0]).axes(1..tape.shape(inputs[0]).rank()).n;
        let rows = tape.reshape(inputs[0], [n, first]);
        let mut total = tape.row_dot(rows, rows);
        for v in std::iter::once(z).chain(operands) {
            let (shape, per_example) = (*tape.shape(v), tape.node(v).per_example);
            let squares = if per_example {
                let rows = tape.reshape(v, [n, shape.axes(1..shape.rank()).n]);
                tape.row_dot(rows, rows)
            } else {
                let row = tape.reshape(v, [shape.len()]);
                let squares = tape.row_dot(row, row);
                tape.broadcast(squares, 0..1, total)
            };
            total = tape.add(squares, total);
        }
        total
    }
}
