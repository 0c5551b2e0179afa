//! Section 4: test errors.

use super::{Part, percent};
use crate::data::Dataset;
use crate::experiments::{Generalization, Method, Problem};
use crate::page::{Agreement, Axis, Figure, Finding, Mark, Scale, Section, Series, Table, Text, Thumbnails};

pub(super) fn part(result: &Generalization, data: &Dataset, problem: &Problem) -> Part {
    let [linear, trained, closed_form, before, after, infinite] = &result.methods[..] else { unreachable!("six methods are compared") };
    let text = vec![
        Text::Paragraph(format!(
            "One split: {} training and {} test examples, each method with one output for every class and the largest as its answer. The network \
             has width {} and is trained on squared error by stochastic gradient descent. All regressions, the linear one with its kernel \
             x·x′/d + 1 as well, have the ridge λ = {} · mean diagonal of their kernel; it is fixed and not chosen by any error.",
            result.train, result.test, result.width, result.ridge
        )),
        Text::Formula("regression: f(x) = Θ(x, X) (Θ + λI)⁻¹ y\nclosed form: f(x) = f₀(x) + Θ(x, X) Θ⁻¹ (I − (I − ηΘ/N)^steps) (y − f₀(X))".into()),
        Text::Paragraph(
            "The closed form of training starts where the network starts, at its random outputs f₀, and takes as many steps with the same rate η. What \
             training does not remove of f₀ stays in the test outputs, as noise; kernel regression has f₀ = 0, which is its mean over infinitely many \
             networks. Θ is here the mean over the outputs; entries between different outputs, which vanish at infinite width, are left out, and so is \
             the noise of the batches. As the width grows, the network's own Θ before training becomes Θ at infinite width. Θ after training has seen \
             the labels: where regression with it has another test error than with Θ before training, the network has changed its kernel."
                .into(),
        ),
    ];
    let mut section = Section {
        id: "test-error".into(),
        title: "Test error of networks and kernels".into(),
        text,
        figures: vec![error_figure(result), history_figure(result)],
        tables: vec![table(&result.methods)],
        ..Section::default()
    };
    section.thumbnails.extend(mistakes(result, data, problem));
    Part {
        section,
        findings: vec![
            same("Regression with the network’s own Θ has the test error of regression with Θ at infinite width", infinite, before),
            same("A trained network has the test error of the closed form of its training", closed_form, trained),
            Finding {
                claim: "Regression with Θ after training has the test error of Θ before it: at infinite width the two are equal".into(),
                theory: percent(before.test_error),
                measured: percent(after.test_error),
                agreement: Agreement::Informative,
                section: 0,
                note: format!("Linear regression: {}.", percent(linear.test_error)),
            },
        ],
    }
}

/// The widest interval, as a share of the test examples, from which agreement is concluded.
const WIDEST_INTERVAL: f64 = 0.2;

/// Two errors agree if each lies in the other's interval, unless that says nothing.
fn same(claim: &str, theory: &Method, measured: &Method) -> Finding {
    let inside = |error: f64, (low, high): (f64, f64)| (low..=high).contains(&error);
    let decides = [measured, theory].iter().all(|m| m.interval.1 - m.interval.0 <= WIDEST_INTERVAL);
    let agreement = match (inside(theory.test_error, measured.interval), inside(measured.test_error, theory.interval)) {
        _ if !decides => Agreement::Informative,
        (true, true) => Agreement::Agrees,
        (true, false) | (false, true) => Agreement::Roughly,
        (false, false) => Agreement::Differs,
    };
    Finding {
        claim: claim.into(),
        theory: percent(theory.test_error),
        measured: percent(measured.test_error),
        agreement,
        section: 0,
        note: format!(
            "95 % interval of the measured error: {} to {}{}.",
            percent(measured.interval.0),
            percent(measured.interval.1),
            if decides { "" } else { "; there are too few test examples to decide" }
        ),
    }
}

fn table(methods: &[Method]) -> Table {
    let row = |m: &Method| {
        let (low, high) = m.interval;
        vec![m.name.clone(), percent(m.train_error), percent(m.test_error), format!("{} to {}", percent(low), percent(high))]
    };
    Table {
        caption: "Errors on one split".into(),
        header: ["method", "training error", "test error", "95 % interval"].map(String::from).into(),
        rows: methods.iter().map(row).collect(),
    }
}

fn error_figure(result: &Generalization) -> Figure {
    let names = result.methods.iter().map(|m| m.name.clone()).collect();
    let x = (0..result.methods.len()).map(|i| i as f64).collect();
    let y = result.methods.iter().map(|m| 100.0 * m.test_error).collect();
    let spread = result.methods.iter().map(|m| (100.0 * m.interval.0, 100.0 * m.interval.1)).collect();
    Figure {
        id: "test-errors".into(),
        title: "Test error by method".into(),
        caption: format!(
            "{} test examples; the whiskers are 95 % intervals of the error (Wilson), for the choice of test examples only.",
            result.test
        ),
        x: Axis::new("method", Scale::Category(names)),
        y: Axis::new("test error, %", Scale::Linear),
        series: vec![Series::new("test error", Mark::Bars, 0, x, y).with_spread(spread)],
    }
}

fn history_figure(result: &Generalization) -> Figure {
    let epochs: Vec<f64> = (0..result.history.len()).map(|i| i as f64).collect();
    let errors = |of: fn(&(f64, f64)) -> f64| result.history.iter().map(|h| 100.0 * of(h)).collect::<Vec<_>>();
    let infinite = result.methods[5].test_error * 100.0;
    Figure {
        id: "errors-by-epoch".into(),
        title: "Errors of the network while it is trained".into(),
        caption: "Stochastic gradient descent, epoch by epoch; the dashed line is kernel regression at infinite width.".into(),
        x: Axis::new("epoch", Scale::Linear),
        y: Axis::new("error, %", Scale::Linear),
        series: vec![
            Series::new("training", Mark::Line, 0, epochs.clone(), errors(|h| h.0)),
            Series::new("test", Mark::Line, 1, epochs.clone(), errors(|h| h.1)),
            Series::new("Θ∞, test", Mark::Dashed, 2, vec![0.0, epochs[epochs.len() - 1]], vec![infinite; 2]),
        ],
    }
}

/// The first test images that the network gets wrong.
fn mistakes(result: &Generalization, data: &Dataset, problem: &Problem) -> Option<Thumbnails> {
    let shape = data.image?;
    let images = result.mistakes.iter().take(10).map(|&(i, said)| {
        let row = problem.test_rows[i];
        let caption = format!("{}, not {}", data.classes[data.labels[row]], data.classes[said]);
        (data.x[row * data.d..(row + 1) * data.d].to_vec(), shape, caption)
    });
    let images: Vec<_> = images.collect();
    (!images.is_empty()).then(|| Thumbnails {
        id: "mistakes".into(),
        caption: format!(
            "{} of the {} test examples that the trained network gets wrong: what they are, and what it says.",
            images.len(),
            result.mistakes.len()
        ),
        images,
    })
}
