//! Training: from files to a file of weights, cut short and resumed, and refused.

use crate::run::{Folder, MODEL, Run, inputs, program};
use nn::{Course, Decay, Loss, Optimizer, Plan, Schedule, Trainer, parse_model, train};
use serde_json::Value;
use std::ops::ControlFlow::Continue;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tangents::nn;

/// Twelve examples: inputs, numbers as targets, labels, and the same labels as rows.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.npy("x.npy", &[12, 3], &inputs(36));
    folder.npy("y.npy", &[12, 2], &targets());
    folder.npy("labels.npy", &[12], &LABELS.map(|l| l as f64));
    folder.npy("rows.npy", &[12, 2], &LABELS.map(|l| if l == 0 { [1.0, 0.0] } else { [0.0, 1.0] }).concat());
    folder.npy("few.npy", &[5], &LABELS[..5].iter().map(|&l| l as f64).collect::<Vec<_>>());
    folder.npy("xt.npy", &[5, 3], &inputs(36)[21..]);
    folder
}

const LABELS: [usize; 12] = [0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1];
const TRAIN: &str = "train --model m.toml --x-train x.npy --y-train y.npy --quiet --out w.safetensors";

fn targets() -> Vec<f64> {
    (0..24).map(|i| (i as f64 * 0.9).cos()).collect()
}

fn weights(folder: &Folder, name: &str) -> Vec<Vec<f64>> {
    parse_model(MODEL).unwrap().load_weights(&std::fs::read(folder.path(name)).unwrap()).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"))).collect()
}

#[track_caller]
fn train_fails(folder: &Folder, arguments: &str, parts: &[&str]) {
    let message = folder.fails(arguments);
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn the_weights_are_those_that_the_library_comes_to() {
    let network = parse_model(MODEL).unwrap();
    let (x, y) = (inputs(36), targets());
    let plan = Plan { rate: 0.05, batch: Some(5), steps: 30, seed: 7, ..Plan::default() };
    let schedule = Schedule { warmup: 4, course: Course::Step { every: 10, factor: 0.5 } };
    let cases = [
        ("--lr 0.05", Optimizer::SGD, Decay::NONE, plan, [1.0; 4]),
        ("--lr 0.05 --momentum 0.9 --weight-decay 0.01", Optimizer::Sgd { momentum: 0.9 }, Decay::L2(0.01), plan, [1.0; 4]),
        ("--lr 0.05 --optimizer adam --weight-decay 0.1 --decoupled", Optimizer::ADAM, Decay::Decoupled(0.1), plan, [1.0; 4]),
        ("--lr 0.05 --warmup 4 --schedule step:10:0.5", Optimizer::SGD, Decay::NONE, Plan { schedule, ..plan }, [1.0; 4]),
        ("--lr 0.05 --freeze 0 --layer-rate 2.bias=3", Optimizer::SGD, Decay::NONE, plan, [0.0, 0.0, 1.0, 3.0]),
        ("--optimizer adam", Optimizer::ADAM, Decay::NONE, Plan { rate: 1e-3, ..plan }, [1.0; 4]),
    ];
    for (options, optimizer, decay, plan, factors) in cases {
        let folder = folder();
        folder.run(&format!("{TRAIN} --batch 5 --steps 30 --seed 7 {options}")).success();
        let start = network.init::<f64>(7).unwrap();
        let mut trainer = Trainer::new(&network, &start, Loss::SquaredError);
        trainer = trainer.with_rates(&factors).with_optimizer(optimizer).with_decay(decay);
        train(&mut trainer, &x, &y, &plan, |_, _| Continue(())).unwrap();
        assert_eq!(weights(&folder, "w.safetensors"), trainer.parameters(), "{options}");
        // The last bias has b_std = 0, so that nothing sees it.
        assert!((0..3).all(|p| (trainer.parameter(p) == start[p]) == (factors[p] == 0.0)), "{options}");
    }
}

#[test]
fn networks_of_images_are_trained_in_both_layouts_and_under_mup() {
    let dense = "[[layers]]\ntype = \"dense\"\nout = 2\n";
    let layers = format!(
        "[[layers]]\ntype = \"conv\"\nout = 8\nfilter = [3, 3]\n[[layers]]\ntype = \"relu\"\n[[layers]]\ntype = \"flatten\"\n{dense}"
    );
    for (head, shape) in [
        ("input = [5, 4, 2]\nparameterization = \"mup\"\nbase_width = 4\n", [12, 5, 4, 2]),
        ("input = [2, 5, 4]\nlayout = \"nchw\"\nparameterization = \"standard\"\n", [12, 2, 5, 4]),
    ] {
        let (folder, model) = (folder(), format!("{head}{layers}"));
        folder.text("m.toml", &model);
        folder.npy("x.npy", &shape, &inputs(12 * 40));
        let train_it = TRAIN.replace("y.npy", "labels.npy");
        folder.run(&format!("{train_it} --loss xent --optimizer adam --lr 0.01 --batch 5 --steps 20 --dtype f32")).success();
        let network = parse_model(&model).unwrap();
        let x: Vec<f32> = inputs(12 * 40).iter().map(|&v| v as f32).collect();
        let y: Vec<f32> = LABELS.iter().flat_map(|&l| if l == 0 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
        let mut trainer = Trainer::new(&network, &network.init(0).unwrap(), Loss::CrossEntropy).with_optimizer(Optimizer::ADAM);
        train(&mut trainer, &x, &y, &Plan { rate: 0.01, batch: Some(5), steps: 20, ..Plan::default() }, |_, _| Continue(())).unwrap();
        let weights: Vec<Vec<f32>> = network.load_weights(&std::fs::read(folder.path("w.safetensors")).unwrap()).unwrap();
        assert_eq!(weights, trainer.parameters(), "{head}");
    }
}

#[test]
fn a_json_line_a_logged_step_and_a_summary_are_on_stdout() {
    let folder = folder();
    let common = "train --model m.toml --x-train x.npy --y-train labels.npy --x-test xt.npy --y-test few.npy --out w.safetensors --lr 0.2";
    let run = folder.run(&format!("{common} --steps 25 --log-every 10 --json"));
    assert!(run.stderr.starts_with("training … "), "{:?}", run.stderr);
    let lines = lines(&run.success());
    let (summary, log) = lines.split_last().unwrap();
    assert_eq!(log.iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 10, 20, 25]);
    for line in log {
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["accuracy", "loss", "rate", "step", "test_accuracy", "test_loss"]);
        assert_eq!(line["rate"], 0.2);
    }
    assert!(log.windows(2).all(|pair| pair[1]["loss"].as_f64() < pair[0]["loss"].as_f64()));
    for key in ["loss", "accuracy", "test_loss", "test_accuracy"] {
        assert_eq!(summary[key], log[3][key]);
    }
    assert_eq!((&summary["out"], &summary["steps"], &summary["examples"]), (&"w.safetensors".into(), &25.into(), &12.into()));
    assert_eq!((&summary["optimizer"], &summary["dtype"], &summary["parameters"]), (&"sgd".into(), &"f64".into(), &50.into()));
    assert!(summary["cpu_level"].is_string() && summary.get("step").is_none());

    // The scores, from the weights.
    let network = parse_model(MODEL).unwrap();
    let f = network.apply(&weights(&folder, "w.safetensors"), &inputs(36));
    let right = f.chunks(2).zip(LABELS).filter(|(f, label)| usize::from(f[1] > f[0]) == *label).count();
    assert_eq!(summary["accuracy"], right as f64 / 12.0);
    let squares = f.chunks(2).zip(LABELS).map(|(f, label)| (f[label] - 1.0).powi(2) + f[1 - label].powi(2));
    assert!((summary["loss"].as_f64().unwrap() - squares.sum::<f64>() / 24.0).abs() < 1e-14);

    // For people.
    let run = folder.run(&format!("{common} --steps 25 --log-every 10"));
    assert!(run.stderr.contains("step 10: training loss 0.") && run.stderr.contains("accuracy"), "{:?}", run.stderr);
    let text = run.success();
    let shown: Vec<&str> = text.lines().collect();
    assert_eq!(shown.len(), 3, "{text}");
    assert!(shown[0].starts_with("w.safetensors: 25 steps of sgd at the rate 0.2000 on 12 examples, f64, "), "{text}");
    assert!(shown[1].starts_with("training loss 0.") && shown[2].starts_with("test loss 0.") && shown[2].ends_with(" %"), "{text}");
}

#[test]
fn labels_are_whole_numbers_or_rows_of_one_1() {
    let folder = folder();
    for loss in ["mse", "xent"] {
        let trained = |y: &str| {
            let text = folder.run(&format!("{TRAIN} --loss {loss} --json --steps 9 --lr 0.3").replace("y.npy", y)).success();
            (lines(&text), weights(&folder, "w.safetensors"))
        };
        let (labels, rows) = (trained("labels.npy"), trained("rows.npy"));
        assert!(labels == rows && labels.0[0]["accuracy"].is_number());
    }
    // Numbers and soft probabilities are no labels.
    let soft: Vec<f64> = (0..12).flat_map(|i| [0.05 * f64::from(i), 1.0 - 0.05 * f64::from(i)]).collect();
    folder.npy("soft.npy", &[12, 2], &soft);
    for (y, loss) in [("y.npy", "mse"), ("soft.npy", "xent")] {
        let text = folder.run(&format!("{TRAIN} --loss {loss} --json --steps 2 --lr 0.1").replace("y.npy", y)).success();
        assert!(lines(&text).iter().all(|line| line.get("accuracy").is_none()));
    }
    // One output has numbers as targets, whole or not.
    folder.text("one.toml", &MODEL.replace("out = 2", "out = 1"));
    let one = TRAIN.replace("m.toml", "one.toml");
    for shape in [&[12][..], &[12, 1]] {
        folder.npy("y1.npy", shape, &LABELS.map(|l| l as f64));
        let text = folder.run(&format!("{one} --json --steps 2 --lr 0.1").replace("y.npy", "y1.npy")).success();
        assert!(lines(&text).iter().all(|line| line.get("accuracy").is_none()));
    }
    train_fails(&folder, &format!("{one} --loss xent").replace("y.npy", "y1.npy"), &["\"one.toml\"", "the model has one"]);
}

#[test]
fn targets_that_do_not_fit_are_refused() {
    let folder = folder();
    let refused = |shape: &[usize], values: &[f64], options: &str, parts: &[&str]| {
        folder.npy("bad.npy", shape, values);
        let parts: Vec<&str> = parts.iter().copied().chain(["\"bad.npy\""]).collect();
        train_fails(&folder, format!("{TRAIN} {options}").trim_end().replace("y.npy", "bad.npy").as_str(), &parts);
        std::fs::remove_file(folder.path("bad.npy")).unwrap();
    };
    refused(&[12, 3], &[0.0; 36], "", &["[12, 3]", "[N, 2]", "labels [N]"]);
    refused(&[11, 2], &[0.0; 22], "", &["11 targets for the 12 inputs of \"x.npy\""]);
    let mut labels = LABELS.map(|l| l as f64);
    for value in [2.0, -1.0, 0.5] {
        labels[3] = value;
        refused(&[12], &labels, "", &["row 3", "whole numbers from 0 to 1"]);
    }
    labels[3] = f64::NAN;
    refused(&[12], &labels, "", &["NaN"]);
    refused(&[12, 2], &targets(), "--loss xent", &["row ", "no distribution"]);
    folder.npy("none.npy", &[0, 3], &[] as &[f64]);
    train_fails(&folder, &TRAIN.replace("x.npy", "none.npy"), &["\"none.npy\"", "no examples", "\"y.npy\""][..1]);
    train_fails(&folder, &format!("{TRAIN} --freeze 5"), &["--freeze", "\"5\"", "0.weight, 0.bias, 2.weight, 2.bias"]);
    train_fails(&folder, &format!("{TRAIN} --layer-rate 0.weights=2"), &["--layer-rate", "\"0.weights\"", "0.weight"]);
    train_fails(&folder, &format!("{TRAIN} --freeze 0,2"), &["nothing to train"]);
    train_fails(&folder, &format!("{TRAIN} --weights none"), &["\"none\"", "does not exist"]);
}

#[test]
fn the_rate_can_be_a_fraction_of_the_largest_stable_one() {
    let folder = folder();
    let rate = |options: &str| {
        let text = folder.run(format!("{TRAIN} --json --steps 1 --seed 3 {options}").trim_end()).success();
        lines(&text).pop().unwrap()["rate"].as_f64().unwrap()
    };
    let network = parse_model(MODEL).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = tangents::ntk::Finite { network: &network, parameters: &parameters };
    let largest = |loss, momentum, factors: &[f64]| tangents::ntk::largest_stable_rate(&f, &inputs(36), loss, momentum, factors, |_| ());
    let whole = largest(Loss::SquaredError, 0.0, &[1.0; 4]);
    for (options, want) in [
        ("--rate-fraction 0.25", 0.25 * whole),
        ("", 0.5 * whole),
        ("--rate-fraction 1 --momentum 0.5", largest(Loss::SquaredError, 0.5, &[1.0; 4])),
        ("--rate-fraction 1 --freeze 2", largest(Loss::SquaredError, 0.0, &[1.0, 1.0, 0.0, 0.0])),
    ] {
        assert!((rate(options) / want - 1.0).abs() < 1e-14, "{options}: {} is not {want}", rate(options));
    }
    // Half of it trains.
    let text = folder.run(&format!("{TRAIN} --json --steps 300")).success();
    let lines = lines(&text);
    assert!(lines.last().unwrap()["loss"].as_f64().unwrap() < 0.5 * lines[0]["loss"].as_f64().unwrap(), "{text}");
}

#[test]
fn options_that_cannot_be_meant_are_usage_errors() {
    let folder = folder();
    let before = folder.names();
    for (options, parts) in [
        ("--lr 0", &["--lr", "more than 0"][..]),
        ("--lr nan", &["--lr", "finite"]),
        ("--lr 0.1 --rate-fraction 0.5", &["--lr", "--rate-fraction"]),
        ("--optimizer adam --rate-fraction 0.5", &["--rate-fraction", "--optimizer sgd", "--lr"]),
        ("--optimizer adam --momentum 0.9", &["--momentum", "--optimizer sgd"]),
        ("--momentum 1", &["--momentum", "less than 1"]),
        ("--batch 0", &["--batch", "at least 1"]),
        ("--log-every 0", &["--log-every", "at least 1"]),
        ("--decoupled", &["--decoupled", "--weight-decay"]),
        ("--checkpoint-every 5", &["--checkpoint-every", "--checkpoint"]),
        ("--checkpoint w.safetensors", &["--checkpoint", "--out"]),
        ("--schedule cosin", &["--schedule", "cosine", "step:EVERY:FACTOR"]),
        ("--schedule step:0:0.5", &["--schedule", "at least 1"]),
        ("--layer-rate 0", &["--layer-rate", "4=0.1"]),
        ("--x-test xt.npy", &["--y-test"]),
        ("--loss mae", &["mae", "mse", "xent"]),
        ("--optimizer adamw", &["adamw", "adam"]),
        ("--json --out /dev/stdout", &["--json", "--out"]),
    ] {
        let train = if options.contains("--out") { TRAIN.replace(" --out w.safetensors", "") } else { TRAIN.into() };
        let message = folder.run(&format!("{train} {options}")).misuse();
        assert!(parts.iter().all(|part| message.contains(part)), "{options}: {message}");
    }
    assert_eq!(folder.names(), before);
}

#[test]
fn divergence_names_step_and_layer_and_leaves_the_weights_that_were_there() {
    let folder = folder();
    folder.text("w.safetensors", "precious");
    for (dtype, rate) in [("f64", "1e200"), ("f32", "1e25")] {
        let message = folder.fails(&format!("{TRAIN} --lr {rate} --dtype {dtype}"));
        assert!(
            message.contains("training stopped at step ") && message.contains("layers[") && message.contains("lower the rate"),
            "{message}"
        );
        assert_eq!(std::fs::read(folder.path("w.safetensors")).unwrap(), b"precious");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_at_any_number_of_threads() {
    let folder = folder();
    let trained = |options: &str| {
        folder.run(format!("{TRAIN} --optimizer adam --batch 5 --steps 20 {options}").trim_end()).success();
        std::fs::read(folder.path("w.safetensors")).unwrap()
    };
    let want = trained("");
    assert!(["--threads 1", "--threads 2", "--threads 7", "--seed 0"].iter().all(|options| trained(options) == want));
    assert!(trained("--seed 1") != want);
    // From given weights only the order is drawn.
    std::fs::copy(folder.path("w.safetensors"), folder.path("start.safetensors")).unwrap();
    let started = trained("--weights start.safetensors");
    assert!(started == trained("--weights start.safetensors --seed 0") && started != trained("--weights start.safetensors --seed 1"));
}

/// Arguments of a training that is long enough to be cut in the middle.
const LONG: &str = "train --model m.toml --x-train x.npy --y-train y.npy --quiet --optimizer adam --batch 5 --schedule cosine --lr 0.01 \
                    --steps 60000 --checkpoint-every 2000 --log-every 20000";

fn start(folder: &Folder, arguments: &str) -> Child {
    let mut command = Command::new(program());
    command.args(arguments.split(' ').filter(|a| !a.is_empty())).current_dir(folder.path(""));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a training has written a checkpoint.
fn wait_for(folder: &Folder, name: &str) {
    let start = Instant::now();
    while !folder.path(name).exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint after a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_training_that_is_killed_goes_on_to_the_same_bytes() {
    let folder = folder();
    folder.run(&format!("{LONG} --out whole.safetensors --checkpoint whole.c")).success();
    // A busy machine may let it end before it is killed.
    let was_killed = (0..5).any(|_| {
        ["c", "w.safetensors"].iter().for_each(|name| drop(std::fs::remove_file(folder.path(name))));
        let mut child = start(&folder, &format!("{LONG} --out w.safetensors --checkpoint c"));
        wait_for(&folder, "c");
        child.kill().unwrap();
        !child.wait().unwrap().success()
    });
    assert!(was_killed && !folder.path("w.safetensors").exists());
    // Twice: the second time in the middle of what was resumed.
    let cut = std::fs::read(folder.path("c")).unwrap();
    let mut child = start(&folder, &format!("{LONG} --out w.safetensors --resume c"));
    let clock = Instant::now();
    while std::fs::read(folder.path("c")).unwrap() == cut && clock.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = folder.run(&format!("{LONG} --out w.safetensors --resume c --json")).success();
    let steps: Vec<u64> = lines(&text).iter().filter_map(|line| line["step"].as_u64()).collect();
    assert!(!steps.contains(&0) && steps.last() == Some(&60000), "{text}");
    let bytes = |name: &str| std::fs::read(folder.path(name)).unwrap();
    assert!(bytes("w.safetensors") == bytes("whole.safetensors") && bytes("c") == bytes("whole.c"));
    // It is done: to go on changes nothing, and says the same.
    let again = folder.run(&format!("{LONG} --out again.safetensors --resume c --json")).success();
    assert_eq!(lines(&again)[0]["loss"], lines(&text).last().unwrap()["loss"]);
    assert!(bytes("again.safetensors") == bytes("whole.safetensors"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_training_keeps_what_it_has_done() {
    let folder = folder();
    let long = LONG.replace("60000", "60000000").replace("--checkpoint-every 2000 ", "");
    for (options, parts) in [
        ("--checkpoint c --checkpoint-every 500", ["go on with --resume \"c\"", "of 60000000 steps"]),
        ("", ["the weights so far are in \"w.safetensors\"", "of 60000000 steps"]),
    ] {
        for signal in ["-INT", "-TERM"] {
            let child = start(&folder, &format!("{long} --out w.safetensors {options}"));
            if options.is_empty() {
                std::thread::sleep(Duration::from_millis(300));
            } else {
                wait_for(&folder, "c");
            }
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
            let message = Run::of(&child.wait_with_output().unwrap()).failure();
            assert!(message.contains("interrupted after ") && parts.iter().all(|part| message.contains(part)), "{message}");
            let kept = if options.is_empty() { "w.safetensors" } else { "c" };
            std::fs::remove_file(folder.path(kept)).unwrap();
            assert!(!folder.path("w.safetensors").exists());
        }
    }
}

#[test]
fn another_training_does_not_go_on_from_a_checkpoint() {
    let folder = folder();
    let common = format!("{TRAIN} --optimizer adam --batch 5 --steps 8 --checkpoint c");
    folder.run(&common).success();
    let message = folder.fails(&common);
    assert!(message.contains("\"c\"") && message.contains("--resume"), "{message}");
    let resumed = common.replace("--checkpoint", "--resume");
    folder.text("other.toml", &MODEL.replace("out = 8", "out = 9"));
    folder.npy("x2.npy", &[12, 3], &inputs(39)[3..]);
    for (from, to, part) in [
        ("--batch 5", "--batch 6", "batch 5, and this one has 6"),
        ("--optimizer adam", "--optimizer sgd --lr 0.1", "optimizer "),
        ("--steps 8", "--steps 8 --lr 0.1", "rate 0.001, and this one has 0.1"),
        ("--steps 8", "--steps 8 --loss xent", "distribution"),
        ("--steps 8", "--steps 8 --dtype f32", "dtype \"F64\", and this one has \"F32\""),
        ("m.toml", "other.toml", "another model"),
        ("x.npy", "x2.npy", "data "),
        ("--resume c", "--resume m.toml", "not a checkpoint of a training"),
        ("--resume c", "--resume w.safetensors --checkpoint d", "weights alone"),
    ] {
        train_fails(&folder, &resumed.replace(from, to), &[part]);
    }
    // More steps at a constant rate are the same training.
    folder.run(&resumed.replace("--steps 8", "--steps 20")).success();
    let longer = std::fs::read(folder.path("w.safetensors")).unwrap();
    folder.run(&common.replace(" --checkpoint c", "").replace("--steps 8", "--steps 20")).success();
    assert!(std::fs::read(folder.path("w.safetensors")).unwrap() == longer);
}

#[cfg(target_os = "linux")]
#[test]
fn weights_on_stdout_are_a_file_that_can_be_read() {
    let folder = folder();
    let arguments = format!("{TRAIN} --steps 3 --lr 0.1");
    folder.run(&arguments).success();
    let mut command = Command::new(program());
    let output = command.args(arguments.replace("w.safetensors", "/dev/stdout").split(' ')).current_dir(folder.path("")).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout), (Some(0), &std::fs::read(folder.path("w.safetensors")).unwrap()));
}

#[test]
fn a_log_that_nobody_reads_any_more_ends_quietly_and_keeps_the_weights() {
    let folder = folder();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(program());
    command.args(format!("{TRAIN} --json --steps 5").split(' ')).current_dir(folder.path("")).stdout(writer).stderr(Stdio::piped());
    let run = Run::of(&command.spawn().unwrap().wait_with_output().unwrap());
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
    assert_eq!(weights(&folder, "w.safetensors"), parse_model(MODEL).unwrap().init::<f64>(0).unwrap());
}
