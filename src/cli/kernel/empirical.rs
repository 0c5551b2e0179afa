//! The empirical NTK from the command line: what is asked for, the plan, and what else there is than a whole kernel.

use super::arguments::{Arguments, More};
use super::{Found, Number, in_file, largest_file};
use crate::cli::{Failure, Summary};
use nn::Network;
use ntk::{AlongTraining, EigenRequest, Finite, Operator, Outputs, Plan, Request};
use serde_json::{Value, json};
use std::path::Path;
use tangents::files::{self, npy};
use tangents::progress::{Progress, Stage};

/// What came of it.
pub(super) enum Done<T> {
    Found(Found<T>),
    Planned(Summary),
}

/// Whether the result has all pairs of examples.
pub(super) fn is_whole(more: &More) -> bool {
    !(more.diagonal_only || more.gradient_norms || more.top.is_some() || more.times.is_some() || more.dry_run)
}

pub(super) fn compute<T: Number>(
    a: &Arguments,
    f: &Finite<'_, T>,
    (x1, x2): (&[T], Option<&[T]>),
    name: &str,
    progress: &Progress,
) -> Result<Done<T>, Failure> {
    let (network, more) = (f.network, &a.more);
    let request = Request {
        outputs: a.outputs.outputs(),
        strategy: a.strategy.map_or_else(Default::default, |s| s.strategy()),
        rates: rates(more, network)?,
        memory: more.memory,
        ..Request::default()
    };
    let n1 = x1.len() / network.n_inputs().max(1);
    let o = network.outputs();
    let step = |stage: &Stage, done: usize, total: usize| {
        stage.step();
        stage.message(&format!("{done} of {total}"));
    };
    if more.dry_run {
        let plan = ntk::plan(f, x1, x2, &request).map_err(Failure::failed)?;
        return Ok(Done::Planned(Summary { text: table(&plan, network), json: as_json(&plan, network) }));
    }
    if more.gradient_norms {
        let stage = progress.stage("gradient norms", 1000);
        let norms = ntk::gradient_norms(f, x1, &request, |done, _| stage.reach(done as u64)).map_err(Failure::failed)?;
        stage.finish();
        return Ok(Done::Found(Found::of(vec![n1, o], norms)));
    }
    if more.diagonal_only {
        let stage = progress.stage(&format!("{name}, diagonal"), 1000);
        let values = ntk::diagonal(f, x1, &request, |done, _| stage.reach(done as u64)).map_err(Failure::failed)?;
        stage.finish();
        let shape = match request.outputs {
            Outputs::Full => vec![n1, o, o],
            Outputs::Diagonal => vec![n1, o],
            Outputs::Trace | Outputs::Sum => vec![n1],
        };
        return Ok(Done::Found(Found::of(shape, values)));
    }
    if let Some(samples) = more.estimate {
        let stage = progress.stage(&format!("{name}, estimate"), u64::from(samples));
        let samples = samples as usize;
        let found = ntk::estimate(f, x1, x2, &request, samples, more.samples_seed, |done, total| step(&stage, done, total))
            .map_err(Failure::failed)?;
        let shape = found.kernel.shape();
        if let Some(path) = &more.standard_error {
            npy::write(path, &shape, &found.standard_error)?;
        }
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let relative = norm(&found.standard_error) / norm(&found.kernel.values);
        let values: Vec<T> = found.kernel.values.iter().map(|&v| <T as autodiff::Scalar>::of(v)).collect();
        let text = format!(", {samples} samples, relative standard error {relative:.2e}");
        let json = vec![("samples", json!(samples)), ("relative_standard_error", json!(relative))];
        return Ok(Done::Found(Found { shape, values: Some(values), text, json }));
    }
    if let Some(count) = more.top {
        let stage = progress.stage(&format!("{name}, eigenvalues"), 0);
        let mut operator = Operator::new(f, x1, None, &request).map_err(Failure::failed)?;
        let wanted = EigenRequest { seed: more.samples_seed, ..EigenRequest::of(count as usize) };
        let top =
            ntk::largest_eigenvalues(&mut operator, &wanted, |done, most| stage.message(&format!("{done} vectors of at most {most}")));
        let top = top.map_err(Failure::failed)?;
        stage.finish();
        let largest = top.residuals.iter().fold(0.0_f64, |m, &r| m.max(r));
        let values: Vec<T> = top.values.iter().map(|&v| <T as autodiff::Scalar>::of(v)).collect();
        let text = format!(", largest residual {largest:.1e}, {} products", top.products);
        let json = vec![("residuals", json!(top.residuals)), ("products", json!(top.products)), ("eigenvalues", json!(top.values))];
        return Ok(Done::Found(Found { shape: vec![values.len()], values: Some(values), text, json }));
    }
    if let Some(path) = &more.times {
        return times(path, f, (x1, x2), &request).map(Done::Found);
    }
    if !more.along.is_empty() {
        return along(a, f, x1, request, progress).map(Done::Found);
    }
    let plan = ntk::plan(f, x1, x2, &request).map_err(Failure::failed)?;
    let stage = progress.stage(name, 1000);
    stage.message(plan.strategy.name());
    let kernel = ntk::kernel(f, x1, x2, &request, |done, _| stage.reach(done as u64)).map_err(Failure::failed)?;
    stage.finish();
    Ok(Done::Found(Found { json: vec![("plan", as_json(&plan, network))], ..Found::of(kernel.shape(), kernel.values) }))
}

/// The product of the kernel with the vectors of a file.
fn times<T: Number>(path: &Path, f: &Finite<'_, T>, (x1, x2): (&[T], Option<&[T]>), request: &Request) -> Result<Found<T>, Failure> {
    let mut operator = Operator::new(f, x1, x2, request).map_err(Failure::failed)?;
    let array = npy::read(path)?;
    array.require_finite(path)?;
    let outputs = match request.outputs {
        Outputs::Full | Outputs::Diagonal => Some(f.network.outputs()),
        Outputs::Trace | Outputs::Sum => None,
    };
    let of = |rows: usize| -> Vec<usize> { std::iter::once(rows / outputs.unwrap_or(1).max(1)).chain(outputs).collect() };
    let columns = of(operator.columns());
    let before = array.shape.len().wrapping_sub(columns.len());
    if before > 1 || array.shape[before..] != columns {
        let shown = columns.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        return Err(Failure::Failed(format!(
            "{path:?} has shape {:?}, and the kernel multiplies vectors of shape [{shown}], or several of them, [V, {shown}]",
            array.shape
        )));
    }
    let vectors: Vec<usize> = array.shape[..before].to_vec();
    let product = operator.apply(vectors.iter().product(), &T::from_values(array.values));
    Ok(Found::of([vectors, of(operator.rows())].concat(), product))
}

/// Kernels of one network at several steps.
fn along<T: Number>(a: &Arguments, f: &Finite<'_, T>, x: &[T], request: Request, progress: &Progress) -> Result<Found<T>, Failure> {
    let steps = 1 + a.more.along.len();
    let stage = progress.stage("kernels along training", steps as u64);
    let mut along = AlongTraining::new(f.network, x, request, 0..steps);
    along.observe(0, f.parameters).map_err(Failure::failed)?;
    stage.step();
    for (step, path) in a.more.along.iter().enumerate() {
        let bytes = files::read_bytes(path, largest_file(f.network))?;
        let parameters = f.network.load_weights(&bytes).map_err(|e| in_file(path, e))?;
        along.observe(step + 1, &parameters).map_err(Failure::failed)?;
        stage.step();
    }
    stage.finish();
    let moments = along.moments();
    let mut shape = vec![steps];
    shape.extend(moments[0].kernel.shape());
    let values: Vec<T> = moments.iter().flat_map(|m| m.kernel.values.iter().copied()).collect();
    let mut text = String::new();
    for (moment, path) in moments[1..].iter().zip(&a.more.along) {
        text += &format!("\n{}: distance {:.4}, alignment {:.4}", path.display(), moment.distance, moment.alignment);
    }
    let of = |f: fn(&ntk::Moment<T>) -> f64| json!(moments.iter().map(f).collect::<Vec<_>>());
    Ok(Found { shape, values: Some(values), text, json: vec![("distance", of(|m| m.distance)), ("alignment", of(|m| m.alignment))] })
}

/// What the part of every parameter is multiplied by, if any is not 1.
fn rates(more: &More, network: &Network) -> Result<Option<Vec<f64>>, Failure> {
    let names: Vec<&str> = network.parameters().iter().map(|p| &p.name[..]).collect();
    let usage = |message: String| Failure::Usage(message);
    let layer = |name: &str| name.split('.').next().and_then(|n| n.parse::<usize>().ok());
    let all = || names.join(", ");
    // The parameters that a name or a number of a layer means.
    let meant = |option: &str, text: &str| -> Result<Vec<usize>, Failure> {
        let number = text.parse::<usize>().ok();
        let found: Vec<usize> = (0..names.len()).filter(|&p| names[p] == text || (number.is_some() && layer(names[p]) == number)).collect();
        if found.is_empty() { Err(usage(format!("{option} names {text}, and the model has the parameters {}", all()))) } else { Ok(found) }
    };
    if more.layers.is_empty() && more.parameters.is_empty() && more.rates.is_empty() {
        return Ok(None);
    }
    let mut rates = vec![1.0; names.len()];
    if more.rates[..] == ["adam"] {
        rates = network.parameters().iter().map(|p| p.scaling.adam).collect();
    } else {
        for text in &more.rates {
            let (name, rate) =
                text.split_once('=').ok_or_else(|| usage(format!("--rates is adam or a list of NAME=RATE, and {text:?} is neither")))?;
            let rate = rate.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
            let rate = rate.ok_or_else(|| usage(format!("--rates: a rate is a number of at least 0, and {text:?} has none")))?;
            meant("--rates", name)?.into_iter().for_each(|p| rates[p] = rate);
        }
    }
    let mut kept = vec![more.layers.is_empty() && more.parameters.is_empty(); names.len()];
    for number in &more.layers {
        meant("--layers", &number.to_string())?.into_iter().for_each(|p| kept[p] = true);
    }
    for name in &more.parameters {
        meant("--parameters", name)?.into_iter().for_each(|p| kept[p] = true);
    }
    Ok(Some(rates.into_iter().zip(kept).map(|(rate, kept)| if kept { rate } else { 0.0 }).collect()))
}

fn as_json(plan: &Plan, network: &Network) -> Value {
    let cost = |c: &ntk::Cost| json!({"gflop": c.flops * 1e-9, "bytes": c.bytes, "seconds": c.seconds});
    let parameters: Vec<Value> = plan
        .parameters
        .iter()
        .zip(network.parameters())
        .map(|(p, named)| {
            let mut value = cost(&p.cost);
            value["name"] = json!(named.name);
            value["order"] = json!(p.order.name());
            value["uses"] = json!(p.uses);
            value["sites"] = json!(p.sites);
            value["n_in"] = json!(p.n_in);
            value["n_out"] = json!(p.n_out);
            value
        })
        .collect();
    let compared = plan.compared.iter().map(|(strategy, seconds)| json!({"strategy": strategy.name(), "seconds": seconds}));
    json!({
        "strategy": plan.strategy.name(), "parameters": parameters, "recording": cost(&plan.recording), "total": cost(&plan.cost()),
        "tile": {"examples": plan.examples, "outputs": plan.outputs}, "tiles": plan.tiles, "memory": plan.memory, "least_memory": plan.least,
        "compared": compared.collect::<Vec<_>>(),
    })
}

/// The plan for people.
fn table(plan: &Plan, network: &Network) -> String {
    let line = |name: &str, order: &str, sizes: String, c: &ntk::Cost| {
        format!("{name:<14} {order:<9} {sizes:<22} {:>10.3} {:>10.1} {:>10.4}", c.flops * 1e-9, c.bytes / f64::from(1 << 20), c.seconds)
    };
    let mut lines = vec![format!("{:<14} {:<9} {:<22} {:>10} {:>10} {:>10}", "", "order", "sites × in × out", "GFLOP", "MiB", "seconds")];
    lines.push(line("recording", "", String::new(), &plan.recording));
    for (p, named) in plan.parameters.iter().zip(network.parameters()) {
        lines.push(line(&named.name, p.order.name(), format!("{} × {} × {}", p.sites, p.n_in, p.n_out), &p.cost));
    }
    lines.push(line("total", "", String::new(), &plan.cost()));
    let compared: Vec<String> = plan.compared.iter().map(|(strategy, seconds)| format!("{} {seconds:.4} s", strategy.name())).collect();
    lines.push(format!("strategy {} of: {}", plan.strategy.name(), compared.join(", ")));
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    lines.push(format!(
        "{} pairs of tiles of {} examples and {} outputs, {:.1} MiB of working memory (the least is {:.1} MiB)",
        plan.tiles,
        plan.examples,
        plan.outputs,
        mib(plan.memory),
        mib(plan.least)
    ));
    lines.join("\n")
}
