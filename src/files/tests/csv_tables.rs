use proptest::prelude::*;

use super::{file_with, refuses};
use crate::files::FileError;
use crate::files::csv::{Table, read_table};

fn table(bytes: impl AsRef<[u8]>) -> Result<Table, FileError> {
    let (_folder, path) = file_with("t.csv", bytes.as_ref());
    read_table(&path)
}

#[test]
fn the_label_column_is_found_by_name_else_it_is_the_last() {
    let expected = Table {
        columns: vec!["a".into(), "b".into()],
        features: vec![1.0, 2.5, -3.0, 4e-3],
        n_rows: 2,
        n_features: 2,
        labels: vec![1, 0],
        classes: vec!["no".into(), "yes".into()],
    };
    assert_eq!(table("a,b,Class\n1,2.5,yes\n-3,4e-3,no\n").unwrap(), expected);
    assert_eq!(table("LABEL,a,b\nyes,1,2.5\nno,-3,4e-3").unwrap(), expected);
    assert_eq!(table("a,target,b\n1,yes,2.5\n-3,no,4e-3\n").unwrap(), expected);
    assert_eq!(table("a,b,outcome\n1,2.5,yes\n-3,4e-3,no\n").unwrap(), expected);
}

#[test]
fn a_first_row_of_numbers_is_data() {
    let t = table("1,2,0\n3,4,1\n").unwrap();
    assert_eq!((t.n_rows, t.columns, t.labels), (2, vec!["1".into(), "2".into()], vec![0, 1]));
    let named = table("0,1,label\n1,2,0\n3,4,1\n").unwrap();
    assert_eq!((named.n_rows, named.columns), (2, vec!["0".into(), "1".into()]));
}

#[test]
fn a_first_row_of_data_is_not_lost_as_a_header() {
    refuses(table("5.1,3.5,setosa\n4.9,3.0,virginica\n"), &["first row mixes numbers and words"]);
}

#[test]
fn classes_are_sorted_as_numbers_or_as_words() {
    let numbers = table("a,label\n0,10\n0,9\n0,-1\n0,9.0\n0,-0\n0,0\n").unwrap();
    assert_eq!(numbers.classes, ["-1", "-0", "9", "10"]);
    assert_eq!(numbers.labels, [3, 2, 0, 2, 1, 1]);
    let words = table("a,label\n0,10\n0,9\n0,x\n").unwrap();
    assert_eq!(words.classes, ["10", "9", "x"]);
}

#[test]
fn marks_line_ends_quotes_and_spaces_are_understood() {
    let plain = table("a,b,label\n1,2,x\n3,4,y\n").unwrap();
    for same in [
        "\u{feff}a,b,label\n1,2,x\n3,4,y\n",
        "\u{feff}\"a\",b,label\n1,2,x\n3,4,y\n",
        "a,b,label\r\n1,2,x\r\n3,4,y\r\n",
        "a,b,label\r1,2,x\r3,4,y\r",
        "a , b,label\n\n 1,\t2,x\n3,4,y\n\n\n",
        "\"a\",\"b\",\"label\"\n\"1\",\"2\",\"x\"\n\"3\n\",4,\"\r\ny\"\n",
    ] {
        assert_eq!(table(same).unwrap(), plain, "{same:?}");
    }
}

#[test]
fn a_bad_cell_is_named_by_line_and_column() {
    for (cell, says) in [
        ("", "empty"),
        ("  ", "empty"),
        ("1e999", "\"1e999\" is too large"),
        ("nan", "\"nan\" is not finite"),
        ("-inf", "not finite"),
        ("1,5", "line 3 has 4 cells where 3 are expected"),
        ("one\u{7}", "\"one\\u{7}\" is not a number"),
        ("0x10", "not a number"),
    ] {
        let parts: &[&str] = if cell.contains(',') { &[says] } else { &["line 3, column \"b\"", says] };
        for end in ["\n", "\r\n", "\r"] {
            refuses(table(format!("a,b,label{end}1,2,x{end}3,{cell},y{end}")), parts);
        }
    }
    refuses(table("a,label\n1,x\n2,\n"), &["line 3, column \"label\"", "empty"]);
    refuses(table("a,label\n1,0\n2,NaN\n"), &["line 3, column \"label\"", "not finite"]);
    refuses(table(format!("a,label\n{},x\n", "z".repeat(5000))), &["cut after 40 characters"]);
}

#[test]
fn lines_are_counted_over_empty_lines_and_quoted_newlines() {
    for end in ["\n", "\r\n", "\r"] {
        refuses(table(format!("a,b,label{end}{end}{end}1,2,x{end}{end}3,?,y{end}")), &["line 6, column \"b\""]);
        refuses(table(format!("a,b,label{end}1,2,\"x{end}x\"{end}3,?,y{end}")), &["line 4, column \"b\""]);
    }
}

#[test]
fn ragged_rows() {
    refuses(table("a,b,label\n1,2,x\n3,y\n"), &["line 3 has 2 cells where 3 are expected"]);
    refuses(table("a,b,label\n1,2,x\n3,\"4,y\n5,6,x\n"), &["line 3 has 2 cells"]);
}

#[test]
fn wrong_encodings() {
    refuses(table(b"a,b,label\n1,2,gr\xfcn\n3,4,x\n"), &["line 2, column number 3", "not UTF-8"]);
    let utf16: Vec<u8> = "a,b,label\n1,2,x\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    refuses(table([&[0xff, 0xfe], &utf16[..]].concat()), &["line 1", "not UTF-8"]);
    refuses(table(utf16), &["not UTF-8"]);
}

#[test]
fn tables_without_something_to_learn() {
    refuses(table(""), &["it is empty"]);
    refuses(table("\n\n\r\n"), &["it is empty"]);
    refuses(table("a,label\n"), &["no rows"]);
    refuses(table("label\nx\ny\n"), &["no features"]);
    refuses(table("a;b;label\n1;2;x\n"), &["separate columns by commas, not by ';'"]);
    refuses(table("a,label\n1,x\n2,x\n"), &["a single class"]);
    refuses(table("a,label,class\n1,2,3\n"), &["\"label\" and \"class\" could both be the label"]);
    let many = |n: usize| (0..n).fold("a,y\n".to_string(), |text, i| text + &format!("1,{i}\n"));
    assert_eq!(table(many(1000)).unwrap().classes.len(), 1000);
    refuses(table(many(1001)), &["1001 distinct values", "regression target"]);
    let folder = tempfile::tempdir().unwrap();
    refuses(read_table(folder.path()), &["it is a folder"]);
    refuses(read_table(&folder.path().join("none.csv")), &["does not exist"]);
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = table(bytes);
    }

    #[test]
    fn any_text_like_a_table_never_panics(text in "[a-c0-9,.\"\r\n ;-]{0,120}") {
        if let Ok(t) = table(text) {
            prop_assert_eq!(t.features.len(), t.n_rows * t.n_features);
            prop_assert_eq!(t.labels.len(), t.n_rows);
            prop_assert!(t.labels.iter().all(|&label| label < t.classes.len()));
        }
    }

    #[test]
    fn numbers_come_back_bit_for_bit(values in prop::collection::vec(prop::num::f64::NORMAL, 2..40)) {
        let text = values.iter().enumerate().fold("a,label\n".to_string(), |text, (i, v)| text + &format!("{v:?},{}\n", i % 2));
        prop_assert_eq!(table(text).unwrap().features, values);
    }
}
