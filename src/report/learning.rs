//! Section 2: the spectrum of Θ and the speed of learning.

use super::{Part, signed};
use crate::experiments::{Direction, Learning, median};
use crate::page::{Agreement, Axis, Figure, Finding, Mark, Scale, Section, Series, Text};

pub(super) fn part(result: &Learning) -> Part {
    let ratios: Vec<f64> = result.directions.iter().map(|d| d.rate / d.eigenvalue).filter(|r| r.is_finite()).collect();
    let middle = median(&ratios);
    let within = ratios.iter().filter(|r| (0.8..1.25).contains(*r)).count();
    let share = within as f64 / ratios.len().max(1) as f64;
    let agreement = match (middle - 1.0).abs() {
        _ if ratios.is_empty() => Agreement::Informative,
        d if d <= 0.05 && share >= 0.75 => Agreement::Agrees,
        d if d <= 0.2 => Agreement::Roughly,
        _ => Agreement::Differs,
    };
    let text = vec![
        Text::Paragraph(format!(
            "If Θ stays as it is and the steps are small, the residual f − y of the training examples decays in each eigendirection of Θ at its \
             own rate, which is the eigenvalue (Jacot, Gabriel and Hongler 2018, section 5). A network of width {} was trained on {} examples by \
             gradient descent on the mean of ½‖f − y‖² over the N examples, and its residual was projected on the eigenvectors that its full Θ, \
             over examples and outputs, had before training.",
            result.width, result.examples
        )),
        Text::Formula("vᵀ(f(t) − y) = e^(−λt) · vᵀ(f(0) − y),   Θ v = λ v,   t = rate · steps / N".into()),
        Text::Paragraph(
            "So directions of large eigenvalue are learnt first, and those whose 1/λ is far beyond the end of training are hardly learnt at all. A \
             rate is measured where the residual should have fallen to 1/e, so only for directions whose 1/λ lies within the training, and only if the \
             residual was at least a tenth of the typical one at the start: what begins near zero says nothing about its decay."
                .into(),
        ),
    ];
    Part {
        section: Section {
            id: "spectrum".into(),
            title: "The spectrum of Θ says what is learnt when".into(),
            text,
            figures: vec![spectrum_figure(result), decay_figure(result), rate_figure(result)],
            ..Section::default()
        },
        findings: vec![Finding {
            claim: "Each eigendirection of Θ is learnt at the rate of its eigenvalue: measured rate / λ".into(),
            theory: "1".into(),
            measured: if ratios.is_empty() { "no direction could be measured".into() } else { format!("{} (median)", signed(middle, 2)) },
            agreement,
            section: 0,
            note: format!(
                "{within} of {} measured directions lie between 0.8 and 1.25; Θ has {} directions in all.",
                ratios.len(),
                result.eigenvalues.len()
            ),
        }],
    }
}

fn spectrum_figure(result: &Learning) -> Figure {
    let own = result.eigenvalues.clone();
    // At infinite width each eigenvalue comes once for each output.
    let limit: Vec<f64> = result.limit_eigenvalues.iter().flat_map(|&v| std::iter::repeat_n(v, result.outputs)).collect();
    let ranks = |values: &[f64]| (1..=values.len()).map(|i| i as f64).collect();
    Figure {
        id: "spectrum".into(),
        title: "Eigenvalues of Θ".into(),
        caption: format!(
            "The full Θ, over {} examples and {} outputs, of the network of width {} before training, and Θ at infinite width, where each \
             eigenvalue comes once for each output.",
            result.examples, result.outputs, result.width
        ),
        x: Axis::new("rank of the eigenvalue", Scale::Log10),
        y: Axis::new("eigenvalue λ", Scale::Log10),
        series: vec![
            Series::new("network", Mark::Line, 0, ranks(&own), own),
            Series::new("infinite width", Mark::Dashed, 1, ranks(&limit), limit),
        ],
    }
}

/// A few directions, spread evenly over the logarithms of their eigenvalues.
fn examples(directions: &[Direction], n: usize) -> Vec<&Direction> {
    let (Some(first), Some(last)) = (directions.first(), directions.last()) else { return Vec::new() };
    let (high, low) = (first.eigenvalue.ln(), last.eigenvalue.ln());
    let mut picked: Vec<&Direction> = (0..n)
        .filter_map(|i| {
            let wanted = high + (low - high) * i as f64 / (n - 1) as f64;
            directions.iter().min_by(|a, b| (a.eigenvalue.ln() - wanted).abs().total_cmp(&(b.eigenvalue.ln() - wanted).abs()))
        })
        .collect();
    picked.dedup_by_key(|d| d.index);
    picked
}

fn decay_figure(result: &Learning) -> Figure {
    // The logarithmic axis begins at the first step.
    let times = &result.times[1..];
    let series = examples(&result.directions, 5).into_iter().enumerate().flat_map(|(k, d)| {
        let theory = times.iter().map(|t| (-d.eigenvalue * t).exp()).collect();
        [
            Series::new(format!("direction {}", d.index + 1), Mark::Points, k, times.to_vec(), d.residuals[1..].to_vec()),
            Series::new(format!("e^(−λt), direction {}", d.index + 1), Mark::Dashed, k, times.to_vec(), theory),
        ]
    });
    Figure {
        id: "decay-of-directions".into(),
        title: "Residual in some eigendirections".into(),
        caption: "Points: the trained network. Dashed: the exponential of its eigenvalue, with nothing fitted. The steepest direction runs ahead of \
                  the flow because the steps of gradient descent are finite."
            .into(),
        x: Axis::new("training time t", Scale::Log10),
        y: Axis::new("residual, relative to the start", Scale::Linear),
        series: series.collect(),
    }
}

fn rate_figure(result: &Learning) -> Figure {
    let (x, y): (Vec<f64>, Vec<f64>) = result.directions.iter().map(|d| (d.eigenvalue, d.rate)).unzip();
    Figure {
        id: "rate-by-eigenvalue".into(),
        title: "Measured rates against eigenvalues".into(),
        caption: "One point for each direction that had time to be learnt and something to learn; the dashed line is rate = λ.".into(),
        x: Axis::new("eigenvalue λ", Scale::Log10),
        y: Axis::new("measured rate", Scale::Log10),
        series: vec![
            Series::new("measured", Mark::Points, 0, x.clone(), y),
            Series::new("theory: rate = λ", Mark::Dashed, 1, x.clone(), x),
        ],
    }
}
