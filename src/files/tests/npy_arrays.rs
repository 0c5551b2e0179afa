use std::path::Path;

use proptest::prelude::*;

use super::{file_with, message, refuses};
use crate::files::FileError;
use crate::files::npy::{Array, Values, read, write, write_to};

/// A version 1 file with any header text and payload.
fn npy(header: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(payload);
    bytes
}

fn header(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

fn read_bytes(bytes: &[u8]) -> Result<Array, FileError> {
    let (_folder, path) = file_with("x.npy", bytes);
    read(&path)
}

#[test]
fn writes_the_bytes_that_numpy_writes() {
    let mut bytes = Vec::new();
    write_to(&mut bytes, &[2], &[1.0f32, -2.0]).unwrap();
    // The layout of numpy.save(file, numpy.float32([1, -2])): 118 = 0x76 bytes of header text, 128 bytes in all.
    let mut expected = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }".to_vec();
    expected.resize(127, b' ');
    expected.extend(b"\n\0\0\x80\x3f\0\0\0\xc0");
    assert_eq!(bytes, expected);
}

#[test]
fn shapes_of_every_rank_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    for shape in [&[][..], &[1], &[0], &[3, 0], &[2, 3], &[1, 2, 1, 3]] {
        let n: usize = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|i| i as f64 + 0.5).collect();
        write(&path, shape, &values).unwrap();
        assert_eq!(read(&path).unwrap(), Array { shape: shape.to_vec(), values: Values::F64(values) });
        let start = std::fs::read(&path).unwrap().len() - 8 * n;
        assert_eq!(start % 64, 0, "the values of shape {shape:?} start at a multiple of 64");
    }
}

#[test]
#[should_panic(expected = "an array of shape [2, 3] does not hold 5 values")]
fn a_wrong_shape_is_a_mistake_in_code() {
    let _ = write(Path::new("unused.npy"), &[2, 3], &[0.0f64; 5]);
}

#[test]
fn every_number_type_in_both_byte_orders() {
    let cases: [(&str, &[u8], [f64; 2]); 12] = [
        ("f2", &[0x3c, 0x00, 0xc0, 0x00], [1.0, -2.0]),
        ("f4", &[0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0], [1.0, -2.0]),
        ("f8", &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0], [1.0, -2.0]),
        ("b1", &[1, 0], [1.0, 0.0]),
        ("i1", &[0xff, 0x7f], [-1.0, 127.0]),
        ("i2", &[0xff, 0xfe, 0x01, 0x00], [-2.0, 256.0]),
        ("i4", &[0xff, 0xff, 0xff, 0xfe, 0, 1, 0, 0], [-2.0, 65536.0]),
        ("i8", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 1, 0, 0, 0, 0], [-2.0, 4294967296.0]),
        ("u1", &[0xff, 0x7f], [255.0, 127.0]),
        ("u2", &[0xff, 0xfe, 0x01, 0x00], [65534.0, 256.0]),
        ("u4", &[0xff, 0xff, 0xff, 0xfe, 0, 1, 0, 0], [4294967294.0, 65536.0]),
        ("u8", &[0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3], [18446462598732840960.0, 3.0]),
    ];
    for (name, big_endian, expected) in cases {
        let size = big_endian.len() / 2;
        let little_endian: Vec<u8> = big_endian.chunks(size).flat_map(|item| item.iter().rev().copied()).collect();
        for (order, payload) in [(">", big_endian), ("<", &little_endian)] {
            let array = read_bytes(&npy(&header(&format!("{order}{name}"), "False", "(2,)"), payload)).unwrap();
            assert_eq!(matches!(array.values, Values::F32(_)), name == "f4");
            assert_eq!(array.values.into_f64(), expected, "{order}{name}");
        }
        if size == 1 {
            let array = read_bytes(&npy(&header(&format!("|{name}"), "False", "(2,)"), big_endian)).unwrap();
            assert_eq!(array.values.into_f64(), expected);
        } else {
            refuses(read_bytes(&npy(&header(&format!("|{name}"), "False", "(2,)"), big_endian)), &["order of its bytes"]);
        }
    }
}

#[test]
fn fortran_order_becomes_c_order() {
    let file = npy(&header("|u1", "True", "(2, 3)"), &[0, 10, 1, 11, 2, 12]);
    assert_eq!(read_bytes(&file).unwrap().values.into_f64(), [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
}

#[test]
fn fortran_order_by_the_definition_of_strides() {
    let payload: Vec<u8> = (0..24).collect();
    let array = read_bytes(&npy(&header("|u1", "True", "(2, 3, 4)"), &payload)).unwrap();
    let values = array.values.into_f64();
    for i in 0..2 {
        for j in 0..3 {
            for k in 0..4 {
                assert_eq!(values[(i * 3 + j) * 4 + k], (i + 2 * (j + 3 * k)) as f64);
            }
        }
    }
}

#[test]
fn half_precision_by_its_definition() {
    for (bits, value) in [
        (0x0000u16, 0.0),
        (0x0001, 5.960464477539063e-8),
        (0x03ff, 6.097555160522461e-5),
        (0x0400, 6.103515625e-5),
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (0x7c00, f64::INFINITY),
        (0xfc00, f64::NEG_INFINITY),
    ] {
        let array = read_bytes(&npy(&header("<f2", "False", "()"), &bits.to_le_bytes())).unwrap();
        assert_eq!(array.values.into_f64(), [value], "{bits:#06x}");
    }
    let special = [0x00, 0x7e, 0x00, 0x80];
    let array = read_bytes(&npy(&header("<f2", "False", "(2,)"), &special)).unwrap();
    let values = array.values.into_f64();
    assert!(values[0].is_nan());
    assert!(values[1] == 0.0 && values[1].is_sign_negative());
}

#[test]
fn later_versions_and_free_spelling() {
    for version in [2, 3] {
        let text = r#" { "shape":(  3L, ) ,"fortran_order" : False, "descr":"<f4"}  "#;
        let mut bytes = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend([0; 12]);
        assert_eq!(read_bytes(&bytes).unwrap(), Array { shape: vec![3], values: Values::F32(vec![0.0; 3]) });
    }
}

#[test]
fn a_header_that_lies_about_sizes() {
    let mut file = npy(&header("<f8", "False", "(65536, 65536)"), &[]);
    file.resize(80, 0);
    assert!(file.len() == 80);
    refuses(read_bytes(&file), &["(65536, 65536)", "34359738368 bytes"]);
    let of_shape = |shape: &str| read_bytes(&npy(&header("<f8", "False", shape), &[0; 16]));
    refuses(of_shape("(2, -1)"), &["negative extent"]);
    refuses(of_shape("(3,)"), &["takes 24 bytes, but 16 bytes follow"]);
    refuses(of_shape("(1,)"), &["8 bytes follow after its array of shape (1,)"]);
    refuses(of_shape("()"), &["8 bytes follow"]);
    refuses(of_shape("(4294967296, 4294967296)"), &["no memory can hold"]);
    refuses(of_shape("(0, 9223372036854775807, 9223372036854775807)"), &["no memory can hold"]);
    refuses(of_shape("(99999999999999999999999999,)"), &["absurd extent"]);
    refuses(of_shape(&format!("({})", "18446744073709551615, ".repeat(64))), &["no memory can hold"]);
    refuses(of_shape(&format!("({})", "1, ".repeat(65))), &["more than 64 axes"]);
}

#[test]
fn headers_that_are_no_headers() {
    let with = |text: &str| read_bytes(&npy(text, &[0; 8]));
    refuses(with("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'extra': 1}"), &["unknown key \"extra\""]);
    refuses(with("{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}"), &["\"descr\" twice"]);
    refuses(with("{'descr': '<f8', 'shape': (1,)}"), &["lacks one of"]);
    refuses(with("{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}"), &["True or False"]);
    refuses(with("{'descr': '<f8', 'fortran_order': False, 'shape': (1)}"), &["a comma after the only extent"]);
    refuses(with("{'descr': '<f8', 'fortran_order': False, 'shape': (1 2)}"), &["a comma"]);
    refuses(with("{'descr': '<f8', 'fortran_order': False, 'shape': (,)}"), &["a number"]);
    refuses(with("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)} os.system()"), &["nothing more"]);
    refuses(with("{'descr': '<f8"), &["a closing quote"]);
    refuses(with("{{{{"), &["header"]);
    refuses(with(""), &["header"]);
    refuses(with("{'descr\u{202e}': '<f8'}"), &["unknown key \"descr\\u{202e}\""]);
}

#[test]
fn other_types_are_refused_by_name() {
    for (descr, name) in [
        ("|O", "Python objects"),
        ("<c16", "complex"),
        ("<U7", "strings"),
        ("|S3", "strings"),
        ("<M8[ns]", "dates"),
        ("<m8", "time differences"),
        ("<f16", "long doubles"),
        ("|V2", "raw bytes"),
        ("<q8", "unknown type"),
        ("", "unknown type"),
        ("é", "unknown type"),
    ] {
        let python = r#"np.save("x.npy", np.asarray(x, dtype="float64"))"#;
        refuses(read_bytes(&npy(&header(descr, "False", "(1,)"), &[0; 16])), &[name, python]);
    }
    let structured = "{'descr': [('a', '<f4'), ('b', '<i4')], 'fortran_order': False, 'shape': (1,), }";
    refuses(read_bytes(&npy(structured, &[0; 8])), &["a structure of several fields"]);
}

#[test]
fn other_files_are_named() {
    refuses(read_bytes(b""), &["it is empty"]);
    refuses(read_bytes(b"PK\x03\x04and more"), &[".npz"]);
    refuses(read_bytes(b"\x80\x04\x95and more"), &["pickle"]);
    refuses(read_bytes(b"\x40\0\0\0\0\0\0\0{\"a\":{}}"), &["safetensors"]);
    refuses(read_bytes(b"\x89HDF\r\n\x1a\n1234"), &["HDF5"]);
    refuses(read_bytes(b"1.0,2.0\n3.0,4.0\n"), &["text file"]);
    refuses(read_bytes(&[0xff; 32]), &["not a .npy file"]);
    refuses(read_bytes(b"\x93NUMPY\x01\0\x76"), &["within its header"]);
    refuses(read_bytes(b"\x93NUMPY\x04\0\x76\0"), &["version 4.0"]);
    refuses(read_bytes(b"\x93NUMPY\x02\0\xff\xff\xff\xff{"), &["within its header"]);
    let mut long = b"\x93NUMPY\x02\0\0\0\x01\0".to_vec();
    long.resize(70_000, b' ');
    refuses(read_bytes(&long), &["65536 bytes is too long"]);
    let folder = tempfile::tempdir().unwrap();
    refuses(read(folder.path()), &["it is a folder"]);
    refuses(read(&folder.path().join("missing\n.npy")), &["missing\\n.npy", "does not exist"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_as_it_comes() {
    let mut long = Vec::new();
    let values: Vec<f64> = (0..30_000).map(f64::from).collect();
    write_to(&mut long, &[100, 300], &values).unwrap();
    assert_eq!(read_pipe(&long).unwrap(), Array { shape: vec![100, 300], values: Values::F64(values) });
    refuses(read_pipe(&long[..long.len() - 1]), &["takes 240000 bytes, but 239999 bytes follow"]);
    long.push(0);
    refuses(read_pipe(&long), &["1 byte follows after"]);
    refuses(read_pipe(&npy(&header("<f8", "False", "(1000000000000,)"), &[0; 8])), &["but 8 bytes follow"]);
}

#[cfg(unix)]
fn read_pipe(bytes: &[u8]) -> Result<Array, FileError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.npy");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    std::thread::scope(|scope| {
        // The reader may refuse and close before everything is written, which is no failure here.
        scope.spawn(|| drop(std::fs::write(&path, bytes)));
        read(&path)
    })
}

#[test]
fn nan_and_infinity_are_refused_by_place() {
    let path = Path::new("k.npy");
    let check = |shape: &[usize], flat: usize, value: f64, expected: &str| {
        let mut values = vec![0.0; shape.iter().product()];
        values[flat] = value;
        let double = Array { shape: shape.to_vec(), values: Values::F64(values.clone()) };
        let single = Array { shape: shape.to_vec(), values: Values::F32(values.iter().map(|&v| v as f32).collect()) };
        for array in [double, single] {
            assert_eq!(
                message(array.require_finite(path)),
                format!("cannot use \"k.npy\": {expected} (counted from 0, as in NumPy); replace it or drop it")
            );
        }
    };
    check(&[5, 20], 77, f64::NAN, "row 3, column 17 is NaN");
    check(&[4], 2, f64::INFINITY, "entry 2 is infinity");
    check(&[2, 3, 4], 23, f64::NEG_INFINITY, "entry [1, 2, 3] is -infinity");
    check(&[], 0, f64::NAN, "the value is NaN");
    Array { shape: vec![2], values: Values::F64(vec![f64::MAX, f64::MIN_POSITIVE]) }.require_finite(path).unwrap();
}

fn array() -> impl Strategy<Value = Array> {
    prop::collection::vec(0usize..5, 0..5).prop_flat_map(|shape| {
        let n: usize = shape.iter().product();
        let single = prop::collection::vec(any::<u32>(), n).prop_map(|bits| Values::F32(bits.into_iter().map(f32::from_bits).collect()));
        let double = prop::collection::vec(any::<u64>(), n).prop_map(|bits| Values::F64(bits.into_iter().map(f64::from_bits).collect()));
        prop_oneof![single, double].prop_map(move |values| Array { shape: shape.clone(), values })
    })
}

fn to_bytes(array: &Array) -> Vec<u8> {
    let mut bytes = Vec::new();
    match &array.values {
        Values::F32(v) => write_to(&mut bytes, &array.shape, v).unwrap(),
        Values::F64(v) => write_to(&mut bytes, &array.shape, v).unwrap(),
    }
    bytes
}

/// Bits, so that NaN equals itself.
fn bits(array: &Array) -> (Vec<usize>, bool, Vec<u64>) {
    match &array.values {
        Values::F32(v) => (array.shape.clone(), true, v.iter().map(|x| x.to_bits().into()).collect()),
        Values::F64(v) => (array.shape.clone(), false, v.iter().map(|x| x.to_bits()).collect()),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_bit_for_bit(array in array()) {
        let back = read_bytes(&to_bytes(&array)).unwrap();
        prop_assert_eq!(bits(&back), bits(&array));
    }

    #[test]
    fn a_file_cut_short_is_refused(array in array(), cut in any::<prop::sample::Index>()) {
        let bytes = to_bytes(&array);
        message(read_bytes(&bytes[..cut.index(bytes.len())]));
    }

    /// One wrong byte is refused or changes the array; the values read always fit into the file.
    #[test]
    fn a_wrong_byte_never_panics(array in array(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = to_bytes(&array);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(back) = read_bytes(&bytes) {
            prop_assert_eq!(back.values.len(), back.shape.iter().product::<usize>());
            prop_assert!(back.values.len() <= bytes.len());
        }
    }

    #[test]
    fn any_header_text_never_panics(text in "[-{}()\\[\\]',:0-9 a-zA-Z<>|\"]{0,80}", payload: [u8; 16]) {
        let _ = read_bytes(&npy(&text, &payload));
        let _ = read_bytes(&npy(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {text}}}"), &payload));
        let _ = read_bytes(&npy(&format!("{{'shape': (2,), 'fortran_order': False, 'descr': {text}}}"), &payload));
    }
}
