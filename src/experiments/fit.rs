//! Straight lines through points, and medians.

use serde::Serialize;

/// A straight line `y = intercept + slope·x`, fitted by least squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The slope.
    pub slope: f64,
    /// The value at 0.
    pub intercept: f64,
    /// The standard error of the slope, from the scatter of the points around the line; not finite for two points, which have none.
    pub slope_error: f64,
}

impl Line {
    /// Through points.
    ///
    /// ```
    /// use tangents::experiments::Line;
    /// let line = Line::through(&[0.0, 1.0, 2.0], &[1.0, 3.0, 5.0]);
    /// assert_eq!((line.slope, line.intercept, line.slope_error), (2.0, 1.0, 0.0));
    /// ```
    ///
    /// # Panics
    /// If there are fewer than two points, or not as many of both coordinates.
    #[track_caller]
    pub fn through(x: &[f64], y: &[f64]) -> Self {
        assert!(x.len() == y.len() && x.len() > 1, "a line needs two points and as many x as y, given {} and {}", x.len(), y.len());
        let n = x.len() as f64;
        let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
        let sxx: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
        let sxy: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
        let slope = sxy / sxx;
        let intercept = my - slope * mx;
        let residual: f64 = x.iter().zip(y).map(|(x, y)| (y - intercept - slope * x).powi(2)).sum();
        Line { slope, intercept, slope_error: (residual / (n - 2.0) / sxx).sqrt() }
    }

    /// The power law `y = c·x^slope` through points, that is a line through their logarithms. Its numbers are NaN if a coordinate is not
    /// positive, or if all `x` are equal.
    ///
    /// # Panics
    /// As [`Line::through`].
    #[track_caller]
    pub fn power_law(x: &[f64], y: &[f64]) -> Self {
        let ln = |v: &[f64]| v.iter().map(|v| v.ln()).collect::<Vec<_>>();
        Line::through(&ln(x), &ln(y))
    }

    /// The power law at `x`.
    pub fn power(&self, x: f64) -> f64 {
        (self.intercept + self.slope * x.ln()).exp()
    }
}

/// The value in the middle, NaN of none.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which a fraction lies, between neighbours by a straight line; NaN of none.
pub(super) fn quantile(values: &[f64], fraction: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = fraction * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::{Line, median, quantile};

    #[test]
    fn a_power_law_is_found_again() {
        let x = [64.0, 128.0, 256.0, 512.0];
        let y = x.map(|x: f64| 3.0 * x.powf(-0.5));
        let line = Line::power_law(&x, &y);
        assert!((line.slope + 0.5).abs() < 1e-12 && line.slope_error < 1e-7, "{line:?}");
        assert!((line.power(100.0) - 0.3).abs() < 1e-12);
    }

    #[test]
    fn the_error_of_the_slope_is_the_textbook_one() {
        // Residuals ±1 around y = x at x = 0, 1, 2, 3 in the pattern +, −, −, +: slope 1, s² = 4/2, Sxx = 5.
        let line = Line::through(&[0.0, 1.0, 2.0, 3.0], &[1.0, 0.0, 1.0, 4.0]);
        assert!((line.slope - 1.0).abs() < 1e-12 && (line.slope_error - (2.0_f64 / 5.0).sqrt()).abs() < 1e-12, "{line:?}");
    }

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(&[0.0, 10.0], 0.25), 2.5);
        assert!(median(&[]).is_nan());
    }
}
