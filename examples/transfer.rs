//! Learning-rate transfer: the best rate of networks of several widths, trained on the digits by Adam.
//!
//! `cargo run --release --example transfer -- [FOLDER]` writes `transfer.svg`, `transfer-standard.svg`, `transfer-mup.svg` and their numbers into the
//! folder, `plots` unless given. It takes minutes.

use nn::{Optimizer, Parameterization};
use std::path::PathBuf;
use tangents::data::Dataset;
use tangents::experiments::{Problem, Transfer, TransferSettings, transfer};
use tangents::files;
use tangents::page::{Axis, Figure, Mark, Scale, Series};
use tangents::progress::Progress;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "plots".into()));
    files::create_folder(&folder)?;
    let progress = Progress::new(false);
    let problem = Problem::new(&Dataset::digits(), 500, 0, 0)?;
    let settings = TransferSettings {
        widths: vec![64, 128, 256, 512, 1024, 2048],
        rates: (-14..=-3).map(|k| f64::from(k).exp2()).collect(),
        seeds: 2,
        steps: 60,
        batch: 50,
        optimizer: Optimizer::ADAM,
    };
    let mut figures = Vec::new();
    let mut best = Vec::new();
    let x: Vec<f64> = settings.widths.iter().map(|&w| w as f64).collect();
    for (color, parameterization) in [Parameterization::Mup { base_width: 64 }, Parameterization::Standard].into_iter().enumerate() {
        let found = transfer(&problem, parameterization, &settings, &progress)?;
        println!("{}: best rate by width, exponent {:+.2} ± {:.2}", found.parameterization, found.slope.slope, found.slope.slope_error);
        for ((width, rate), losses) in found.widths.iter().zip(&found.best).zip(&found.losses) {
            let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
            println!("  {width:>5}  {rate:.5}  loss {lowest:.5}");
        }
        let name = format!("{}: exponent {:+.2}", found.parameterization, found.slope.slope);
        best.push(Series::new(name, Mark::LinePoints, color, x.clone(), found.best.clone()));
        figures.push(curves(&found));
    }
    figures.push(Figure {
        id: "transfer".into(),
        title: "Best rate of Adam by width".into(),
        caption: "The rate with the lowest training loss after 60 steps on 500 digits.".into(),
        x: Axis::new("width of the hidden layers", Scale::Log2),
        y: Axis::new("best rate", Scale::Log10),
        series: best,
    });
    for figure in &figures {
        for (kind, text) in [("svg", figure.standalone_svg()), ("csv", figure.csv())] {
            let path = folder.join(format!("{}.{kind}", figure.id));
            files::write_atomically(&path, |out| out.write_all(text.as_bytes()))?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// Loss against rate, a line for each width.
fn curves(found: &Transfer) -> Figure {
    let line = |(i, losses): (usize, &Vec<f64>)| {
        Series::new(format!("width {}", found.widths[i]), Mark::LinePoints, i, found.rates.clone(), losses.clone())
    };
    Figure {
        id: format!("transfer-{}", found.parameterization),
        title: format!("Training loss by rate, {}", found.parameterization),
        caption: "After 60 steps of Adam on 500 digits; networks that diverged are left out.".into(),
        x: Axis::new("rate of Adam", Scale::Log2),
        y: Axis::new("loss", Scale::Log10),
        series: found.losses.iter().enumerate().map(line).collect(),
    }
}
