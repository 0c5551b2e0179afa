use proptest::prelude::*;

use super::*;

fn toy(labels: &[usize], d: usize) -> Dataset {
    let n = labels.len();
    let classes = labels.iter().max().map_or(0, |&most| most + 1);
    Dataset {
        name: "toy".to_string(),
        x: (0..n * d).map(|i| (i as f64 * 0.7).sin() * 3.0 + 5.0).collect(),
        n,
        d,
        labels: labels.to_vec(),
        classes: (0..classes).map(|c| c.to_string()).collect(),
        image: None,
    }
}

#[test]
fn the_digits_are_those_of_scikit_learn() {
    assert_eq!(DIGITS.len(), 1797 * 65);
    // FNV-1a of the whole file, taken when it was made from the published table.
    let hash = DIGITS.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    assert_eq!(hash, 0x9975_5255_092d_82a1);
    let digits = Dataset::digits();
    assert_eq!((digits.n, digits.d, digits.image), (1797, 64, Some((8, 8))));
    assert_eq!(digits.x[..8], [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0]);
    assert_eq!(digits.x.iter().sum::<f64>(), 561_718.0);
    let counts: Vec<usize> = (0..10).map(|class| digits.labels.iter().filter(|&&label| label == class).count()).collect();
    assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
}

#[test]
fn a_table_becomes_a_data_set_of_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("iris.csv");
    std::fs::write(&path, "a,b,class\n1,2,x\n3,4,y\n").unwrap();
    let data = Dataset::from_csv(&path).unwrap();
    assert_eq!((data.name.as_str(), data.n, data.d, data.image), ("iris", 2, 2, None));
    assert_eq!((data.x, data.labels), (vec![1.0, 2.0, 3.0, 4.0], vec![0, 1]));
}

#[test]
fn tables_are_scaled_by_feature_over_the_training_rows() {
    let mut data = toy(&[0, 1, 0, 1, 0, 1], 3);
    for i in 0..6 {
        data.x[i * 3 + 1] = if i < 4 { 0.1 } else { 7.0 };
    }
    let before = data.clone();
    let train = [0, 1, 2, 3];
    data.standardize(&train);
    for j in [0, 2] {
        let raw: Vec<f64> = train.iter().map(|&i| before.x[i * 3 + j]).collect();
        let mean = raw.iter().sum::<f64>() / 4.0;
        let deviation = (raw.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 4.0).sqrt();
        for i in 0..6 {
            let expected = (before.x[i * 3 + j] - mean) / deviation;
            assert!((data.x[i * 3 + j] - expected).abs() < 1e-13, "test rows follow the training rows");
        }
    }
    assert!((0..6).all(|i| data.x[i * 3 + 1] == 0.0), "constant in training means 0 everywhere");
}

#[test]
fn images_are_scaled_as_a_whole() {
    let mut data = Dataset::digits();
    let before = data.clone();
    let (train, test) = data.split(200, 50, 1).unwrap();
    data.standardize(&train);
    let square = data.rows(&train).iter().map(|v| v * v).sum::<f64>() / (200.0 * 64.0);
    assert!((square - 1.0).abs() < 1e-12, "the kernel x·x/d is 1 on average, not {square}");
    for j in 0..64 {
        let mean = train.iter().map(|&i| data.x[i * 64 + j]).sum::<f64>() / 200.0;
        assert!(mean.abs() < 1e-13, "pixel {j} has mean {mean}");
    }
    // One scale for all: differences between any two rows are stretched by the same factor.
    let stretch = |i: usize, j: usize| (data.x[i * 64 + j] - data.x[j]) / (before.x[i * 64 + j] - before.x[j]);
    let expected = stretch(train[1], 20);
    for &i in &test {
        for j in (0..64).filter(|&j| before.x[i * 64 + j] != before.x[j]) {
            assert!((stretch(i, j) / expected - 1.0).abs() < 1e-12);
        }
    }
}

#[test]
fn scaling_survives_extreme_values() {
    for scale in [1e-300, 1.0, 1e150, 1e307] {
        for image in [None, Some((1, 2))] {
            let mut data = toy(&[0, 1, 0, 1], 2);
            data.image = image;
            let mut reference = data.clone();
            data.x.iter_mut().for_each(|v| *v *= scale);
            data.standardize(&[0, 1, 2]);
            reference.standardize(&[0, 1, 2]);
            for (v, r) in data.x.iter().zip(&reference.x) {
                assert!((v - r).abs() < 1e-12, "scale {scale}: {v} is not {r}");
            }
        }
    }
    let mut zeros = toy(&[0, 1], 3);
    zeros.x.fill(0.0);
    zeros.image = Some((1, 3));
    zeros.standardize(&[0, 1]);
    assert_eq!(zeros.x, [0.0; 6]);
}

#[test]
fn targets_are_centred() {
    let data = toy(&[2, 0, 1, 3], 1);
    assert_eq!(data.one_hot(&[0, 3]), [-0.25, -0.25, 0.75, -0.25, -0.25, -0.25, -0.25, 0.75]);
    assert_eq!(data.one_hot(&[]), [0.0; 0]);
}

#[test]
fn a_split_beyond_the_data_is_refused() {
    let data = toy(&[0, 1, 0, 1], 1);
    let (train, test) = data.split(3, 1, 0).unwrap();
    assert_eq!((train.len(), test.len()), (3, 1));
    assert_eq!(
        data.split(3, 2, 0).unwrap_err().to_string(),
        "3 training and 2 test examples are more than the 4 of \"toy\"; ask for fewer"
    );
    assert!(data.split(usize::MAX, usize::MAX, 0).is_err());
}

#[test]
fn a_split_is_pinned_and_nested() {
    let digits = Dataset::digits();
    let (small, test) = digits.split(20, 300, 7).unwrap();
    let (large, same_test) = digits.split(1000, 300, 7).unwrap();
    assert_eq!(small, large[..20]);
    assert_eq!(test, same_test);
    assert_ne!(small, digits.split(20, 300, 8).unwrap().0);
    assert_eq!([1052, 916, 421, 1023, 1261, 1068, 1218, 1065, 917, 913], small[..10]);
}

#[test]
fn the_generator_is_the_published_one() {
    let mut random = SplitMix64(1234567);
    // The test vector that goes round with the reference implementation of S. Vigna.
    assert_eq!([random.next(), random.next()], [6457827717110365317, 3203168211198807973]);
    assert!((0..1000).all(|_| random.below(3) < 3));
}

#[test]
#[should_panic(expected = "row 4 is beyond the 4 examples")]
fn a_row_beyond_the_data_is_a_mistake_in_code() {
    toy(&[0, 1, 0, 1], 2).rows(&[4]);
}

proptest! {
    #[test]
    fn splits_are_disjoint_and_stratified(
        labels in prop::collection::vec(0usize..5, 1..120),
        parts in (0.0f64..1.0, 0.0f64..1.0),
        seed: u64,
    ) {
        let data = toy(&labels, 1);
        let n = data.n as f64;
        let n_train = (parts.0 * n) as usize;
        let n_test = (parts.1 * (n - n_train as f64)) as usize;
        let (train, test) = data.split(n_train, n_test, seed).unwrap();
        prop_assert_eq!((train.len(), test.len()), (n_train, n_test));
        let mut all: Vec<usize> = train.iter().chain(&test).copied().collect();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all.len(), n_train + n_test);
        for part in [train, test] {
            for class in 0..data.classes.len() {
                let of_class = |rows: &[usize]| rows.iter().filter(|&&i| labels[i] == class).count() as f64;
                let everything: Vec<usize> = (0..data.n).collect();
                let share = of_class(&everything) / n * part.len() as f64;
                // Ties between classes are taken one after the other, so a class can lead by several examples of others.
                prop_assert!((of_class(&part) - share).abs() <= 1.5, "class {class}: {} not {share}", of_class(&part));
            }
        }
    }
}
