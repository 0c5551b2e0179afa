//! Section 3: trained networks against the closed form.

use super::{Part, TOO_NOISY, decides, signed, slope};
use crate::experiments::{Line, Linearization, Run, Spread};
use crate::page::{Agreement, Axis, Figure, Finding, Mark, Scale, Section, Series, Text};

pub(super) fn part(result: &Linearization, classes: &[String]) -> Part {
    let text = vec![
        Text::Paragraph(format!(
            "With Θ and the initial outputs f₀ alone, the whole training of the linearized network can be written down. Networks of each width \
             were trained on {} examples by gradient descent, and their outputs are held against that closed form, with nothing fitted, on the \
             training inputs and on {} test inputs.",
            result.train, result.test
        )),
        Text::Formula("f(x, t) = f₀(x) + Θ(x, X) Θ⁻¹ (I − (I − ηΘ/N)^steps) (y − f₀(X)),   t = η · steps / N".into()),
        Text::Paragraph(
            "The closed form is exact only where Θ does not move. For smooth activations, a positive definite Θ and a rate that is not too large, both \
             its error and the movement of Θ are proved to fall at least as fast as W^(−1/2) (Lee, Xiao et al. 2019, theorem 2.1); for the movement \
             of Θ the order 1/W is expected (Huang and Yau 2020; Dyer and Gur-Ari 2020). The networks here have ReLU, whose kink the proof does not \
             cover, and the proof is for W beyond every other size, here above all the number N·O of training examples times outputs."
                .into(),
        ),
    ];
    let last = |d: &[f64]| d[d.len() - 1];
    Part {
        section: Section {
            id: "closed-form".into(),
            title: "A trained network against the closed form".into(),
            text,
            figures: vec![
                trajectory_figure(result, classes),
                distance_by_time(result, classes.len()),
                by_width(
                    result,
                    ("distance-by-width", "Distance from the closed form at the end", "distance of outputs on test inputs"),
                    &result.distance_law,
                    |run| last(&run.test_distance),
                ),
                by_width(
                    result,
                    ("movement-of-theta", "How far Θ moves during training", "‖Θ_end − Θ_start‖ / ‖Θ_start‖"),
                    &result.movement_law,
                    |run| run.movement,
                ),
            ],
            ..Section::default()
        },
        findings: vec![
            finding(
                "The distance of a trained network from the closed form, on test inputs, falls like W to the power",
                &result.distance_law,
                result.train * classes.len(),
            ),
            finding("The movement of Θ during training falls like W to the power", &result.movement_law, result.train * classes.len()),
        ],
    }
}

/// An upper bound agrees with everything that falls as fast or faster. `size` is N·O.
fn finding(claim: &str, law: &Line, size: usize) -> Finding {
    let agreement = match law.slope + 0.5 {
        _ if !decides(law.slope_error) => Agreement::Informative,
        d if d <= (2.0 * law.slope_error).max(0.05) => Agreement::Agrees,
        d if d <= 0.25 => Agreement::Roughly,
        _ => Agreement::Differs,
    };
    let note = match agreement {
        Agreement::Agrees => String::new(),
        Agreement::Informative => TOO_NOISY.into(),
        Agreement::Roughly | Agreement::Differs => format!("Theory is for W far beyond N·O, which is {size} here."),
    };
    Finding { claim: claim.into(), theory: "−1/2 or steeper".into(), measured: slope(law), agreement, section: 0, note }
}

fn trajectory_figure(result: &Linearization, classes: &[String]) -> Figure {
    let widest = result.trajectories.iter().map(|t| t.width).max();
    let times = &result.times[1..];
    let picked = result.trajectories.iter().filter(|t| Some(t.width) == widest);
    let series = picked.enumerate().flat_map(|(k, t)| {
        let set = if t.is_test { "test" } else { "training" };
        let class = classes.get(t.output).map_or("?", String::as_str);
        let name = format!("{set} example {}, class {class}", t.example + 1);
        [
            Series::new(format!("{name}, network"), Mark::Points, k, times.to_vec(), t.network[1..].to_vec()),
            Series::new(format!("{name}, closed form"), Mark::Dashed, k, times.to_vec(), t.closed_form[1..].to_vec()),
        ]
    });
    Figure {
        id: "outputs-over-time".into(),
        title: format!("Outputs of a network of width {} over time", widest.unwrap_or(0)),
        caption: "The output of the right class. Points: the trained network. Dashed: the closed form from Θ and f₀ at the start.".into(),
        x: Axis::new("training time t", Scale::Log10),
        y: Axis::new("output", Scale::Linear),
        series: series.collect(),
    }
}

fn widths(result: &Linearization) -> Vec<usize> {
    let mut widths: Vec<usize> = result.runs.iter().map(|r| r.width).collect();
    widths.dedup();
    widths
}

fn distance_by_time(result: &Linearization, classes: usize) -> Figure {
    let share = 1.0 / classes as f64;
    let times = &result.times[1..];
    let series = widths(result).into_iter().enumerate().map(|(k, width)| {
        let runs: Vec<&Run> = result.runs.iter().filter(|r| r.width == width).collect();
        let mean = |i: usize| runs.iter().map(|r| r.test_distance[i]).sum::<f64>() / runs.len() as f64;
        Series::new(format!("width {width}"), Mark::LinePoints, k, times.to_vec(), (1..=times.len()).map(mean).collect())
    });
    Figure {
        id: "distance-over-time".into(),
        title: "Distance from the closed form over time".into(),
        caption: format!(
            "Root mean square over test inputs and outputs, mean over networks. The target is {} for the class of an example and {} for the others.",
            signed(1.0 - share, 2),
            signed(-share, 2)
        ),
        x: Axis::new("training time t", Scale::Log10),
        y: Axis::new("distance of outputs", Scale::Log10),
        series: series.collect(),
    }
}

fn by_width(result: &Linearization, (id, title, label): (&str, &str, &str), law: &Line, of: impl Fn(&Run) -> f64) -> Figure {
    let widths = widths(result);
    let spreads: Vec<Spread> =
        widths.iter().map(|&w| Spread::of(&result.runs.iter().filter(|r| r.width == w).map(&of).collect::<Vec<_>>())).collect();
    let x: Vec<f64> = super::doubles(&widths);
    let middle = (x[0] * x[x.len() - 1]).sqrt();
    let theory = x.iter().map(|w| law.power(middle) * (w / middle).powf(-0.5)).collect();
    let band = spreads.iter().map(|s| ((s.mean - s.std).max(s.mean / 10.0), s.mean + s.std)).collect();
    Figure {
        id: id.into(),
        title: title.into(),
        caption: format!(
            "Mean and standard deviation over networks (the band is cut off at a tenth of the mean); the fitted slope in the logarithms is {}.",
            slope(law)
        ),
        x: Axis::new("width W of the hidden layers", Scale::Log2),
        y: Axis::new(label, Scale::Log10),
        series: vec![
            Series::new("measured", Mark::LinePoints, 0, x.clone(), spreads.iter().map(|s| s.mean).collect()).with_spread(band),
            Series::new("slope −1/2", Mark::Dashed, 1, x, theory),
        ],
    }
}
