//! Checkpoints: the same bits after a cut, and nothing taken over from another training.

use nn::{
    CheckpointError, Course, Decay, Loss, Network, Optimizer, Plan, Schedule, Trainer, conv, dense, flatten, normals, relu, tanh, train,
};
use std::ops::ControlFlow::{Break, Continue};

const NOTES: [(&str, &str); 1] = [("data", "42")];

fn network() -> Network {
    Network::nchw([2, 4, 4], [conv(3, [3, 3]), relu(), flatten(), dense(5), tanh(), dense(2)]).unwrap()
}

fn data() -> (Vec<f64>, Vec<f64>) {
    (normals(1, 0, 10 * 32), normals(1, 1, 10 * 2))
}

fn trainer(network: &Network, optimizer: Optimizer) -> Trainer<'_, f64> {
    Trainer::new(network, &network.init(2).unwrap(), Loss::SquaredError)
        .with_optimizer(optimizer)
        .with_decay(Decay::Decoupled(0.01))
        .with_rates(&[1.0, 0.0, 2.0, 1.0, 1.0, 1.0])
}

fn plan() -> Plan {
    Plan { rate: 0.02, schedule: Schedule { warmup: 3, course: Course::Cosine }, batch: Some(4), steps: 11, seed: 9 }
}

#[test]
fn a_training_that_was_cut_anywhere_goes_on_to_the_same_bits() {
    let network = network();
    let (x, y) = data();
    for optimizer in [Optimizer::SGD, Optimizer::Sgd { momentum: 0.9 }, Optimizer::ADAM] {
        let mut whole = trainer(&network, optimizer);
        train(&mut whole, &x, &y, &plan(), |_, _| Continue(())).unwrap();
        for cut in 0..=11 {
            let mut first = trainer(&network, optimizer);
            train(&mut first, &x, &y, &plan(), |step, _| if step == cut { Break(()) } else { Continue(()) }).unwrap();
            let bytes = first.checkpoint(&plan(), &NOTES);
            assert_eq!(bytes, first.checkpoint(&plan(), &NOTES));
            let mut second = trainer(&network, optimizer);
            second.restore(&bytes, &plan(), &NOTES).unwrap();
            assert_eq!((second.steps(), second.parameters()), (cut, first.parameters()));
            train(&mut second, &x, &y, &plan(), |_, _| Continue(())).unwrap();
            assert_eq!(second.checkpoint(&plan(), &NOTES), whole.checkpoint(&plan(), &NOTES), "{optimizer:?} cut at {cut}");
        }
    }
}

#[test]
fn a_training_with_a_function_of_the_programs_goes_on_to_the_same_bits() {
    let network = |phi| Network::new([32], [dense(5), phi, dense(2)]).unwrap();
    let own = network(nn::elementwise("tanh", f64::tanh, None));
    let (x, y) = data();
    fn fresh(network: &Network) -> Trainer<'_, f64> {
        Trainer::new(network, &network.init(2).unwrap(), Loss::SquaredError)
    }
    let (mut whole, mut first, mut second) = (fresh(&own), fresh(&own), fresh(&own));
    train(&mut whole, &x, &y, &plan(), |_, _| Continue(())).unwrap();
    train(&mut first, &x, &y, &plan(), |step, _| if step == 4 { Break(()) } else { Continue(()) }).unwrap();
    let bytes = first.checkpoint(&plan(), &NOTES);
    second.restore(&bytes, &plan(), &NOTES).unwrap();
    train(&mut second, &x, &y, &plan(), |_, _| Continue(())).unwrap();
    assert_eq!(second.parameters(), whole.parameters());
    // The layer of the same name is another model, and so is a function of another name.
    for other in [tanh(), nn::elementwise("my tanh", f64::tanh, None)].map(network) {
        assert_eq!(fresh(&other).restore(&bytes, &plan(), &NOTES).unwrap_err(), CheckpointError::Model);
    }
}

#[test]
fn another_training_is_refused_by_what_differs_and_changes_nothing() {
    let (network, other) = (network(), Network::new([32], [dense(5), tanh(), dense(2)]).unwrap());
    let (x, y) = data();
    let mut first = trainer(&network, Optimizer::ADAM);
    first.step(&x, &y, 0.1).unwrap();
    let bytes = first.checkpoint(&plan(), &NOTES);
    let plans = [
        ("rate", Plan { rate: 0.03, ..plan() }),
        ("schedule", Plan { schedule: Schedule { warmup: 2, ..plan().schedule }, ..plan() }),
        ("batch", Plan { batch: None, ..plan() }),
        ("steps", Plan { steps: 12, ..plan() }),
        ("seed", Plan { seed: 8, ..plan() }),
    ];
    let refused = |mut trainer: Trainer<'_, f64>, plan: &Plan, notes: &[(&str, &str)]| {
        let before = trainer.parameters();
        let error = trainer.restore(&bytes, plan, notes).unwrap_err();
        assert_eq!((trainer.parameters(), trainer.steps()), (before, 0));
        error
    };
    let what = |error: CheckpointError| match error {
        CheckpointError::Differs { what, saved, given } => {
            assert_ne!(saved, given);
            what
        }
        error => panic!("{error}"),
    };
    for (name, plan) in plans {
        assert_eq!(what(refused(trainer(&network, Optimizer::ADAM), &plan, &NOTES)), name);
    }
    assert_eq!(what(refused(trainer(&network, Optimizer::SGD), &plan(), &NOTES)), "optimizer");
    assert_eq!(what(refused(trainer(&network, Optimizer::ADAM).with_decay(Decay::L2(0.01)), &plan(), &NOTES)), "weight decay");
    assert_eq!(what(refused(trainer(&network, Optimizer::ADAM).with_rates(&[1.0; 6]), &plan(), &NOTES)), "factors of the rate");
    let error = refused(trainer(&network, Optimizer::ADAM), &plan(), &[("data", "43")]);
    assert_eq!(error.to_string(), "it is of a training with data \"42\", and this one has \"43\"");
    let small = Trainer::new(&other, &other.init(1).unwrap(), Loss::SquaredError);
    assert_eq!(refused(small, &plan(), &NOTES), CheckpointError::Model);
    let mut single = Trainer::new(&network, &network.init::<f32>(1).unwrap(), Loss::SquaredError);
    assert_eq!(what(single.restore(&bytes, &plan(), &NOTES).unwrap_err()), "dtype");
    // Where the rate does not look at the end, a training may be made longer.
    let constant = Plan { schedule: Schedule::default(), ..plan() };
    let mut longer = trainer(&network, Optimizer::ADAM);
    longer.restore(&first.checkpoint(&constant, &[]), &Plan { steps: 50, ..constant }, &[]).unwrap();
    assert_eq!(longer.steps(), 1);
}

#[test]
fn broken_checkpoints_are_refused() {
    let network = network();
    let (x, y) = data();
    let mut first = trainer(&network, Optimizer::ADAM);
    first.step(&x, &y, 0.1).unwrap();
    let bytes = first.checkpoint(&plan(), &NOTES);
    let restored = |bytes: &[u8]| trainer(&network, Optimizer::ADAM).restore(bytes, &plan(), &NOTES);
    assert_eq!(restored(&bytes), Ok(()));
    for cut in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        assert!(matches!(restored(&bytes[..cut]), Err(CheckpointError::Format(_))), "cut after {cut} bytes");
    }
    let weights = network.save_weights(&first.parameters());
    assert!(restored(&weights).unwrap_err().to_string().contains("weights alone are read as weights"));
    let text = |from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    };
    assert!(restored(&text(b"checkpoint 1", b"checkpoint 9")).unwrap_err().to_string().contains("checkpoint 9"));
    assert!(restored(&text(b"0.weight.mean\"", b"9.weight.mean\"")).unwrap_err().to_string().contains("`0.weight.mean` is missing"));
    let mut nan = bytes.clone();
    let end = nan.len();
    nan[end - 8..].copy_from_slice(&f64::NAN.to_le_bytes());
    assert!(restored(&nan).unwrap_err().to_string().contains("not finite"));
}
