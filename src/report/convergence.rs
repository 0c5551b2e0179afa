//! Section 1: Θ of finite networks against its limit.

use super::{Part, TOO_NOISY, decides, doubles, exponent, signed, slope};
use crate::experiments::{Convergence, Spread};
use crate::page::{Axis, Figure, Finding, Mark, Scale, Section, Series, Text};

pub(super) fn part(result: &Convergence) -> Part {
    let widths = doubles(&result.widths);
    let spreads: Vec<Spread> = result.errors.iter().map(|e| Spread::of(e)).collect();
    let last = spreads[spreads.len() - 1];
    let seeds = result.errors[0].len();
    // The theory line has the slope −1/2 and goes through the middle of the fitted one.
    let middle = (widths[0] * widths[widths.len() - 1]).sqrt();
    let theory: Vec<f64> = widths.iter().map(|w| result.law.power(middle) * (w / middle).powf(-0.5)).collect();
    let text = vec![
        Text::Paragraph(format!(
            "A network with random weights has a random Θ. As the width W of its hidden layers grows, Θ concentrates on a kernel that can be \
             written down without any network, Θ∞ (Jacot, Gabriel and Hongler 2018). Its entries scatter like W^(−1/2) around it, as means over W \
             hidden units do (for the diagonal of a ReLU network: Hanin and Nica 2020). Here Θ is that of {} examples, averaged over outputs, for \
             {seeds} networks of each width.",
            result.examples
        )),
        Text::Formula("Θ[i, j] = (1/O) Σₐ ⟨∂fₐ(xᵢ)/∂θ, ∂fₐ(xⱼ)/∂θ⟩,   ‖Θ_W − Θ∞‖ / ‖Θ∞‖ ∝ W^(−1/2)".into()),
    ];
    Part {
        section: Section {
            id: "convergence".into(),
            title: "Θ approaches its limit as the width grows".into(),
            text,
            figures: vec![error_figure(result, &widths, &spreads, theory), entry_figure(result, &widths)],
            ..Section::default()
        },
        findings: vec![Finding {
            claim: "Θ of a random network approaches Θ at infinite width like W to the power".into(),
            theory: "−1/2".into(),
            measured: slope(&result.law),
            agreement: exponent(result.law.slope, result.law.slope_error, -0.5, 0.03),
            section: 0,
            note: format!(
                "At width {} the distance is {} of the norm. {}",
                result.widths[result.widths.len() - 1],
                signed(last.mean, 3),
                if decides(result.law.slope_error) { "" } else { TOO_NOISY }
            )
            .trim_end()
            .into(),
        }],
    }
}

fn error_figure(result: &Convergence, widths: &[f64], spreads: &[Spread], theory: Vec<f64>) -> Figure {
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for (width, errors) in widths.iter().zip(&result.errors) {
        x.extend(errors.iter().map(|_| *width));
        y.extend(errors);
    }
    let means = spreads.iter().map(|s| s.mean).collect();
    Figure {
        id: "theta-error-by-width".into(),
        title: "Distance of Θ from its limit".into(),
        caption: format!(
            "Each small point is one network; the line joins the means. The fitted slope is {} in the logarithms, the dashed line has −1/2.",
            slope(&result.law)
        ),
        x: Axis::new("width W of the hidden layers", Scale::Log2),
        y: Axis::new("‖Θ_W − Θ∞‖ / ‖Θ∞‖", Scale::Log10),
        series: vec![
            Series::new("one network", Mark::Points, 2, x, y),
            Series::new("mean", Mark::LinePoints, 0, widths.to_vec(), means),
            Series::new("theory: slope −1/2", Mark::Dashed, 1, widths.to_vec(), theory),
        ],
    }
}

fn entry_figure(result: &Convergence, widths: &[f64]) -> Figure {
    let series = result.entries.iter().enumerate().flat_map(|(k, entry)| {
        let spreads: Vec<Spread> = entry.values.iter().map(|v| Spread::of(v)).collect();
        let name = if entry.pair.0 == entry.pair.1 { "Θ(x, x)" } else { "Θ(x, x′)" };
        let means = spreads.iter().map(|s| s.mean).collect();
        let band = spreads.iter().map(|s| (s.mean - s.std, s.mean + s.std)).collect();
        [
            Series::new(format!("{name}, mean ± std"), Mark::LinePoints, k, widths.to_vec(), means).with_spread(band),
            Series::new(format!("{name}, infinite width"), Mark::Dashed, k, widths.to_vec(), vec![entry.limit; widths.len()]),
        ]
    });
    Figure {
        id: "theta-entries-by-width".into(),
        title: "Two entries of Θ".into(),
        caption: "The kernel of one example with itself and with another: in theory the scatter among networks shrinks as the width grows, and the mean tends to the dashed line.".into(),
        x: Axis::new("width W of the hidden layers", Scale::Log2),
        y: Axis::new("entry of Θ", Scale::Linear),
        series: series.collect(),
    }
}
