//! The coordinate check: how far the features of wide networks move in their first steps, at one rate for all widths.
//!
//! `cargo run --release --example coordinate_check -- [FOLDER]` writes `coordinate-check.svg` and `.csv` into the folder, `plots` unless given.

use nn::{Optimizer, Parameterization};
use std::path::PathBuf;
use tangents::data::Dataset;
use tangents::experiments::{CoordinateCheck, CoordinateSettings, Problem, coordinate_check};
use tangents::files;
use tangents::page::{Axis, Figure, Mark, Scale, Series};
use tangents::progress::Progress;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "plots".into()));
    files::create_folder(&folder)?;
    let progress = Progress::new(false);
    let problem = Problem::new(&Dataset::digits(), 100, 0, 0)?;
    let widths = vec![64, 128, 256, 512, 1024, 2048];
    let mup = Parameterization::Mup { base_width: 64 };
    // The rates of the standard and the μP networks are the same at the base width, where both are one.
    let runs = [(mup, 0.005), (Parameterization::Standard, 0.005), (Parameterization::Ntk, 100.0)];
    let mut series = Vec::new();
    for (color, (parameterization, rate)) in runs.into_iter().enumerate() {
        let settings = CoordinateSettings { widths: widths.clone(), seeds: 4, steps: 5, rate, optimizer: Optimizer::SGD, examples: 100 };
        let check = coordinate_check(&problem, parameterization, &settings, &progress)?;
        print(&check);
        let last = &check.changes[check.changes.len() - 1];
        let slopes = &check.slopes[check.slopes.len() - 1];
        let x: Vec<f64> = widths.iter().map(|&w| w as f64).collect();
        for (layer, name, mark) in [(2, "second layer", Mark::LinePoints), (4, "output", Mark::Dashed)] {
            let name = format!("{}, {name}: {:+.2}", check.parameterization, slopes[layer].slope);
            series.push(Series::new(name, mark, color, x.clone(), last[layer].clone()));
        }
    }
    let figure = Figure {
        id: "coordinate-check".into(),
        title: "Movement of features in five steps".into(),
        caption:
            "Root mean square change of pre-activations after five steps of gradient descent, against the width; the fitted exponents are \
                  in the legend."
                .into(),
        x: Axis::new("width of the hidden layers", Scale::Log2),
        y: Axis::new("change of pre-activations", Scale::Log10),
        series,
    };
    for (name, text) in [("coordinate-check.svg", figure.standalone_svg()), ("coordinate-check.csv", figure.csv())] {
        let path = folder.join(name);
        files::write_atomically(&path, |out| out.write_all(text.as_bytes()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// The exponents of all steps and layers.
fn print(check: &CoordinateCheck) {
    println!("{}: exponents of the width", check.parameterization);
    for (layer, name) in check.layers.iter().enumerate() {
        let slopes: Vec<String> = check.slopes.iter().map(|of_step| format!("{:+.2}", of_step[layer].slope)).collect();
        println!("  {name:<18} {}", slopes.join("  "));
    }
}
