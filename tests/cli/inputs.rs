//! Arrays and weights from strangers.

use crate::run::{Folder, inputs};

const KERNEL: &str = "--model m.toml --kind ntk";

/// A `.npy` file with a header of our own and the bytes that follow it.
fn npy(header: &str, values: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

fn header(descr: &str, fortran: bool, shape: &str) -> String {
    let fortran = if fortran { "True" } else { "False" };
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

/// A kernel of an array that cannot be used, as the first or as the second set of inputs.
#[track_caller]
fn refused(bytes: &[u8], parts: &[&str]) {
    let folder = Folder::new();
    folder.bytes("bad.npy", bytes);
    let parts: Vec<&str> = parts.iter().copied().chain(["\"bad.npy\""]).collect();
    folder.kernel_fails(&format!("{KERNEL} --x1 bad.npy"), &parts);
    folder.kernel_fails(&format!("{KERNEL} --x1 x.npy --x2 bad.npy"), &parts);
}

#[test]
fn missing_files_and_folders_are_named() {
    let folder = Folder::new();
    folder.kernel_fails(&format!("{KERNEL} --x1 none.npy"), &["\"none.npy\"", "does not exist"]);
    folder.kernel_fails(&format!("{KERNEL} --x1 x.npy/none.npy"), &["\"x.npy/none.npy\"", "not a folder"]);
    folder.kernel_fails(&format!("{KERNEL} --x1 ."), &["\".\"", "is a folder"]);
    folder.kernel_fails("--kind ntk --x1 x.npy --model none.toml", &["\"none.toml\"", "does not exist"]);
    folder.kernel_fails("--kind ntk --x1 x.npy --model .", &["\".\"", "is a folder"]);
    let empirical = "--model m.toml --x1 x.npy --kind empirical-ntk";
    folder.kernel_fails(&format!("{empirical} --weights none"), &["\"none\"", "does not exist"]);
    folder.kernel_fails(&format!("{empirical} --weights ."), &["\".\"", "is a folder"]);
}

#[test]
fn a_file_that_promises_32_gib_asks_for_nothing() {
    let file = npy(&header("<f8", false, "(65536,   65536)"), &[]);
    assert_eq!(file.len(), 80);
    refused(&file, &["(65536, 65536)", "34359738368 bytes"]);
    refused(&npy(&header("<f8", false, "(18446744073709551615, 3)"), &[]), &["no memory can hold"]);
    refused(&npy(&header("<f8", false, "(4294967296, 4294967296, 4294967296)"), &[]), &["no memory can hold"]);
    refused(&npy(&header("<f8", false, "(-4, 3)"), &[0; 96]), &[]);
}

#[test]
fn files_that_are_cut_or_have_more_than_an_array_are_refused() {
    let file = npy(&header("<f8", false, "(4, 3)"), &[0; 96]);
    for length in [0, 1, 5, 8, 9, 11, 30, file.len() - 96, file.len() - 1] {
        refused(&file[..length], &[]);
    }
    refused(&[&file[..], b"x"].concat(), &["1 byte follows"]);
}

#[test]
fn pickles_and_other_formats_are_refused() {
    refused(b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix", &["pickle", "never read"]);
    refused(&npy(&header("|O", false, "(4, 3)"), b"\x80\x04]."), &["Python objects", "never read"]);
    refused(b"PK\x03\x04 and more", &["archive"]);
    refused(b"1,2,3\n4,5,6\n", &["text file"]);
    refused(&npy(&header("<c16", false, "(4, 3)"), &[0; 192]), &["complex"]);
    refused(&npy("{'descr': '<f8', 'shape': (4, 3), }\n", &[0; 96]), &["fortran_order"]);
    refused(&npy(&"[".repeat(60_000), &[]), &[]);
}

#[test]
fn a_value_that_is_not_finite_is_named_with_its_place() {
    let folder = Folder::new();
    for (value, name) in [(f64::NAN, "NaN"), (f64::INFINITY, "infinity"), (f64::NEG_INFINITY, "-infinity")] {
        let mut x = inputs(12);
        x[7] = value;
        folder.npy("bad.npy", &[4, 3], &x);
        folder.kernel_fails(&format!("{KERNEL} --x1 bad.npy"), &["\"bad.npy\"", "row 2, column 1", name]);
    }
}

#[test]
fn shapes_that_the_model_does_not_read_are_refused_with_both_shapes() {
    let folder = Folder::new();
    for (shape, shown) in [(&[6, 2][..], "[6, 2]"), (&[3, 4], "[3, 4]"), (&[12], "[12]"), (&[4, 3, 1], "[4, 3, 1]"), (&[0, 5], "[0, 5]")] {
        folder.npy("bad.npy", shape, &inputs(shape.iter().product()));
        folder.kernel_fails(&format!("{KERNEL} --x1 bad.npy"), &["\"bad.npy\"", shown, "\"m.toml\"", "[N, 3]"]);
    }
    folder.npy("bad.npy", &[], &[1.0]);
    folder.kernel_fails(&format!("{KERNEL} --x1 bad.npy"), &["\"bad.npy\"", "[]", "[N, 3]"]);
}

#[test]
fn every_way_to_write_the_same_numbers_gives_the_same_kernel() {
    let folder = Folder::new();
    let numbers: Vec<i8> = vec![1, -2, 3, 0, 5, -6, 7, 8, -9, 10, 11, 12];
    folder.npy("x.npy", &[4, 3], &numbers.iter().map(|&n| f64::from(n)).collect::<Vec<_>>());
    let wanted = folder.kernel(&format!("{KERNEL} --x1 x.npy"));
    let by_columns: Vec<i8> = (0..3).flat_map(|j| (0..4).map(move |i| 3 * i + j)).map(|k| numbers[k]).collect();
    let files = [
        npy(&header(">f8", false, "(4, 3)"), &numbers.iter().flat_map(|&n| f64::from(n).to_be_bytes()).collect::<Vec<_>>()),
        npy(&header("<f8", true, "(4, 3)"), &by_columns.iter().flat_map(|&n| f64::from(n).to_le_bytes()).collect::<Vec<_>>()),
        npy(&header("<f4", false, "(4, 3)"), &numbers.iter().flat_map(|&n| f32::from(n).to_le_bytes()).collect::<Vec<_>>()),
        npy(&header("<i8", false, "(4, 3)"), &numbers.iter().flat_map(|&n| i64::from(n).to_le_bytes()).collect::<Vec<_>>()),
        npy(&header(">i2", true, "(4, 3)"), &by_columns.iter().flat_map(|&n| i16::from(n).to_be_bytes()).collect::<Vec<_>>()),
        npy(&header("|i1", false, "(4, 3)"), &numbers.iter().flat_map(|&n| n.to_le_bytes()).collect::<Vec<_>>()),
    ];
    for (i, file) in files.iter().enumerate() {
        folder.bytes("same.npy", file);
        assert_eq!(folder.kernel(&format!("{KERNEL} --x1 same.npy")), wanted, "file {i}");
    }
}

#[test]
fn no_examples_give_an_empty_kernel() {
    let folder = Folder::new();
    folder.npy("none.npy", &[0, 3], &[] as &[f64]);
    let ways = ["ntk", "nngp", "empirical-nngp --seed 1", "empirical-ntk --seed 1", "empirical-ntk --seed 1 --strategy jacobian"];
    for kind in ways.iter().copied().chain(["empirical-ntk --seed 1 --strategy products"]) {
        let common = format!("--model m.toml --kind {kind}");
        assert_eq!(folder.kernel(&format!("{common} --x1 none.npy")).0, [0, 0], "{kind}");
        assert_eq!(folder.kernel(&format!("{common} --x1 none.npy --x2 x.npy")).0, [0, 4], "{kind}");
        assert_eq!(folder.kernel(&format!("{common} --x1 x.npy --x2 none.npy")).0, [4, 0], "{kind}");
    }
    let full = folder.kernel("--model m.toml --kind empirical-ntk --seed 1 --outputs full --x1 none.npy --x2 x.npy");
    assert_eq!(full.0, [0, 4, 2, 2]);
}

#[test]
fn numbers_that_leave_the_precision_are_refused() {
    let folder = Folder::new();
    let scaled = |scale: f64| inputs(12).into_iter().map(|v| v * scale).collect::<Vec<_>>();
    folder.npy("big.npy", &[4, 3], &scaled(1e300));
    for kind in ["ntk", "nngp", "empirical-ntk --seed 1", "empirical-nngp --seed 1"] {
        let kernel = format!("--model m.toml --x1 big.npy --kind {kind}");
        folder.kernel_fails(&format!("{kernel} --dtype f32"), &["\"big.npy\"", "row 0", "too large for f32"]);
        folder.kernel_fails(&kernel, &["overflows f64", "scale the inputs down"]);
    }
    folder.npy("big.npy", &[4, 3], &scaled(1e30));
    let kernel = "--model m.toml --x1 big.npy --kind empirical-ntk --seed 1";
    folder.kernel_fails(&format!("{kernel} --dtype f32"), &["overflows f32", "--dtype f64"]);
    assert_eq!(folder.kernel(kernel).0, [4, 4]);
}

#[test]
fn weights_that_are_none_are_refused() {
    let folder = Folder::new();
    let network = nn::parse_model(crate::run::MODEL).unwrap();
    let parameters = network.init::<f64>(0).unwrap();
    let file = network.save_weights(&parameters);
    let mut nan = parameters.clone();
    nan[0][1] = f64::NAN;
    let mut large = parameters.clone();
    large[0][1] = 1e100;
    let other = nn::parse_model(&crate::run::MODEL.replace("out = 8", "out = 9")).unwrap();
    let fewer = nn::parse_model("input = [3]\n[[layers]]\ntype = \"dense\"\nout = 2").unwrap();
    let lying = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let headed = |header: &str| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 24]].concat();
    let tensor = |from: u64, to: u64, n: u64| format!(r#""0.weight":{{"dtype":"F64","shape":[{n}],"data_offsets":[{from},{to}]}}"#);
    let beyond = headed(&format!("{{{}}}", tensor(0, 1 << 43, 1 << 40)));
    let overlapping = headed(&format!(r#"{{{},"0.bias":{{"dtype":"F64","shape":[2],"data_offsets":[8,24]}}}}"#, tensor(0, 16, 2)));
    let twice = headed(&format!("{{{},{}}}", tensor(0, 24, 3), tensor(0, 24, 3)));
    let cases: [(&[u8], &[&str]); 13] = [
        (&beyond, &["not a valid safetensors file"]),
        (&overlapping, &["not a valid safetensors file"]),
        (&twice, &["tensor `0.weight` is in the file twice"]),
        (b"", &["not a valid safetensors file"]),
        (b"\x80\x02}q\0.", &["PyTorch checkpoint", "convert it with"]),
        (b"PK\x03\x04archive/data.pkl", &["PyTorch checkpoint", "convert it with"]),
        (b"torch", &["not a valid safetensors file"]),
        (&lying, &["not a valid safetensors file"]),
        (&file[..file.len() - 1], &["not a valid safetensors file"]),
        (&[&file[..], b"x"].concat(), &["not a valid safetensors file"]),
        (&network.save_weights(&nan), &["0.weight", "NaN"]),
        (&other.save_weights(&other.init::<f64>(0).unwrap()), &["0.weight", "[9, 3]", "[8, 3]"]),
        (&fewer.save_weights(&fewer.init::<f64>(0).unwrap()), &["4 parameters", "2 tensors"]),
    ];
    let kernel = "--model m.toml --x1 x.npy --kind empirical-ntk --weights w.safetensors";
    for (bytes, parts) in cases {
        folder.bytes("w.safetensors", bytes);
        let parts: Vec<&str> = parts.iter().copied().chain(["\"w.safetensors\""]).collect();
        folder.kernel_fails(kernel, &parts);
    }
    folder.bytes("w.safetensors", &network.save_weights(&large));
    folder.kernel_fails(&format!("{kernel} --dtype f32"), &["\"w.safetensors\"", "0.weight", "entry"]);
    assert_eq!(folder.kernel(kernel).0, [4, 4]);
}

#[cfg(unix)]
#[test]
fn streams_without_an_end_are_not_read_for_ever() {
    let folder = Folder::new();
    folder.kernel_fails(&format!("{KERNEL} --x1 /dev/zero"), &["\"/dev/zero\"", "not a .npy file"]);
    folder.kernel_fails("--x1 x.npy --kind ntk --model /dev/zero", &["\"/dev/zero\"", "larger than 16 MiB"]);
    let weights = "--model m.toml --x1 x.npy --kind empirical-ntk --weights /dev/zero";
    folder.kernel_fails(weights, &["\"/dev/zero\"", "larger than"]);
}
