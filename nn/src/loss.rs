//! Losses, recorded on the tape of the network.

use autodiff::{Scalar, Shape, Tape, Var};

/// What training makes small. Both are means over the examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Loss {
    /// `(1/N) Σ_i ½‖f(x_i) − y_i‖²`: half the squared error, summed over outputs. Gradient descent at rate `η` is the flow
    /// `u̇ = −Θ(u − y)` at time `t = η·steps/N`.
    #[default]
    SquaredError,
    /// `(1/N) Σ_i −Σ_a p_ia log softmax(f(x_i))_a`, where each row of targets `p` sums to 1.
    CrossEntropy,
}

impl Loss {
    /// Records the loss of outputs `f` against targets `y`, both `[examples, outputs]`; returns a scalar.
    ///
    /// ```
    /// use nn::Loss;
    /// let mut tape = autodiff::Tape::new();
    /// let f = tape.input([2, 2], &[1.0, 0.0, 0.0, 0.0]);
    /// let y = tape.target([2, 2], &[0.0, 1.0, 0.0, 1.0]);
    /// let mse = Loss::SquaredError.record(&mut tape, f, y);
    /// assert_eq!(tape.value(mse), [0.75]);
    /// let xent = Loss::CrossEntropy.record(&mut tape, f, y);
    /// let want = ((1.0 + 1.0_f64.exp()).ln() + 2.0_f64.ln()) / 2.0;
    /// assert!((tape.value(xent)[0] - want).abs() < 1e-15);
    /// ```
    #[track_caller]
    pub fn record<T: Scalar>(self, tape: &mut Tape<T>, f: Var, y: Var) -> Var {
        let mean = 1.0 / tape.shape(f).dims()[0].max(1) as f64;
        match self {
            Loss::SquaredError => {
                let residual = tape.sub(f, y);
                let squares = tape.row_dot(residual, residual);
                tape.sum(squares, 0.5 * mean)
            }
            Loss::CrossEntropy => {
                let normalizer = tape.log_sum_exp(f);
                let picked = tape.row_dot(y, f);
                let losses = tape.sub(normalizer, picked);
                tape.sum(losses, mean)
            }
        }
    }

    /// Records the loss of outputs against the targets of a batch.
    #[track_caller]
    pub(crate) fn of_batch<T: Scalar>(self, tape: &mut Tape<T>, f: Var, y: &[T]) -> Var {
        let shape: Shape = *tape.shape(f);
        let y = tape.target(shape, y);
        self.record(tape, f, y)
    }
}
